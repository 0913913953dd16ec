"""One pass of a user's flow under an arm: run, counted, waited for, and what came of it."""

from __future__ import annotations

import asyncio
import functools
import operator
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.user_flow import LoadedFlow
from runner_lab.benchmarks.measuring.measure import Site, failed, metered, one_line, without_heartbeats
from runner_lab.benchmarks.measuring.quiescence import Settled, wait_settled
from runner_lab.benchmarks.measuring.server_runs import UnansweredError
from runner_lab.benchmarks.session.plan import CellError, PlannedCell
from runner_lab.records.record import FlowRun, Phases, Record

_AFTER_FAILURE_S = 10.0


class FlowFailedError(CellError):
    """The flow failed under an arm; `flow_run` is what the server has of it."""

    def __init__(self, message: str, flow_run: FlowRun) -> None:
        super().__init__(message, flow_run=flow_run)


@dataclass
class DriverCounts:
    """What the flow's process saw of a pass.

    begun: tasks submitted or called there, by the flow and its sub-flows.
    submitted, direct: of these the flow's own.
    """

    flow_run_id: str | None = None
    begun: int = 0
    submitted: int = 0
    direct: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, submitted: bool) -> None:
        """A task begins, in this process."""
        from prefect.context import FlowRunContext

        context = FlowRunContext.get()
        run = context.flow_run if context else None
        with self._lock:
            self.begun += 1
            if run is not None and str(run.id) == self.flow_run_id:
                self.submitted += submitted
                self.direct += not submitted


