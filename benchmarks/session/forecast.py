"""How long a wide cell would take, told by the narrower ones of its arm: what would take too long is not begun."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean

from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.records.record import Record

LEEWAY = 2.0
"""A cell is begun where it should take the limit over this at most: what it takes may be as far from what it should."""


def too_long(cell: PlannedCell, records: Iterable[Record], limit_s: float) -> str | None:
    """Why `cell` is not to be measured, in words; None where it is.

    Args:
        records: of the run so far.
        limit_s: what one pass may take.
    """
    tasks, known = cell.lab_graph.tasks, narrower(cell, records)
    failed = [record for record in known if record.status != "ok" and record.block == cell.block]
    if failed:
        return f"{min(record.tasks for record in failed)} tasks failed already"
    expected_s = predicted_s(tasks, known)
    if expected_s is None or expected_s <= limit_s / LEEWAY:
        return None
    return f"would take about {_minutes(expected_s)}"


def narrower(cell: PlannedCell, records: Iterable[Record], suite: str | None = None) -> list[Record]:
    """Those of the arm of `cell` with fewer tasks, in its suite or another one."""
    own = (record for record in records if (record.suite, record.arm) == (suite or cell.suite, cell.arm.name))
    return [record for record in own if record.tasks < cell.graph.tasks]


def predicted_s(tasks: int, known: Iterable[Record]) -> float | None:
    """Seconds from the call of the flow to its return, on the line through the two widest numbers of tasks there are.

    From one number alone in proportion, which is too much where a flow run has a fixed cost. None without any.
    """
    times: dict[int, list[float]] = {}
    for record in known:
        if record.status == "ok" and record.phases.total_s is not None:
            times.setdefault(record.tasks, []).append(record.phases.total_s)
    if not times:
        return None
    *others, widest = sorted(times)
    last_s = mean(times[widest])
    if not others:
        return last_s * tasks / widest
    slope_s = (last_s - mean(times[others[-1]])) / (widest - others[-1])
    return last_s + max(0.0, slope_s) * (tasks - widest)


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min"
