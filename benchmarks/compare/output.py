"""What flows and workers print goes to a file, so that the terminal holds the lab's own lines alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def captured(path: Path) -> Iterator[None]:
    """Append to `path` whatever this process, and every process it starts meanwhile, writes to the standard streams.

    By file descriptor: workers inherit those, and know nothing of `sys.stdout`.
    """
    kept = [os.dup(number) for number in (1, 2)]
    written = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    _flush()
    try:
        for number in (1, 2):
            os.dup2(written, number)
        yield
    finally:
        _flush()
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(written)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
