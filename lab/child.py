"""Commands of the lab that other commands run, each in a process of its own: the lab sets its environment before
Prefect is imported, once."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from typing import Any


def run_child(command: Sequence[str], given: bytes = b"", **streams: Any) -> tuple[int, str]:
    """Run a command to its end; Ctrl-C is handed on to it, so that it keeps what it has measured.

    Args:
        given: its standard input.
        streams: as of `subprocess.Popen`.

    Returns:
        Its exit code, 130 after Ctrl-C, and what it wrote to standard error, where that is a pipe.
    """
    from runner_lab.runners.isolation.guard import guarded

    # In a session of its own: a Ctrl-C comes once wherever it was meant for.
    streams |= {"stdin": subprocess.PIPE, "start_new_session": True}
    unsent: bytes | None = given
    try:
        with guarded(), subprocess.Popen(command, **streams) as process:
            while True:
                try:
                    _, told = process.communicate(unsent)
                    return process.returncode, (told or b"").decode(errors="replace")
                except KeyboardInterrupt:
                    unsent = None
                    process.send_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return 130, ""
