"""Caching and retries, counted outside Prefect: flows that call tasks as they are told, under any runner or directly.

What a flow sees of its calls is one thing, what the ledger holds of the bodies another (`flows.graph.bodies`).
"""

from __future__ import annotations

import functools
import os
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE, CachePolicy
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.locking.filesystem import FileSystemLockManager
from prefect.locking.memory import MemoryLockManager
from prefect.results import get_result_store
from prefect.states import State
from prefect.tasks import Task
from prefect.transactions import IsolationLevel

from runner_lab.flows.experiments.calls import WAIT_LIMIT_S, CachedCall, Condition, Lock, Seen, Try
from runner_lab.flows.graph.bodies import PlannedFailure, recorded
from runner_lab.flows.graph.ledger import Execution, Ledger

_POLL_S = 0.02

held = "nothing"
"""What a module holds in each process for itself: the flow `keyed` changes it in its own."""


class PermanentFailure(Exception):
    """The failure that no retry mends."""


def stamp(lane: int, ledger: str) -> dict[str, Any]:
    """Say when and where it ran, and where its result will be kept: no two executions say the same."""
    with recorded(ledger, "stamp", lane):
        kept_in = getattr(get_result_store().result_storage, "basepath", None)
        return {"at_ns": time.time_ns(), "pid": os.getpid(), "storage": str(kept_in)}


def meet(lane: int, ledger: str, limit_s: float) -> int:
    """Wait, at most `limit_s` seconds, until a second execution of this lane has begun as well."""
    with recorded(ledger, "meet", lane):
        (Path(ledger) / f"{lane}-{uuid.uuid4().hex}.begun").touch()
        until(lambda: len(list(Path(ledger).glob(f"{lane}-*.begun"))) > 1, limit_s)
        return lane


def attempt(lane: int, ledger: str, failures: int, permanent: bool) -> int:
    """Fail in the first `failures` executions of this lane.

    Raises:
        PlannedFailure, PermanentFailure: then.
    """
    before = Ledger(ledger).attempts("attempt", lane)
    with recorded(ledger, "attempt", lane):
        if before < failures:
            raise (PermanentFailure if permanent else PlannedFailure)(f"attempt {before + 1} of lane {lane}")
        return before + 1


