"""One pass of a user's flow under an arm: run, counted, waited for, and what came of it.

`run_pass` is done by the process of the arm (`driver`), all else by the lab's.
"""

from __future__ import annotations

import asyncio
import functools
import operator
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.user_flow import LoadedFlow
from runner_lab.benchmarks.compare.user_module import what_to_do
from runner_lab.benchmarks.measuring.measure import Site, error_line, failed, metered, without_heartbeats
from runner_lab.benchmarks.measuring.quiescence import Settled, wait_settled
from runner_lab.benchmarks.measuring.server_runs import ServerRuns, UnansweredError
from runner_lab.benchmarks.session.plan import CellError, PlannedCell
from runner_lab.records.record import TROUBLED, FlowRun, Phases, Record, Result
from runner_lab.runners.spec import RunnerSpec

_AFTER_FAILURE_S = 10.0


class FlowFailedError(CellError):
    """The flow failed under an arm; `flow_run` is what the server has of it."""

    def __init__(self, message: str, flow_run: FlowRun) -> None:
        super().__init__(message, flow_run=flow_run)


@dataclass(frozen=True)
class Counts:
    """What the flow's process saw of a pass.

    begun: tasks submitted or called there, by the flow and its sub-flows.
    refused: of these, whose caller got an error: they may never have come into being.
    submitted, direct: of all the flow's own.
    handed_down: submitted by sub-flows that have the arm's runner from the flow.
    """

    flow_run_id: str | None = None
    begun: int = 0
    refused: int = 0
    submitted: int = 0
    direct: int = 0
    handed_down: int = 0


@dataclass(frozen=True)
class Passed:
    """One pass; clocks are `time.monotonic`.

    result: what the flow returned, pickled; empty where nobody is to judge it, or `unjudged` says why it cannot be.
    raised: one line of what the flow raised instead.
    spent: what the machine spent on it, as fields of a record; empty where it was not measured.
    """

    called_s: float
    returned_s: float
    seen: Counts
    result: bytes = b""
    unjudged: str = ""
    raised: str | None = None
    spent: Mapping[str, Any] = field(default_factory=dict)


class Driver(Protocol):
    """The process in which the flow runs under one arm."""

    def run(self, measured: bool, judged: bool) -> Passed:
        """One pass.

        Args:
            measured: CPU and memory too.
            judged: its result is wanted.

        Raises:
            FlowFailedError: it was stopped at its limit, or the process ended.
        """


@dataclass(frozen=True)
class FlowSite(Site):
    """The site of a user's flow: its process has the cluster."""

    driver: Driver


def warm_up(cell: PlannedCell, site: FlowSite, agreement: Agreement) -> None:
    """One pass that is not measured: imports and first connections are no cell's to pay for.

    Raises:
        FlowFailedError: the flow failed; it would again.
        UnansweredError: the server does not answer.
    """
    passed = site.driver.run(measured=False, judged=agreement.wants_result)
    _settle(site, passed)
    _judged(agreement, cell.arm.name, passed)


def measure_flow(cell: PlannedCell, site: FlowSite, blank: Record, agreement: Agreement) -> Record:
    """`blank` with what came of one pass of the flow.

    Raises:
        FlowFailedError: the flow failed.
    """
    passed = site.driver.run(measured=True, judged=agreement.wants_result)
    wall_s = passed.returned_s - passed.called_s
    record = replace(blank, phases=Phases(makespan_s=wall_s, total_s=wall_s), **passed.spent)
    try:
        settled, flow_run = _settle(site, passed)
    except UnansweredError as error:
        return failed(record, error)
    verdict, remark = _judged(agreement, cell.arm.name, passed)
    # Of tasks that an upstream took along nobody knows how many came into being.
    whole = not any(flow_run.states.get(name) for name in TROUBLED)
    record = replace(
        record,
        tasks=flow_run.tasks,
        recorded=settled.ended,
        expected_recorded=max(flow_run.tasks, passed.seen.begun - passed.seen.refused if whole else 0),
        visibility_lag_s=settled.lag_s,
        flow_run=replace(flow_run, result=verdict, remark=remark),
    )
    return failed(record, CellError(f"another result: {remark}")) if verdict == "different" else record


def _judged(agreement: Agreement, arm: str, passed: Passed) -> tuple[Result, str]:
    if not agreement.wants_result:
        return agreement.judge(arm, None)
    if passed.unjudged:
        return "unchecked", passed.unjudged
    try:
        value = pickle.loads(passed.result)
    except Exception as error:
        return "unchecked", f"its result cannot be read back: {error_line(error)}"
    return agreement.judge(arm, value)


