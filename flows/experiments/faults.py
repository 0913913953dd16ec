"""Flows in which something goes wrong: each is run under every task runner, and notes what it sees."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import INPUTS

from runner_lab.flows.experiments.noted import attempt, mark, marks, note

PATIENCE_S = 120.0
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


def ask(folder: str, future: Any, name: str = "doomed", patience_s: float = PATIENCE_S) -> None:
    """Note what a future says: of `.wait()`, `.state` and `.result()`, in this order."""
    waited, wait_s = attempt(lambda: future.wait(patience_s))
    note(folder, **{f"{name}_wait": waited, f"{name}_wait_s": wait_s, f"{name}_waited_at_s": time.monotonic()})
    try:
        note(folder, **{f"{name}_state": future.state.name})
    except Exception as error:
        note(folder, **{f"{name}_state": f"raises {type(error).__name__}"})
    result, result_s = attempt(lambda: future.result(PATIENCE_S))
    note(folder, **{f"{name}_result": result, f"{name}_result_s": result_s})


def companions(folder: str, numbers: range) -> list[Callable[[float], Any]]:
    """Submit steady tasks; how to get the result of each within a time, which raises what its submit did."""

    def submitted(number: int) -> Callable[[float], Any]:
        try:
            future = steady.submit(folder, number)
        except Exception as error:
            return partial(_raise, error)
        return future.result

    return [submitted(number) for number in numbers]


def _raise(error: Exception, timeout_s: float) -> None:
    raise error


def survivors(folder: str, others: list[Callable[[float], Any]]) -> None:
    """Note how many of the companions have their result in the end; all together are waited for so long."""
    end_s = time.monotonic() + PATIENCE_S
    kept = [attempt(partial(result, max(1.0, end_s - time.monotonic())))[0] for result in others]
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
    others = companions(folder, range(4))
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


@task
def die(folder: str) -> None:
    """Kill the worker, whenever it runs."""
    mark(folder, "die")
    # Long enough for the server to be told that it runs.
    time.sleep(2.0)
    note(folder, died_at_s=time.monotonic())
    os.kill(os.getpid(), signal.SIGKILL)


@flow
def worker_killed(folder: str) -> None:
    doomed = die.submit(folder)
    others = companions(folder, range(6))
    begins(folder, doomed=doomed)
    # The engine may start four workers one after another, and each imports Prefect.
    ask(folder, doomed, patience_s=4 * PATIENCE_S)
    others += companions(folder, range(6, 8))
    survivors(folder, others)
    doomed.result(PATIENCE_S)


@task
def produce(folder: str) -> str:
    mark(folder, "produce")
    return "made"


@task(persist_result=True, cache_policy=INPUTS)
def produce_persisted(folder: str) -> str:
    mark(folder, "produce")
    return "made"


@task
def consume(folder: str, made: Any) -> str:
    return f"{made}, consumed"


@flow
def killed_when_done(folder: str, persisted: bool) -> None:
    """Kill the worker whose task is over, then need its result."""
    made = (produce_persisted if persisted else produce).submit(folder)
    begins(folder, made=made)
    made.wait(PATIENCE_S)
    os.kill(marks(folder, "produce")[0].pid, signal.SIGKILL)
    time.sleep(1.0)
    told, seconds = attempt(lambda: consume.submit(folder, made).result(PATIENCE_S))
    note(folder, consumed=told, consumed_s=seconds)


@task
def accept(folder: str, thing: Any) -> int:
    mark(folder, "accept")
    return 1


@task
def give(folder: str) -> Any:
    mark(folder, "give")
    return threading.Lock()


@flow
def unpicklable(folder: str, as_result: bool) -> None:
    """A lock as argument, or as result; both cannot be sent to another process."""
    others = companions(folder, range(2))
    futures: list[Any] = []
    if as_result:
        told, _ = attempt(lambda: futures.append(give.submit(folder)))
    else:
        told, _ = attempt(lambda: futures.append(accept.submit(folder, threading.Lock())))
    note(folder, submit=told)
    if futures:
        begins(folder, doomed=futures[0])
        ask(folder, futures[0])
    others += companions(folder, range(2, 4))
    survivors(folder, others)


@task
def large(size: int) -> bytes:
    return bytes(size)


@task
def weigh(data: Any) -> int:
    return len(data)


@flow
def large_result(folder: str, size: int) -> None:
    """A result of `size` bytes, to the flow and to a task that needs it."""
    begun_s = time.monotonic()
    made = large.submit(size)
    weight = weigh.submit(made)
    begins(folder, made=made)
    got: list[int] = []
    told, _ = attempt(lambda: got.append(len(made.result(PATIENCE_S))))
    downstream, _ = attempt(lambda: got.append(weight.result(PATIENCE_S)))
    seconds = round(time.monotonic() - begun_s, 2)
    note(folder, result=told, downstream=downstream, sizes=got, through_s=seconds)


BLOCKED_S, TIMEOUT_S = 12.0, 2.0


@task(timeout_seconds=TIMEOUT_S)
def blocked(folder: str) -> None:
    """Held in one call, which knows nothing of a timeout."""
    mark(folder, "blocked")
    try:
        time.sleep(BLOCKED_S)
    finally:
        mark(folder, "unblocked")


@flow
def times_out(folder: str) -> None:
    doomed = blocked.submit(folder)
    begins(folder, doomed=doomed)
    ask(folder, doomed)


@task
def leaf(folder: str) -> int:
    mark(folder, "leaf")
    return 1


@task
def branch(folder: str, depth: int) -> int:
    """Submit a task in a task, and wait for it in one's slot."""
    mark(folder, "branch")
    below: Any = branch.submit(folder, depth - 1) if depth > 1 else leaf.submit(folder)
    return below.result()


@flow
def nested(folder: str, width: int, depth: int) -> int:
    return sum(future.result() for future in [branch.submit(folder, depth) for _ in range(width)])


@task
def talk(number: int, lines: int) -> int:
    logger = get_run_logger()
    for line in range(lines):
        logger.info("task %d, line %d", number, line)
    return number


@flow
def talks(folder: str, tasks: int, lines: int) -> None:
    begins(folder)
    for future in [talk.submit(number, lines) for number in range(tasks)]:
        future.result(PATIENCE_S)


@task
def nothing(number: int) -> int:
    return number


@flow
def many(folder: str, warm: int, tasks: int, wave: int) -> None:
    """Waves of tasks, whose futures are let go of; the family's memory after `warm` of them, and `tasks` later."""
    note(folder, flow_run_id=str(runtime.flow_run.id))
    for begun in range(0, warm + tasks, wave):
        for future in [nothing.submit(number) for number in range(begun, begun + wave)]:
            future.wait(PATIENCE_S)
        gc.collect()
        if (done := begun + wave) in (warm, warm + tasks):
            driver, workers = resident_mb()
            when = "before" if done == warm else "after"
            note(folder, **{f"driver_{when}_mb": driver, f"workers_{when}_mb": workers})


def resident_mb() -> tuple[float, float]:
    """Of this process, and of all that it started, Ray's object store left out."""
    here = psutil.Process()
    sizes = []
    for process in here.children(recursive=True):
        try:
            sizes.append(process.memory_full_info().uss)
        except psutil.Error:
            continue
    return round(here.memory_full_info().uss / 1e6, 1), round(sum(sizes) / 1e6, 1)