class _NoteRunId:
    """The hook by which the id of the flow run is learned.

    A flow travels with each of its tasks, its hooks with it: what arrives in a worker is a callable that nobody calls.
    """

    def __init__(self, seen: DriverCounts) -> None:
        self._seen = seen

    def __call__(self, flow: Any, flow_run: Any, state: Any) -> None:
        self._seen.flow_run_id = str(flow_run.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.attrgetter, ("id",)


@dataclass(frozen=True)
class Passed:
    """One pass; clocks are `time.monotonic`. `raised` is what the flow raised instead of returning `result`."""

    called_s: float
    returned_s: float
    seen: DriverCounts
    result: Any = None
    raised: Exception | None = None


def warm_up(cell: PlannedCell, site: Site, user: LoadedFlow, agreement: Agreement) -> None:
    """One pass that is not measured: imports, connections and caches of the workers are no cell's to pay for.

    Raises:
        FlowFailedError: the flow failed; it would again.
        UnansweredError: the server does not answer.
    """
    with _storage(site) as storage:
        passed = run_pass(cell, site, user, storage)
        _settle(cell, site, passed)
        agreement.judge(cell.arm.name, _plain(passed.result))


@contextmanager
def _storage(site: Site) -> Iterator[Path]:
    """A folder for what one pass persists, for no other pass to find, until its result has been read."""
    with TemporaryDirectory(prefix="results-", dir=site.scratch, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run_pass(cell: PlannedCell, site: Site, user: LoadedFlow, storage: Path) -> Passed:
    """Run the flow once under the cell's arm; what it persists by default goes to `storage`."""
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

    seen = DriverCounts()
    runner = site.engine.task_runner(cell.arm, site.cluster, site.scratch)
    limit_s = min(site.limit_s, user.flow.timeout_seconds or site.limit_s)
    hooks: list[Any] = [_NoteRunId(seen), *(user.flow.on_running_hooks or [])]
    flow = user.flow.with_options(task_runner=runner, timeout_seconds=limit_s, on_running=hooks)
    with without_heartbeats(), temporary_settings({PREFECT_LOCAL_STORAGE_PATH: storage}), _counted(runner, seen):
        called_s = time.monotonic()
        try:
            result, raised = _call(flow, user.parameters), None
        except Exception as error:
            result, raised = None, error
        returned_s = time.monotonic()
    if isinstance(raised, TimeoutError) and returned_s - called_s >= limit_s:
        raised = TimeoutError(f"not done after {limit_s:g} s (--cell-timeout), and stopped")
    return Passed(called_s, returned_s, seen, result, raised)


def _call(flow: Any, parameters: dict[str, Any]) -> Any:
    """The flow's result, whatever kind of function it is; what a generator yields is a list."""
    if flow.isgenerator and flow.isasync:
        return asyncio.run(_collect(flow, parameters))
    if flow.isgenerator:
        return list(flow(**parameters))
    if flow.isasync:
        return asyncio.run(_await(flow, parameters))
    return flow(**parameters)


async def _await(flow: Any, parameters: dict[str, Any]) -> Any:
    return await flow(**parameters)


async def _collect(flow: Any, parameters: dict[str, Any]) -> list[Any]:
    return [item async for item in flow(**parameters)]


@contextmanager
def _counted(runner: Any, seen: DriverCounts) -> Iterator[None]:
    """Count what is handed to the runner's class, and the tasks that are called past any runner, in this process."""
    from prefect import Task

    runner_class, task_class = type(runner), cast(Any, Task)
    submit, call = runner_class.submit, task_class.__call__
    own = "submit" in vars(runner_class)

    @functools.wraps(submit)
    def counting_submit(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.count(submitted=True)
        return submit(self, *args, **kwargs)

    @functools.wraps(call)
    def counting_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.count(submitted=False)
        return call(self, *args, **kwargs)

    runner_class.submit = counting_submit
    task_class.__call__ = counting_call
    try:
        yield
    finally:
        task_class.__call__ = call
        if own:
            runner_class.submit = submit
        else:
            del runner_class.submit


def measure_flow(cell: PlannedCell, site: Site, blank: Record, user: LoadedFlow, agreement: Agreement) -> Record:
    """`blank` with what came of one pass of the flow.

    Raises:
        FlowFailedError: the flow failed.
    """
    with _storage(site) as storage:
        passed, spent = metered(site, lambda: run_pass(cell, site, user, storage))
        wall_s = passed.returned_s - passed.called_s
        record = replace(blank, phases=Phases(makespan_s=wall_s, total_s=wall_s), **spent)
        try:
            settled, flow_run = _settle(cell, site, passed)
        except UnansweredError as error:
            return failed(record, error)
        verdict, remark = agreement.judge(cell.arm.name, _plain(passed.result))
    record = replace(
        record,
        tasks=flow_run.tasks,
        recorded=settled.ended,
        expected_recorded=max(flow_run.tasks, passed.seen.begun),
        visibility_lag_s=settled.lag_s,
        flow_run=replace(flow_run, result=verdict, remark=remark),
    )
    return failed(record, CellError(f"another result: {remark}")) if verdict == "different" else record


def _settle(cell: PlannedCell, site: Site, passed: Passed) -> tuple[Settled, FlowRun]:
    """Wait until the server is done with the pass.

    Raises:
        FlowFailedError: the flow raised, or its run did not end as Completed.
        UnansweredError: the server does not answer.
    """
    seen = passed.seen
    if seen.flow_run_id is None:
        raise FlowFailedError(one_line(passed.raised) if passed.raised else "it never ran", FlowRun({}))
    # What a flow that failed has left behind may never end.
    limit_s = site.quiet_limit_s if passed.raised is None else min(_AFTER_FAILURE_S, site.quiet_limit_s)
    try:
        settled = wait_settled(site.server.api_url, seen.flow_run_id, seen.begun, limit_s, since_s=passed.returned_s)
    except UnansweredError:
        if passed.raised is None:
            raise
        raise FlowFailedError(one_line(passed.raised), FlowRun({})) from passed.raised
    flow_run = FlowRun(settled.states, seen.submitted, seen.direct, settled.subflow_tasks)
    if passed.raised is not None:
        raise FlowFailedError(one_line(passed.raised), flow_run)
    if settled.flow_state != "Completed":
        raise FlowFailedError(f"the flow run ended as {settled.flow_state}: {settled.flow_message}"[:300], flow_run)
    return settled, flow_run


def _plain(result: Any) -> Any:
    """The result with states in it, which a flow that returns futures gives, replaced by what they hold."""
    from prefect.states import State
    from prefect.utilities.collections import visit_collection

    def held(value: Any) -> Any:
        return cast(Any, value).result(raise_on_failure=False, _sync=True) if isinstance(value, State) else value

    if isinstance(result, State | list | tuple | dict | set):
        return visit_collection(result, visit_fn=held, return_data=True)
    return result
