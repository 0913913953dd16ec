"""Where the time of a run with a limit goes: what is measured again, and which cells are spared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from runner_lab.benchmarks.profiles import Thrift
from runner_lab.benchmarks.session import forecast
from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record

SPREAD_WEIGHT = 4
"""Degrees of freedom that the spread of all cells of a suite counts for beside a cell's own."""
_MANY = ("map", "work")
"""Suites whose graphs may have many tasks."""
FEWEST_BLOCKS = 2
"""Measurements of a cell before its interval is looked at."""


def spared(
    cell: PlannedCell,
    records: Sequence[Record],
    thrift: Thrift,
    elapsed_s: float,
    expected_s: Callable[[], float | None],
    shares_gil: bool,
) -> str | None:
    """Why `cell` is not measured, in words; None where it is.

    Args:
        records: of the run so far.
        elapsed_s: since the run began, seconds.
        expected_s: gives the seconds that the cell will take, where that is known.
        shares_gil: the slots of its arm are in one process.
    """
    if cell.suite in thrift.stock and (cell.arm.lean or cell.role == "control" or cell.arm.event_loop):
        return "measured under Prefect's own runners"
    if cell.graph.work.kind == "crunch" and not (shares_gil and cell.arm.has_slots):
        # Elsewhere it is the same as CPU work that holds the GIL: no two bodies share one.
        return "no GIL to release"
    if _dear(cell, records, thrift.longest_s):
        return f"would take over {thrift.longest_s:g} s"
    if cell.block == 0:
        return None
    if elapsed_s + (expected_s() or 0.0) > thrift.end_s:
        return "the run's time is over"
    if (known := known_to(cell.id, records)) is not None and known <= thrift.known_to:
        return f"known to {known:.0%}"
    return None


def known_to(cell: CellId, records: Iterable[Record]) -> float | None:
    """Half width of the 90 % interval of a cell's time, relative; None with fewer than `FEWEST_BLOCKS` measurements.

    The cell's own spread, of so few values, is pooled with that of its suite's other cells.
    """
    from scipy import stats

    logs: dict[CellId, list[float]] = {}
    for record in records:
        if record.suite == cell.suite and record.status == "ok" and record.value_s:
            logs.setdefault(record.cell, []).append(math.log(record.value_s))
    own = logs.get(cell.of_any_block(), [])
    if len(own) < FEWEST_BLOCKS:
        return None
    squares = {name: _squares(values) for name, values in logs.items()}
    free = sum(len(values) - 1 for values in logs.values())
    pooled = sum(squares.values()) / free
    own_free = SPREAD_WEIGHT + len(own) - 1
    spread = math.sqrt((SPREAD_WEIGHT * pooled + squares[cell.of_any_block()]) / own_free)
    return math.expm1(float(stats.t.ppf(0.95, own_free)) * spread / math.sqrt(len(own)))


def _squares(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)


def _dear(cell: PlannedCell, records: Sequence[Record], longest_s: float) -> bool:
    """Whether so many empty tasks would take longer, by the two widest maps that the arm has done."""
    graph = cell.graph
    if cell.suite not in _MANY or not isinstance(graph, GraphSpec):
        return False
    known = forecast.narrower(cell, records, suite="map")
    if len({record.tasks for record in known}) < 2:
        return False
    expected_s = forecast.predicted_s(graph.tasks, known)
    return expected_s is not None and expected_s > longest_s
