"""A process of the lab's: in a session of its own, its output in a file, and ended with all that it has started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil

from runner_lab.runners.isolation import guard
from runner_lab.runners.isolation.environment import MARK
from runner_lab.runners.isolation.waiting import POLL_S, last_within

_END_LIMIT_S = 15.0
_GUARD_LIMIT_S, _GUARD_POLL_S = 40.0, 0.05
"""For the guard of a process to end what that has started, and to be asked about it."""


class Supervised:
    """The process, and its family: all that it was seen to have started.

    Args:
        command: its words; `module` makes those that run a module.
        log: what it and its family print is appended there; it goes where the lab's own goes by default.
        variables: its whole environment, if not the lab's.
        folder: to run in; the present one by default.
        asked: it reads `requests`; nothing by default.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path | None = None,
        variables: Mapping[str, str] | None = None,
        folder: Path | None = None,
        asked: bool = False,
    ) -> None:
        with open(log, "ab") if log else nullcontext() as out:
            # A session of its own: Ctrl-C is the lab's, which then ends this process.
            self.process = subprocess.Popen(
                command,
                env=None if variables is None else dict(variables),
                cwd=folder,
                stdin=subprocess.PIPE if asked else subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._seen: set[psutil.Process] = set()
        with suppress(psutil.NoSuchProcess):
            self._seen.add(psutil.Process(self.process.pid))

    @property
    def pid(self) -> int:
        return self.process.pid

    def family(self) -> list[psutil.Process]:
        """The living ones of all that were seen so far, its own process among them, but for guards."""
        for known in list(self._seen):
            with suppress(psutil.Error):
                new = set(known.children(recursive=True)) - self._seen
                self._seen.update(process for process in new if not guard.is_guard(process))
        return [process for process in self._seen if guard.runs(process)]

    def over(self) -> bool:
        """Whether the process has ended, whatever its family does."""
        return self.process.poll() is not None

    def ask(self, request: Mapping[str, Any]) -> None:
        """Put a request, JSON-able, to a process that is `asked`; one that has ended does not get it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{json.dumps(request)}\n".encode())
            self.process.stdin.flush()

    def ask_no_more(self) -> None:
        """Tell a process that is `asked` that this was all."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def how_it_ended(self) -> str:
        """`exit code 1`, or `killed by signal 9`, of a process that is over."""
        code = self.process.returncode
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def reaches(self, state: Callable[[], Any], limit_s: float, poll_s: float = POLL_S) -> bool:
        """Whether it comes to that within `limit_s` seconds, and at the latest as it ends."""
        reached: list[Any] = []

        def settled() -> bool:
            self.family()
            # In this order: what it did last it did before it ended.
            over = self.over()
            reached[:] = [state()]
            return bool(reached[0]) or over

        last_within(settled, limit_s, poll_s)
        return bool(reached[0])

    def ended(self, limit_s: float) -> int | None:
        """Its exit code; None if it still runs after `limit_s` seconds."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self, grace_s: float = guard.GRACE_S) -> None:
        """End what is left of it and its family: terminate, wait up to `grace_s` seconds, then kill."""
        guard.end(self.family(), grace_s)
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()
        self.ended(_END_LIMIT_S)

    def end_with_guard(self, home: Path) -> None:
        """End a process that has a guard of its own, at once; that ends what it started, and removes `home` last."""
        self.end(grace_s=0.0)
        last_within(lambda: not home.exists(), _GUARD_LIMIT_S, _GUARD_POLL_S)


@contextmanager
def supervised(
    command: Sequence[str],
    log: Path | None = None,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
    grace_s: float = guard.GRACE_S,
) -> Iterator[Supervised]:
    """Start a process, and end what is left of it and its family; see `Supervised` and its `end`."""
    process = Supervised(command, log, variables, folder)
    try:
        yield process
    finally:
        process.end(grace_s)


def module(name: str, *arguments: str) -> list[str]:
    """The command line that runs a module with this Python.

    Without -P the modules of the working folder, the user's, would be imported before those that are installed.
    """
    return [sys.executable, "-P", "-m", name, *arguments]


def requests() -> Iterator[Any]:
    """What this process is asked, where it is `asked`, a line of JSON each, until that is all.

    From the call on nobody that this process starts holds its input.
    """
    lines = os.fdopen(os.dup(0), "r")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return map(json.loads, lines)


def without_mark() -> None:
    """Leave the guard of the process that has started this one: it ends this process and not what this one starts.

    For a process with a guard of its own, which so ends the rest also where this one is killed.
    """
    os.environ.pop(MARK, None)