def _settle(site: Site, passed: Passed) -> tuple[Settled, FlowRun]:
    """Wait until the server is done with the pass.

    Raises:
        FlowFailedError: the flow raised, or its run did not end as Completed.
        UnansweredError: the server does not answer.
    """
    seen = passed.seen
    if seen.flow_run_id is None:
        raise FlowFailedError(passed.raised or "it never ran", FlowRun({}))
    # What a flow that failed has left behind may never end.
    limit_s = site.quiet_limit_s if passed.raised is None else min(_AFTER_FAILURE_S, site.quiet_limit_s)
    try:
        settled = wait_settled(site.server.api_url, seen.flow_run_id, seen.begun, limit_s, since_s=passed.returned_s)
    except UnansweredError as error:
        if passed.raised is None:
            raise
        raise FlowFailedError(passed.raised, FlowRun({})) from error
    elsewhere = max(0, settled.subflow_tasks - seen.handed_down)
    # What a sub-flow hands to the runner that it has from the flow goes to the arm's as well.
    flow_run = FlowRun(settled.states, seen.submitted + seen.handed_down, seen.direct, elsewhere)
    if passed.raised is not None:
        raise FlowFailedError(_cause(site, seen.flow_run_id, passed.raised), flow_run)
    if settled.flow_state != "Completed":
        raise FlowFailedError(f"the flow run ended as {settled.flow_state}: {settled.flow_message}"[:300], flow_run)
    return settled, flow_run


def _cause(site: Site, flow_run_id: str, raised: str) -> str:
    """What the flow raised; where that is the state of a task that never began, why the one before it failed."""
    if not raised.startswith("UnfinishedRun"):
        return raised
    try:
        with ServerRuns(site.server.api_url, _AFTER_FAILURE_S) as runs:
            return what_to_do(runs.first_failure(runs.family(flow_run_id)) or raised)
    except UnansweredError:
        return raised


def run_pass(
    arm: RunnerSpec,
    site: Site,
    user: LoadedFlow,
    measured: bool,
    judged: bool,
    mark: Callable[[str], None] = lambda name: None,
    profile: str | None = None,
) -> Passed:
    """Run the flow once under an arm, as it is but for its runner, in this process.

    Args:
        mark: told `begun` as the flow is called and `returned` when it has returned.
        profile: folder for the entries of its profile; None where none is taken.
    """
    # What it persists is for no other pass to find, and needed until its result has been read. All have the same place:
    # a lean pool whose settings have changed imports Prefect again.
    storage = site.scratch / "results"
    storage.mkdir(exist_ok=True)
    try:

        def run() -> tuple[float, float, Counts, Any, BaseException | None]:
            return _run(arm, site, user, storage, mark, profile)

        (called_s, returned_s, seen, result, raised), spent = metered(site, run) if measured else (run(), {})
        pickled, unjudged = _pickled(result) if judged and raised is None else (b"", "")
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    return Passed(
        called_s, returned_s, seen, pickled, unjudged, what_to_do(error_line(raised)) if raised else None, spent
    )


def _run(
    arm: RunnerSpec,
    site: Site,
    user: LoadedFlow,
    storage: Path,
    mark: Callable[[str], None],
    profile: str | None,
) -> tuple[float, float, Counts, Any, BaseException | None]:
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

    runner = user.flow.task_runner if arm.as_declared else site.engine.task_runner(arm, site.cluster, site.scratch)
    counting = _Counting(runner)
    hooks: list[Any] = [_NoteRunId(counting), *(user.flow.on_running_hooks or [])]
    flow = user.flow.with_options(task_runner=runner, on_running=hooks)
    if profile is not None:
        from runner_lab.benchmarks.advise.seams import profiled

        flow = profiled(flow, profile)
    with without_heartbeats(), temporary_settings({PREFECT_LOCAL_STORAGE_PATH: storage}), counting.entered():
        mark("begun")
        called_s = time.monotonic()
        result, raised = None, None
        try:
            result = _call(flow, user.parameters)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # SystemExit and asyncio's CancelledError too: a flow that exits or is cancelled fails its own pass only.
            raised = error
        returned_s = time.monotonic()
    mark("returned")
    return called_s, returned_s, counting.counts(), result, raised


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


