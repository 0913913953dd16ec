"""What the server was asked and complained of in a cell: its counts and its log, read before and after."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner_lab.records.record import Traffic
from runner_lab.runners import counted
from runner_lab.runners.server import Server

_ENTRY = re.compile(rb"^(?=\d\d:\d\d:\d\d\.\d+ \| |(?:WARNING|ERROR|CRITICAL):\s)", re.M)
_LOCKED = re.compile(rb"database is locked|database table is locked|deadlock detected|LockNotAvailable", re.I)
_DROPPED = re.compile(rb"queue is full, dropping|Dropping event")
_ERROR = re.compile(rb"^[^|\n]*\| (?:ERROR|CRITICAL)|^(?:ERROR|CRITICAL):|^Traceback ", re.M)


@dataclass(frozen=True)
class Serving:
    """A reading of a server that counts; `since` says what has come after it."""

    server: Server
    counts: dict[str, Any]
    log_bytes: int

    @classmethod
    def of(cls, server: Server) -> Serving | None:
        """Read it now; None where it does not count."""
        counts = counted.counts(server.api_url)
        return None if counts is None else cls(server, counts, _size(server.log))

    def since(self) -> Traffic | None:
        """What has come since this reading; None where the server no longer answers."""
        now = counted.counts(self.server.api_url)
        if now is None:
            return None
        log = _read(self.server.log, self.log_bytes)
        return Traffic(
            requests=dict(Counter(now["requests"]) - Counter(self.counts["requests"])),
            **{name: now[name] - self.counts[name] for name in ("events", "logs", "failed")},
            **complaints(log),
        )


def complaints(log: bytes) -> dict[str, int]:
    """Entries of a server's log by what they are: `locked`, `dropped`, other `errors`.

    An entry is all lines up to the next that begins with a time or a level: a traceback names one exception several
    times.
    """
    found = {"locked": 0, "dropped": 0, "errors": 0}
    for entry in _ENTRY.split(log):
        if _DROPPED.search(entry):
            found["dropped"] += 1
        elif _LOCKED.search(entry):
            found["locked"] += 1
        elif _ERROR.search(entry):
            found["errors"] += 1
    return found


def _size(log: Path | None) -> int:
    return log.stat().st_size if log and log.exists() else 0


def _read(log: Path | None, since_bytes: int) -> bytes:
    if log is None or not log.exists():
        return b""
    with open(log, "rb") as file:
        file.seek(since_bytes)
        return file.read()