def by_lane(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """A key of the ledger's folder and the lane; `held`, as this process has it, goes into the ledger."""
    now_s = time.monotonic()
    Ledger(parameters["ledger"]).write(Execution(f"key:{held}", parameters["lane"], os.getpid(), now_s, now_s))
    return f"{parameters['ledger'].replace('/', '-')}-{parameters['lane']}"


def always(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    return True


def transient(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the error may go away: as Prefect's documentation writes such a condition."""
    context = TaskRunContext.get()
    assert context is not None
    with recorded(context.parameters["ledger"], "condition", context.parameters["lane"]):
        try:
            state.result()
        except PermanentFailure:
            return False
        except Exception:
            return True
        return True


CONDITIONS: dict[Condition, Callable[..., bool]] = {
    "always": always,
    "transient": transient,
    "object": functools.partial(always),
}

kept = task(name="kept", cache_policy=INPUTS + TASK_SOURCE, persist_result=True)(stamp)
kept_in_run = task(name="kept_in_run", persist_result=True)(stamp)
kept_by_key = task(name="kept_by_key", cache_key_fn=by_lane, persist_result=True)(stamp)
meeting = task(name="meeting", cache_policy=NO_CACHE)(meet)
tried = task(name="tried", cache_policy=NO_CACHE)(attempt)
other = task(name="other", cache_policy=NO_CACHE)(stamp)


@flow(name="visits", persist_result=False)
def visits(plan: Sequence[CachedCall], ledger: str, direct: bool) -> list[Seen]:
    """Call a cached task as planned, each call after the one before has ended.

    Raises:
        TimeoutError: what a call was to come after did not come.
    """
    seen = []
    for visit in plan:
        time.sleep(visit.pause_s)
        if visit.after and not until(Path(visit.after).exists, WAIT_LIMIT_S):
            raise TimeoutError(f"{visit.after} did not come within {WAIT_LIMIT_S:.0f} s")
        options: dict[str, Any] = {"refresh_cache": visit.refresh or None}
        if visit.storage:
            options["result_storage"] = Path(visit.storage)
        if visit.expires_s:
            options["cache_expiration"] = timedelta(seconds=visit.expires_s)
        cached = (kept_in_run if visit.in_run else kept).with_options(**options)
        seen.append(_ended(_call(cached, direct, lane=visit.lane, ledger=ledger)))
    return seen


@flow(name="keyed", persist_result=False)
def keyed(ledger: str, direct: bool) -> list[Seen]:
    """Call a task with a key function twice, with something changed in the flow's process after it was imported."""
    global held
    before, held = held, "driver"
    try:
        return [_ended(_call(kept_by_key, direct, lane=0, ledger=ledger)) for _ in range(2)]
    finally:
        held = before


@flow(name="same_key", persist_result=False)
def same_key(isolation: str, lock: Lock, rounds: int, hold_s: float, ledger: str) -> list[list[Seen]]:
    """Map a task over one key, twice, in each round, on two workers that are up: a body waits for its like."""
    _warm(ledger)
    policy = _policy(isolation, lock, Path(ledger) / "locks")
    pair = meeting.with_options(cache_policy=policy, persist_result=True)
    return [
        [_ended(future) for future in pair.map([lane, lane], ledger=ledger, limit_s=hold_s)]
        for lane in range(1, rounds + 1)
    ]


@flow(name="tries", persist_result=False)
def tries(plan: Sequence[Try], ledger: str, direct: bool) -> list[Seen]:
    """Call a task that fails as planned, all calls at once."""
    calls = []
    for planned in plan:
        options: dict[str, Any] = {"retries": planned.retries, "retry_delay_seconds": list(planned.delays_s)}
        if planned.jitter:
            options["retry_jitter_factor"] = planned.jitter
        if planned.condition:
            options["retry_condition_fn"] = CONDITIONS[planned.condition]
        failing = tried.with_options(**options)
        told = {"lane": planned.lane, "failures": planned.failures, "permanent": planned.permanent}
        calls.append(_call(failing, direct, ledger=ledger, **told))
    return [_ended(call) for call in calls]


@flow(name="delayed", persist_result=False)
def delayed(delay_s: float, others: int, ledger: str) -> list[Seen]:
    """Fail on both workers, and then submit others, while the two that failed wait for their retries."""
    _warm(ledger)
    failing = tried.with_options(retries=1, retry_delay_seconds=delay_s)
    calls: list[PrefectFuture[Any]] = [
        failing.submit(lane=lane, ledger=ledger, failures=1, permanent=False) for lane in range(2)
    ]
    until(lambda: sum(entry.name == "attempt" for entry in Ledger(ledger).entries()) >= 2, WAIT_LIMIT_S)
    calls += [other.submit(lane=lane, ledger=ledger) for lane in range(others)]
    return [_ended(call) for call in calls]


def _warm(ledger: str) -> None:
    """Until a task has begun on each of two workers: to start one takes seconds."""
    for future in meeting.map([0, 0], ledger=ledger, limit_s=WAIT_LIMIT_S):
        future.wait()


def _policy(isolation: str, lock: Lock, folder: Path) -> CachePolicy:
    managers: dict[Lock, Callable[[], Any]] = {
        "none": lambda: None,
        "memory": MemoryLockManager,
        "file": lambda: FileSystemLockManager(folder),
    }
    return INPUTS.configure(isolation_level=IsolationLevel(isolation), lock_manager=managers[lock]())


def _call(called: Task[..., Any], direct: bool, **parameters: Any) -> PrefectFuture[Any] | State[Any]:
    return called(**parameters, return_state=True) if direct else called.submit(**parameters)


def _ended(call: PrefectFuture[Any] | State[Any]) -> Seen:
    if isinstance(call, State):
        state, task_run_id = call, call.state_details.task_run_id
        value = call.result(raise_on_failure=False)
    else:
        call.wait()
        state, task_run_id = call.state, call.task_run_id
        value = call.result(raise_on_failure=False)
    failed = isinstance(value, BaseException)
    return Seen(str(state.name), None if failed else value, type(value).__name__ if failed else "", str(task_run_id))


def until(ready: Callable[[], bool], limit_s: float) -> bool:
    """Wait for it, at most `limit_s` seconds; whether it came."""
    deadline = time.monotonic() + limit_s
    while not (came := ready()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return came
