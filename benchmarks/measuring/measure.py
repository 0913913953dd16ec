"""Measure one cell: run the graph once under its arm, check what came of it, wait for the server, write it down."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from runner_lab.benchmarks.measuring import clocks
from runner_lab.benchmarks.measuring.environment import cores
from runner_lab.benchmarks.measuring.quiescence import wait_recorded
from runner_lab.benchmarks.measuring.remote_cluster import ledger_for, nodes_for
from runner_lab.benchmarks.measuring.serving import Serving
from runner_lab.benchmarks.measuring.task_stages import SECTION, task_stages_of
from runner_lab.benchmarks.measuring.usage import Meter
from runner_lab.benchmarks.session.plan import Cell, CellError
from runner_lab.flows.graph.ledger import Entry, Ledger
from runner_lab.flows.graph.wiring import Outcome, wire
from runner_lab.records.record import Record
from runner_lab.runners.engine import Cluster, Engine
from runner_lab.runners.probe.schedule import Schedule
from runner_lab.runners.server import Server

T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """What a cell is measured on.

    cluster: the stage's cluster; None for a cold cell.
    scratch: folder for ledgers and clusters' files, reachable by local workers; bodies on an attached cluster make
        their entries by a connection.
    limit_s: how long one pass may take.
    quiet_limit_s: how long to wait for the server to record another task run of a pass.
    """

    server: Server
    engine: Engine
    cluster: Cluster | None
    scratch: Path
    limit_s: float
    quiet_limit_s: float

    @property
    def local(self) -> bool:
        """Its workers are the lab's own. Of others nobody can tell here which processes are the cluster's."""
        return self.cluster is None or self.cluster.local


@dataclass(frozen=True)
class _Pass:
    """One pass over the graph; clocks are `time.monotonic`. `probe`: of a chain, which notes where its time goes."""

    called_s: float
    outcome: Outcome
    returned_s: float
    probe: Schedule | None = None


def measure(
    cell: Cell,
    position: int,
    ready: Callable[[Cell], AbstractContextManager[Site]],
    blank: Record,
    body: Callable[[Cell, Site, Record], Record] | None = None,
) -> Record:
    """Measure `cell`; never raises for what the arm does wrong, but says so in the record.

    Args:
        position: the cell's place in its block.
        ready: gives the site, with the cluster up and warm; what it raises becomes the record's error.
        blank: the record with everything filled in that is known before (`blank_record`).
        body: measures the cell on its site and gives `blank` with what came of it; by default that of the lab's graphs.
    """
    begun = time.monotonic()
    try:
        with ready(cell) as site:
            record = (body or _measure)(cell, site, blank)
    except KeyboardInterrupt:
        raise
    except CellError as error:
        record = failed(blank, error)
    except BaseException as error:
        # SystemExit and asyncio's CancelledError too: an arm that exits or is cancelled fails its own cell only.
        record = replace(blank, status="error", error=one_line(error))
    return replace(record, position=position, elapsed_s=time.monotonic() - begun)


def failed(record: Record, error: CellError) -> Record:
    """`record`, with what was measured until then, as that of a cell that means nothing."""
    return replace(record, **{"status": "error", "error": str(error), **error.known})


def metered(site: Site, run: Callable[[], T]) -> tuple[T, dict[str, Any]]:
    """What `run` gives, and what the machine spent on it meanwhile, as fields of a record."""
    meter = Meter(site.server.pid, local_workers=site.local)
    meter.start()
    try:
        found = run()
    finally:
        usage, background_cpu = meter.stop()
    return found, {"usage": usage, "background_cpu": background_cpu}


def blank_record(cell: Cell, run_id: str, environment: dict[str, Any]) -> Record:
    """What is known of a cell before it is measured."""
    arm, graph = cell.arm, cell.graph
    return Record(
        run_id=run_id,
        suite=cell.suite,
        graph=graph.as_dict(),
        arm=arm.name,
        role=cell.role,
        engine=arm.engine,
        runner=arm.class_path or ("direct calls" if arm.direct else f"bare {arm.engine}"),
        bare=arm.bare,
        lean=arm.lean,
        cold=cell.cold,
        workers=arm.workers,
        block=cell.block,
        position=0,
        status="ok",
        error=None,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tasks=graph.tasks,
        ideal_s=0.0 if graph.variant == "cached" else graph.ideal_s(arm.workers, cores()),
        expected_executions=0 if graph.variant == "cached" else graph.executions,
        executions=None,
        expected_recorded=0 if arm.bare else graph.tasks,
        recorded=None,
        visibility_lag_s=None,
        environment=environment,
    )


def run_pass(cell: Cell, site: Site, ledger: str) -> _Pass:
    """Run the graph once under the cell's arm; its bodies write to `ledger`."""
    if cell.arm.bare:
        assert site.cluster is not None
        called_s = time.monotonic()
        with site.engine.bare(cell.arm, site.cluster, site.limit_s) as submitter:
            outcome = wire(cell.graph, ledger, nodes_for(site.cluster), submitter)
        return _Pass(called_s, outcome, time.monotonic())
    from runner_lab.flows.graph.chain import chain
    from runner_lab.flows.graph.fanout import fanout

    probe = Schedule(ledger, cell.arm.engine, SECTION) if cell.graph.variant == "chain" else None
    flow: Any = (chain if probe else fanout).with_options(timeout_seconds=site.limit_s)
    if not cell.arm.direct:
        flow = flow.with_options(task_runner=site.engine.task_runner(cell.arm, site.cluster, site.scratch))
    arguments: dict[str, Any] = {"mark": probe} if probe else {}
    with nullcontext() if cell.cold else without_heartbeats(), probe or nullcontext():
        called_s = time.monotonic()
        outcome = flow(cell.graph, ledger, direct=cell.arm.direct, **arguments)
        returned_s = time.monotonic()
    return _Pass(called_s, outcome, returned_s, probe)


