"""Measure one cell: what it is measured on, what it costs meanwhile, and that whatever goes wrong is in its record."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from runner_lab.benchmarks.measuring.environment import cores
from runner_lab.benchmarks.measuring.usage import Meter
from runner_lab.benchmarks.session.plan import CellError, PlannedCell
from runner_lab.benchmarks.session.run_folder import now
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record
from runner_lab.runners.engine import Cluster, Engine
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


def measure(
    cell: PlannedCell,
    position: int,
    ready: Callable[[PlannedCell], AbstractContextManager[Site]],
    blank: Record,
    body: Callable[[PlannedCell, Site, Record], Record],
) -> Record:
    """Measure `cell`; never raises for what the arm does wrong, but says so in the record.

    Args:
        position: the cell's place in its block.
        ready: gives the site, with the cluster up and warm; what it raises becomes the record's error.
        blank: the record with everything filled in that is known before (`blank_record`).
        body: measures the cell on its site and gives `blank` with what came of it.
    """
    begun = time.monotonic()
    try:
        with ready(cell) as site:
            record = body(cell, site, blank)
    except KeyboardInterrupt:
        raise
    except CellError as error:
        record = failed(blank, error)
    except BaseException as error:
        # SystemExit and asyncio's CancelledError too: an arm that exits or is cancelled fails its own cell only.
        record = replace(blank, status="error", error=error_line(error))
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


def blank_record(cell: PlannedCell, run_id: str, environment: dict[str, Any]) -> Record:
    """What is known of a cell before it is measured."""
    arm, graph = cell.arm, cell.graph
    # What a user's flow will do is not known before it is run.
    tasks = executions = 0
    ideal_s = 0.0
    if isinstance(graph, GraphSpec):
        tasks = graph.tasks
        if graph.variant != "cached":
            executions, ideal_s = graph.executions, graph.ideal_s(arm.workers, cores(), arm.event_loop)
    return Record(
        run_id=run_id,
        suite=cell.suite,
        graph=graph,
        arm=arm.name,
        role=cell.role,
        engine=arm.engine,
        runner=arm.runner,
        bare=arm.bare,
        lean=arm.lean,
        cold=cell.cold,
        workers=arm.workers,
        block=cell.block,
        position=0,
        status="ok",
        error=None,
        started_at=now(),
        tasks=tasks,
        ideal_s=ideal_s,
        expected_executions=executions,
        executions=None,
        expected_recorded=0 if arm.bare else tasks,
        recorded=None,
        visibility_lag_s=None,
        api_latency_s=cell.stage.api_latency_s,
        environment=environment,
    )


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """No heartbeats of flow runs: a flow waits at its end for their thread, which sleeps in whole seconds.

    That second is no task runner's, and it would be most of the run time of the lab. Cold cells, which measure
    what a user meets, keep it. So do flows within a flow, whose seconds are a part of its time.
    """
    from prefect import Flow
    from prefect.context import FlowRunContext
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    every_s = PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()
    flow_class = cast(Any, Flow)
    call = flow_class.__call__

    @functools.wraps(call)
    def calling(flow: Any, *args: Any, **kwargs: Any) -> Any:
        # An async flow waits for no thread.
        if FlowRunContext.get() is None or flow.isasync:
            return call(flow, *args, **kwargs)
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: every_s}):
            return call(flow, *args, **kwargs)

    flow_class.__call__ = calling
    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    finally:
        flow_class.__call__ = call


def error_line(error: BaseException) -> str:
    """`ValueError: what is wrong`, without line breaks, at most 300 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
