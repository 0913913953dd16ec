"""One pass of a graph of the lab's own under an arm: run, checked, waited for, and what came of it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner_lab.benchmarks.measuring import clocks
from runner_lab.benchmarks.measuring.measure import Site, failed, metered, without_heartbeats
from runner_lab.benchmarks.measuring.quiescence import wait_recorded
from runner_lab.benchmarks.measuring.remote_cluster import ledger_for, nodes_for
from runner_lab.benchmarks.measuring.serving import Serving
from runner_lab.benchmarks.measuring.task_stages import SECTION, task_stages_of
from runner_lab.benchmarks.measuring.usage import cpu_of
from runner_lab.benchmarks.session.plan import CellError, PlannedCell
from runner_lab.flows.graph.ledger import Execution, Ledger
from runner_lab.flows.graph.wiring import Outcome, wire, wire_map
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record
from runner_lab.runners.probe.schedule import Schedule


@dataclass(frozen=True)
class Pass:
    """One pass over the graph; clocks are `time.monotonic`. `probe`: of a chain, which notes where its time goes."""

    called_s: float
    outcome: Outcome
    returned_s: float
    probe: Schedule | None = None


def warm_up(cell: PlannedCell, site: Site) -> None:
    """A few tasks under the cell's arm, and its end on the server waited for."""
    small = GraphSpec("map", width=2 * cell.arm.workers)
    with ledger_for(site.cluster, Path(tempfile.mkdtemp(prefix="warm-", dir=site.scratch))) as ledger:
        passed = run_pass(replace(cell, graph=small), site, ledger)
    if passed.outcome.flow_run_id:
        wait_recorded(site.server.api_url, passed.outcome.flow_run_id, small.tasks, site.quiet_limit_s)


def run_pass(cell: PlannedCell, site: Site, ledger: str) -> Pass:
    """Run the graph once under the cell's arm; its bodies write to `ledger`."""
    graph = cell.lab_graph
    if cell.arm.bare:
        assert site.cluster is not None
        called_s = time.monotonic()
        with site.engine.bare(cell.arm, site.cluster, site.limit_s) as submitter:
            run = wire_map if graph.variant == "map" else wire
            outcome = run(graph, ledger, nodes_for(site.cluster), submitter)
        return Pass(called_s, outcome, time.monotonic())
    from runner_lab.flows.graph.chain import chain
    from runner_lab.flows.graph.fanout import fanout, fanout_awaited

    probe = Schedule(ledger, cell.arm.engine, SECTION) if graph.variant == "chain" else None
    arguments: dict[str, Any] = {"mark": probe} if probe else {}
    flow: Any = chain if probe else fanout_awaited if cell.arm.event_loop else fanout
    flow = flow.with_options(timeout_seconds=site.limit_s)
    if cell.arm.class_path:
        flow = flow.with_options(task_runner=site.engine.task_runner(cell.arm, site.cluster, site.scratch))
    with nullcontext() if cell.cold else without_heartbeats(), probe or nullcontext():
        called_s = time.monotonic()
        if cell.arm.event_loop:
            outcome = asyncio.run(flow(graph, ledger))
        else:
            outcome = flow(graph, ledger, direct=cell.arm.direct, **arguments)
        returned_s = time.monotonic()
    return Pass(called_s, outcome, returned_s, probe)


def measure_graph(cell: PlannedCell, site: Site, blank: Record) -> Record:
    """`blank` with what came of one pass over the graph of `cell`.

    Raises:
        CellError: the pass that fills a cache went wrong.
    """
    made = TemporaryDirectory(prefix="cell-", dir=site.scratch, ignore_cleanup_errors=True)
    with made as folder, ledger_for(site.cluster, Path(folder)) as place:
        return _measure_into(Ledger(Path(folder)), place, cell, site, blank)


def _measure_into(ledger: Ledger, place: str, cell: PlannedCell, site: Site, blank: Record) -> Record:
    """`place` is the ledger as the bodies know it, the same for both passes of a cached graph: it is in the key."""
    if cell.lab_graph.variant == "cached":
        _settle(cell, site, run_pass(cell, site, place))
        _check_executions(ledger.entries(), cell.lab_graph.executions, "the pass that fills the cache")
    filled = len(ledger.entries())
    serving = Serving.of(site.server)
    if site.cluster is not None and not site.cluster.local and blank.ideal_s:
        # The cores of this host are not those that the bodies compute on.
        blank = replace(blank, ideal_s=cell.lab_graph.ideal_s(cell.arm.workers, cores=cell.arm.workers))
    server_before_s = cpu_of(site.server.pid)
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
        if server_before_s is not None and (server_s := cpu_of(site.server.pid)) is not None:
            usage = replace(record.usage, server_settled_cpu_s=max(server_s - server_before_s, 0.0))
            record = replace(record, usage=usage)
        record = replace(record, traffic=serving.since() if serving else None)
    except CellError as error:
        return failed(record, error)
    return record


def _settle(cell: PlannedCell, site: Site, passed: Pass) -> dict[str, Any]:
    """Wait until the server is done with the pass; what it has then belongs to the record.

    Raises:
        CellError: task runs that are recorded, but not as completed; or the server does not answer.
    """
    run_id = passed.outcome.flow_run_id
    if run_id is None:
        return {}
    limit_s, tasks = site.quiet_limit_s, cell.lab_graph.tasks
    found = wait_recorded(site.server.api_url, run_id, tasks, limit_s, since_s=passed.returned_s)
    if found.completed < found.final:
        raise CellError(f"{found.final - found.completed} of {found.final} task runs did not end as Completed")
    return {"recorded": found.final, "visibility_lag_s": found.lag_s}


def _check_result(cell: PlannedCell, outcome: Outcome) -> None:
    if outcome.result != cell.lab_graph.result:
        raise CellError(f"wrong result: {outcome.result!r} came back, {cell.lab_graph.result!r} was expected")


def _check_executions(entries: list[Execution], expected: int, what: str) -> None:
    if len(entries) != expected:
        raise CellError(f"{what} ran {len(entries)} task bodies, {expected} were expected")