def without_heartbeats() -> AbstractContextManager[Any]:
    """No heartbeats of flow runs: a flow waits at its end for their thread, which sleeps in whole seconds.

    That second is no task runner's, and it would be most of the run time of the lab. Cold cells, which measure
    what a user meets, keep it.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def _measure(cell: Cell, site: Site, blank: Record) -> Record:
    made = TemporaryDirectory(prefix="cell-", dir=site.scratch, ignore_cleanup_errors=True)
    with made as folder, ledger_for(site.cluster, Path(folder)) as place:
        return _measure_into(Ledger(Path(folder)), place, cell, site, blank)


def _measure_into(ledger: Ledger, place: str, cell: Cell, site: Site, blank: Record) -> Record:
    """`place` is the ledger as the bodies know it, the same for both passes of a cached graph: it is in the key."""
    if cell.graph.variant == "cached":
        _settle(cell, site, run_pass(cell, site, place))
        _check_executions(ledger.entries(), cell.graph.executions, "the pass that fills the cache")
    filled = len(ledger.entries())
    serving = Serving.of(site.server)
    if site.cluster is not None and not site.cluster.local and blank.ideal_s:
        # The cores of this host are not those that the bodies compute on.
        blank = replace(blank, ideal_s=cell.graph.ideal_s(cell.arm.workers, cores=cell.arm.workers))
    passed, spent = metered(site, lambda: run_pass(cell, site, place))
    entries = ledger.entries()[filled:]
    far = clocks.elsewhere(entries)
    record = replace(
        blank,
        phases=clocks.phases(passed.called_s, passed.outcome, passed.returned_s, entries),
        latencies=clocks.latencies(passed.outcome, entries),
        hosts=far,
        executions=len(entries),
        task_stages=task_stages_of(passed.outcome, passed.probe) if passed.probe and not far else None,
        **spent,
    )
    try:
        _check_result(cell, passed.outcome)
        _check_executions(entries, blank.expected_executions, "the pass")
        record = replace(record, **_settle(cell, site, passed))
        record = replace(record, traffic=serving.since() if serving else None)
    except CellError as error:
        return failed(record, error)
    return record


def _settle(cell: Cell, site: Site, passed: _Pass) -> dict[str, Any]:
    """Wait until the server is done with the pass; what it has then belongs to the record.

    Raises:
        CellError: task runs that are recorded, but not as completed; or the server does not answer.
    """
    run_id = passed.outcome.flow_run_id
    if run_id is None:
        return {}
    limit_s, tasks = site.quiet_limit_s, cell.graph.tasks
    found = wait_recorded(site.server.api_url, run_id, tasks, limit_s, since_s=passed.returned_s)
    if found.completed < found.final:
        raise CellError(f"{found.final - found.completed} of {found.final} task runs did not end as Completed")
    return {"recorded": found.final, "visibility_lag_s": found.lag_s}


def _check_result(cell: Cell, outcome: Outcome) -> None:
    if outcome.result != cell.graph.result:
        raise CellError(f"wrong result: {outcome.result!r} came back, {cell.graph.result!r} was expected")


def _check_executions(entries: list[Entry], expected: int, what: str) -> None:
    if len(entries) != expected:
        raise CellError(f"{what} ran {len(entries)} task bodies, {expected} were expected")
