"""What distance to Prefect's API costs: the round trips that a task and a flow run wait for, read off a run's cells.

The suites `api_near` and `api_far` have the same graphs in the same blocks, beside the API and a round trip of known
length away. What the far one takes longer, over that length, is round trips: of a task that stands alone from graphs of
two sizes, so that what a flow run waits for once is no task's; of a task that takes another's result from a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner_lab.records.cell_id import API_FAR, API_NEAR
from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.cells import Cell

LEAST = 0.5
"""Round trips below which a figure without an interval counts as none: a task waits for one, or it does not."""


@dataclass(frozen=True)
class ApiTrips:
    """Round trips to Prefect's API that one arm waits for; 0 where none could be told from noise.

    task:     a task of its own, while it holds its slot.
    link:     a task that takes the result of another one.
    flow_run: a flow run, at its beginning and its end.
    latency_s: round trip over which they were measured.
    """

    task: float
    link: float | None
    flow_run: float
    latency_s: float


def api_trips(arm: str, cells: Sequence[Cell], slots: int) -> ApiTrips | None:
    """Of one arm with so many slots; None where the run has not measured it both near and far."""
    own = [cell for cell in cells if cell.arm == arm and cell.by_block]
    near = {cell.graph: cell for cell in own if cell.suite == API_NEAR}
    pairs = [(near[far.graph], far) for far in own if far.suite == API_FAR and far.graph in near]
    alone = sorted((pair for pair in pairs if pair[0].graph.variant == "map"), key=lambda pair: pair[0].graph.tasks)
    latency_s = min((far.api_latency_s - beside.api_latency_s for beside, far in pairs), default=0.0)
    if latency_s <= 0 or not alone:
        return None
    chains = [pair for pair in pairs if pair[0].graph.variant == "chain"]
    links = [longer_s / beside.graph.tasks for beside, far in chains for longer_s in _longer_s(beside, far).values()]
    return ApiTrips(
        task=_trips(_each_s(alone), latency_s) * slots,
        link=_trips(links, latency_s) if links else None,
        flow_run=_trips([_around_s(far) - _around_s(beside) for beside, far in pairs], latency_s),
        latency_s=latency_s,
    )


def _longer_s(beside: Cell, far: Cell) -> dict[int, float]:
    """What the far one took longer, by block, seconds."""
    return {block: value - beside.by_block[block] for block, value in far.by_block.items() if block in beside.by_block}


def _each_s(alone: Sequence[tuple[Cell, Cell]]) -> list[float]:
    """What one more task adds to that, a block each: by two sizes of graph, or by one where there is no other."""
    (small, _), (large, _) = alone[0], alone[-1]
    longer_s = _longer_s(*alone[-1])
    if small.graph.tasks == large.graph.tasks:
        return [value / large.graph.tasks for value in longer_s.values()]
    less_s = _longer_s(*alone[0])
    more = large.graph.tasks - small.graph.tasks
    return [(value - less_s[block]) / more for block, value in longer_s.items() if block in less_s]


def _around_s(cell: Cell) -> float:
    """Seconds of a flow run before its first submit and after its last result."""
    return (cell.total_s or 0.0) - (cell.makespan_s or 0.0)


def _trips(seconds: Sequence[float], latency_s: float) -> float:
    """Round trips, or 0 where their interval holds it: what a run cannot tell never swings an answer."""
    if not seconds:
        return 0.0
    found = statistics.mean([[value / latency_s for value in seconds]])
    if found.low is None:
        return found.value if found.value >= LEAST else 0.0
    return found.value if found.low > 0 else 0.0
