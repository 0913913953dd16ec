"""Start the measurement of a user's flow, with a status line of what the terminal waits for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
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
