"""A process of the lab's: its output in a file, and ended together with all that it started."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from runner_lab.runners.isolation import guard


@contextmanager
def running(
    command: Sequence[str], variables: Mapping[str, str], log: Path, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process, and end it and its family.

    Args:
        variables: its whole environment.
        log: what it prints is appended there.
        folder: to run in; the present one by default.
    """
    with open(log, "ab") as out:
        process = subprocess.Popen(
            command,
            env=variables,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid)
            guard.end([started, *started.children(recursive=True)])
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10.0)