def _pickled(result: Any) -> tuple[bytes, str]:
    """What the flow returned, for another process; or why it cannot be had there."""
    import cloudpickle

    try:
        return cloudpickle.dumps(_plain(result)), ""
    except Exception as error:
        return b"", f"its result, a {type(result).__name__}, cannot be pickled ({error_line(error)})"


def _plain(result: Any) -> Any:
    """The result with states in it, which a flow that returns futures gives, replaced by what they hold."""
    from prefect.states import State
    from prefect.utilities.collections import visit_collection

    def held(value: Any) -> Any:
        return cast(Any, value).result(raise_on_failure=False, _sync=True) if isinstance(value, State) else value

    if isinstance(result, State | list | tuple | dict | set):
        return visit_collection(result, visit_fn=held, return_data=True)
    return result


class _NoteRunId:
    """The hook by which the id of the flow run is learned.

    A flow travels with each of its tasks, its hooks with it: what arrives in a worker is a callable that nobody calls.
    """

    def __init__(self, counting: _Counting) -> None:
        self._counting = counting

    def __call__(self, flow: Any, flow_run: Any, state: Any) -> None:
        self._counting.flow_run_id = str(flow_run.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.attrgetter, ("id",)


class _Counting:
    """Counts what is handed to the class of a runner, and the tasks that are called past any, in this process."""

    def __init__(self, runner: Any) -> None:
        self.flow_run_id: str | None = None
        self._runner = runner
        self._lock = threading.Lock()
        self._submits: set[Any] = set()
        self._refused: set[Any] = set()
        self._calls = self._refused_calls = self._submitted = self._direct = self._handed_down = 0

    def counts(self) -> Counts:
        """What was seen so far."""
        begun = len(self._submits) + self._calls
        refused = len(self._refused) + self._refused_calls
        return Counts(self.flow_run_id, begun, refused, self._submitted, self._direct, self._handed_down)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Count meanwhile."""
        from prefect import Task

        runner_class, task_class = type(self._runner), cast(Any, Task)
        submit, call = runner_class.submit, task_class.__call__
        own = "submit" in vars(runner_class)
        futures: dict[type, Any] = {}

        @functools.wraps(submit)
        def counting_submit(runner: Any, *args: Any, **kwargs: Any) -> Any:
            future = submit(runner, *args, **kwargs)
            self._count_submit(runner, future)
            self._watch(type(future), futures)
            return future

        @functools.wraps(call)
        def counting_call(task: Any, *args: Any, **kwargs: Any) -> Any:
            self._count_call()
            try:
                return call(task, *args, **kwargs)
            except BaseException:
                with self._lock:
                    self._refused_calls += 1
                raise

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
            for future_class, result in futures.items():
                if result is None:
                    del future_class.result  # type: ignore[attr-defined]
                else:
                    future_class.result = result  # type: ignore[attr-defined]

    def _count_submit(self, runner: Any, future: Any) -> None:
        flows_own = self._is_flows_own()
        # A runner is copied for each flow run; that of the arm, handed down, is like it.
        handed_down = not flows_own and type(runner) is type(self._runner) and runner == self._runner
        with self._lock:
            self._submits.add(_id(future))
            self._submitted += flows_own
            self._handed_down += handed_down

    def _count_call(self) -> None:
        with self._lock:
            self._calls += 1
            self._direct += self._is_flows_own()

    def _is_flows_own(self) -> bool:
        from prefect.context import FlowRunContext

        context = FlowRunContext.get()
        run = context.flow_run if context else None
        return run is not None and str(run.id) == self.flow_run_id

    def _watch(self, future_class: type, watched: dict[type, Any]) -> None:
        """Note the futures of a class whose result is an error: their tasks may never have come into being."""
        with self._lock:
            if future_class in watched or not callable(getattr(future_class, "result", None)):
                return
            watched[future_class] = vars(future_class).get("result")
        result = future_class.result  # type: ignore[attr-defined]

        @functools.wraps(result)
        def noting_result(future: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                value = result(future, *args, **kwargs)
            except BaseException:
                self._refuse(future)
                raise
            if isinstance(value, BaseException):
                self._refuse(future)
            return value

        future_class.result = noting_result  # type: ignore[attr-defined]

    def _refuse(self, future: Any) -> None:
        with self._lock:
            self._refused.add(_id(future))


def _id(future: Any) -> Any:
    return getattr(future, "task_run_id", None) or id(future)
