"""Start what measures: a user's flow in this process, with a status line, or a command in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.status import Status


class Started(NamedTuple):
    flow: Any
    session: Any
    cells: Any
    terminal: Console
    status: Status
    """Shown until the caller stops it."""


@contextmanager
def started(workload: Callable[[], Any], options: Any, notes: bool = True) -> Iterator[Started]:
    """Import a flow, plan its cells, and start the server.

    Args:
        workload: makes the `UserFlow`, which imports the flow.
        options: the session's `Options`.
        notes: print what the flow's source tells before anything is measured.

    Raises:
        ValueError: the flow or an option is wrong.
        RuntimeError: the server does not start.
    """
    # A terminal of its own: what flows and workers write to the standard streams goes to a file meanwhile.
    with open(os.dup(2), "w", encoding="utf-8") as stream:
        terminal = Console(file=stream, highlight=False)
        with terminal.status("importing Prefect and the flow") as status:

            def say(line: str) -> None:
                if line.startswith("warning: "):
                    terminal.print(line, markup=False, soft_wrap=True)
                else:
                    status.update(line)

            from runner_lab.benchmarks.compare.compare import plan
            from runner_lab.benchmarks.session.session import Session

            flow = workload()
            session = Session(flow, options, say)
            try:
                cells = plan(session, flow)
                for line in flow.notes() if notes else ():
                    terminal.print(line, markup=False, soft_wrap=True)
                session.start()
            except BaseException:
                session.release()
                raise
            yield Started(flow, session, cells, terminal, status)


def run_child(command: Sequence[str], given: bytes = b"", **streams: Any) -> tuple[int, str]:
    """Run a command to its end; Ctrl-C is handed on to it, so that it keeps what it has measured.

    The lab sets its environment before Prefect is imported, once: what another command measures has its own process.

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
