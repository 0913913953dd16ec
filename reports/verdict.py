"""The verdict in words, made from the data: which runner for which regime."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reports import units
from reports.fits import crossover
from reports.run import Arm
from reports.statistics import SMALLEST_TIE_BAND
from reports.summary import ArmRow, Summary

ALIKE = 1.2
"""Where the slowest arm takes at most this many times the fastest one's time, any runner will do."""
KINDS = {
    "sleep": "waiting tasks (sleep)",
    "spin": "CPU tasks that hold the GIL (spin)",
    "crunch": "CPU tasks that release the GIL (crunch)",
}


@dataclass(frozen=True)
class Regime:
    """Times of one kind of work by task duration: `times[arm label]` has a makespan in seconds for each of `durations`."""

    kind: str
    width: int
    workers: int
    durations: tuple[float, ...]
    times: dict[str, tuple[float, ...]]

    def leaders(self, place: int) -> list[str]:
        """Fastest first, with all that are within the smallest tie band of it."""
        order = sorted(self.times, key=lambda arm: self.times[arm][place])
        best = self.times[order[0]][place]
        return [arm for arm in order if self.times[arm][place] <= best * (1 + SMALLEST_TIE_BAND)]

    def spread(self, place: int) -> float:
        """Slowest over fastest."""
        values = [times[place] for times in self.times.values()]
        return max(values) / min(values)

    @property
    def alike_from(self) -> float | None:
        """Duration from which all arms are within `ALIKE`; the shortest measured if they always are."""
        spreads = [self.spread(i) for i in range(len(self.durations))]
        if all(spread <= ALIKE for spread in spreads):
            return self.durations[0]
        return crossover(self.durations, [ALIKE] * len(spreads), spreads)


def of(summary: Summary) -> tuple[str, ...]:
    """The verdict, a sentence or two a line, the most useful first."""
    candidates = [row for row in summary.rows if not row.arm.bare and row.arm.role != "control"]
    lines = [*_small_tasks(candidates, summary)]
    for kind in dict.fromkeys([*KINDS, *(cell.graph.work_kind for cell in summary.of("work"))]):
        regime = _regime(summary, kind, [row.arm for row in candidates])
        if regime is not None:
            lines.append(_sentence(regime))
    lines += _cold_start(candidates)
    if not lines:
        return ("The records hold no comparison of two arms: see the tables for what was measured.",)
    return tuple(lines)


def _small_tasks(rows: list[ArmRow], summary: Summary) -> list[str]:
    """Empty tasks: who is cheapest and by how much the others are dearer."""
    costs = sorted(
        (row.marginal.per_task_s.value, row.arm.label)
        for row in rows
        if row.marginal is not None and row.marginal.per_task_s.value > 0
    )
    if len(costs) < 2:
        return []
    best = costs[0][0]
    level = 1 + max(SMALLEST_TIE_BAND, summary.noise.threshold)
    cheapest = [label for cost, label in costs if cost <= best * level]
    others = [
        f"{label} {units.times(cost / best)} ({units.seconds(cost)})" for cost, label in costs if cost > best * level
    ]
    lead = f"{units.listed(cheapest)} {'is' if len(cheapest) == 1 else 'are'} cheapest at {units.seconds(best)} a task"
    return [f"Tasks that do next to nothing: {lead}" + (f"; {units.listed(others)}." if others else ", all alike.")]


def _regime(summary: Summary, kind: str, arms: list[Arm]) -> Regime | None:
    """The kind's cells at the width most arms measured, over the durations that every arm left in measured."""
    cells = [c for c in summary.of("work") if c.graph.work_kind == kind and c.graph.work_s > 0 and c.time_s]
    names = {arm.name: arm.label for arm in arms}
    cells = [cell for cell in cells if cell.arm in names]
    if not cells:
        return None
    widths = [cell.graph.width for cell in cells]
    width = max(set(widths), key=lambda w: (widths.count(w), w))
    durations = sorted({cell.graph.work_s for cell in cells if cell.graph.width == width})
    times: dict[str, tuple[float, ...]] = {}
    for name, label in names.items():
        own = {c.graph.work_s: c.time_s.value for c in cells if c.arm == name and c.graph.width == width and c.time_s}
        if all(duration in own for duration in durations):
            times[label] = tuple(own[duration] for duration in durations)
    if len(times) < 2:
        return None
    return Regime(kind, width, max(arm.workers for arm in arms), tuple(durations), times)


def _sentence(regime: Regime) -> str:
    what = KINDS.get(regime.kind, units.printable(regime.kind, 40))
    shortest, longest = regime.durations[0], regime.durations[-1]
    first, last = regime.leaders(0), regime.leaders(-1)
    alike = regime.alike_from
    if alike == shortest:
        return f"For {what} of {units.seconds(shortest)} and longer, any runner: all are within {units.percent(ALIKE - 1)}."
    if alike is not None:
        return (
            f"For {what} under about {units.seconds(alike)}, {_or(first)}, up to {units.times(regime.spread(0))} ahead of the "
            f"slowest; above, any runner: all are within {units.percent(ALIKE - 1)}."
        )
    if not set(first) & set(last):
        return _change(regime, what, first[0], last)
    steady = [arm for arm in last if arm in first]
    ahead = units.times(regime.spread(-1))
    if len(regime.durations) == 1:
        return f"For {what} of {units.seconds(longest)}, {_or(steady)}, {ahead} ahead of the slowest."
    return (
        f"For {what} up to {units.seconds(longest)}, the longest measured, {_or(steady)}, still {ahead} ahead of the "
        f"slowest there{_extrapolated(regime)}."
    )


def _change(regime: Regime, what: str, early: str, late: list[str]) -> str:
    """The leader at the shortest duration is not the one at the longest."""
    point = crossover(regime.durations, regime.times[early], regime.times[late[0]])
    gain = regime.times[early][-1] / regime.times[late[0]][-1]
    where = units.seconds(point if point is not None else regime.durations[-1])
    return (
        f"For {what} under about {where}, {early}; above, {_or(late)}, {units.times(gain)} ahead of {early} at "
        f"{units.seconds(regime.durations[-1])}."
    )


def _extrapolated(regime: Regime) -> str:
    """Where the arms would meet if each kept its lead in seconds while the work grows; told as such, or not at all."""
    values = [times[-1] for times in regime.times.values()]
    ideal = regime.width * regime.durations[-1] / max(1, min(regime.workers, regime.width))
    gap, fastest = max(values) - min(values), min(values)
    if fastest > 1.5 * ideal:
        return ""
    needed = gap / (ALIKE - 1) - fastest
    duration = regime.durations[-1] * (1 + needed / ideal)
    rounded = float(f"{duration:.1g}")
    return (
        f" (by extrapolation any runner will do above about {units.seconds(rounded)})" if math.isfinite(rounded) else ""
    )


def _cold_start(rows: list[ArmRow]) -> list[str]:
    """What the first result costs a user who starts from nothing."""
    times = sorted((row.first_result_s.value, row.arm.label) for row in rows if row.first_result_s is not None)
    if len(times) < 2:
        return []
    told = [f"{units.seconds(time)} under {label}" for time, label in times]
    return [f"From a cold start the first result takes {units.listed(told)}."]


def _or(arms: list[str]) -> str:
    return f"{arms[0]} is fastest" if len(arms) == 1 else f"{', '.join(arms[:-1])} or {arms[-1]} is fastest"
