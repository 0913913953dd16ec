"""Flows in which something goes wrong: each is run under every task runner, and notes what it sees (`flows.noted`)."""

from __future__ import annotations

import time
from typing import Any

from prefect import flow, runtime, task

from flows.noted import attempt, mark, marks, note

PATIENCE_S = 60.0
"""For what a flow waits for: longer, and it is taken for lost."""


class Broken(Exception):
    """What a task raises that is meant to fail."""


@task
def steady(folder: str, number: int, before: Any = None) -> int:
    """A task that has no fault."""
    mark(folder, "steady")
    return number


@task
def broken(folder: str) -> None:
    mark(folder, "broken")
    raise Broken("as planned")


@task(retries=2, retry_delay_seconds=0.2)
def third_time_lucky(folder: str) -> int:
    mark(folder, "lucky")
    runs = len(marks(folder, "lucky"))
    if runs < 3:
        raise Broken(f"attempt {runs}")
    return runs


def ask(folder: str, future: Any, name: str = "doomed") -> None:
    """Note what a future says: of `.wait()`, `.state` and `.result()`, in this order."""
    waited, wait_s = attempt(lambda: future.wait(PATIENCE_S))
    note(folder, **{f"{name}_wait": waited, f"{name}_wait_s": wait_s, f"{name}_waited_at_s": time.monotonic()})
    try:
        note(folder, **{f"{name}_state": future.state.name})
    except Exception as error:
        note(folder, **{f"{name}_state": f"raises {type(error).__name__}"})
    result, result_s = attempt(lambda: future.result(PATIENCE_S))
    note(folder, **{f"{name}_result": result, f"{name}_result_s": result_s})


def survivors(folder: str, futures: list[Any]) -> None:
    """Note how many of the steady tasks have their result in the end."""
    kept = [attempt(lambda future=future: future.result(PATIENCE_S))[0] for future in futures]  # type: ignore[misc]
    note(folder, others=len(kept), others_kept=kept.count("returns"))
    if lost := [told for told in kept if told != "returns"]:
        note(folder, others_lost_by=lost[0])


def begins(folder: str, **futures: Any) -> None:
    """Note the ids, for the server to be asked about."""
    note(folder, flow_run_id=str(runtime.flow_run.id))
    note(folder, **{f"{name}_id": str(future.task_run_id) for name, future in futures.items()})


@flow
def task_raises(folder: str) -> None:
    doomed = broken.submit(folder)
    after = steady.submit(folder, 9, doomed)
    others = [steady.submit(folder, number) for number in range(4)]
    begins(folder, doomed=doomed, after=after)
    ask(folder, doomed)
    survivors(folder, others)
    attempt(lambda: after.wait(PATIENCE_S))
    doomed.result()


@flow
def succeeds_on_retry(folder: str) -> None:
    doomed = third_time_lucky.submit(folder)
    begins(folder, doomed=doomed)
    ask(folder, doomed)
