"""Regimes: which arm leads for one kind of work, from which task duration on, and where it stops to matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.fits import crossover
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary

ALIKE = 1.2
"""Where the slowest arm takes at most this many times the fastest one's time, any runner will do."""


@dataclass(frozen=True)
class Regime:
    """One kind of work by task duration.

    durations: seconds a task body, ascending; 0 first where every arm's overhead suite gives the empty graph's time.
    times:     by arm label, the makespan in seconds for each duration.
    runners:   the arms that are task runners, not direct calls.
    leaders:   for each duration the fastest arm first, then all that cannot be told from it.
    ideal_s:   makespan of the longest bodies alone, in as many rounds as the workers need.
    """

    kind: str
    durations: tuple[float, ...]
    times: dict[str, tuple[float, ...]]
    runners: tuple[str, ...]
    leaders: tuple[tuple[str, ...], ...]
    ideal_s: float

    def ahead(self, place: int) -> list[tuple[float, str]]:
        """How many times the leader's time each arm takes that is not a leader, ascending."""
        best = self.times[self.leaders[place][0]][place]
        return sorted((t[place] / best, arm) for arm, t in self.times.items() if arm not in self.leaders[place])

    @cached_property
    def alike_from(self) -> float | None:
        """Duration from which all runners are within `ALIKE`: the shortest if they always are, `None` if never."""
        if len(self.runners) < 2:
            return None
        columns = list(zip(*self._runner_times(), strict=True))
        slowest, enough = [max(column) for column in columns], [ALIKE * min(column) for column in columns]
        if all(slow <= limit for slow, limit in zip(slowest, enough, strict=True)):
            return self.durations[0]
        return crossover(self.durations, enough, slowest)

    @cached_property
    def handover(self) -> tuple[float, str, tuple[str, ...]] | None:
        """(duration in seconds, early leader, late leaders), where who leads short tasks does not lead the longest."""
        early, late = self.leaders[0], self.leaders[-1]
        if set(early) & set(late):
            return None
        point = crossover(self.durations, self.times[early[0]], self.times[late[0]])
        return (point or self.durations[-1], early[0], late)

    @cached_property
    def alike_beyond(self) -> float | None:
        """Duration above the longest measured from which all arms would be alike if each kept its lead in seconds.

        `None` where the fastest arm is still far from the ideal, so that its time does not yet grow with the work.
        """
        if len(self.runners) < 2:
            return None
        ends = [times[-1] for times in self._runner_times()]
        fastest, slowest = min(ends), max(ends)
        if self.alike_from is not None or self.ideal_s <= 0 or fastest > 1.5 * self.ideal_s:
            return None
        if any(self._grows(times) for times in self._runner_times()):
            return None
        needed = (slowest - fastest) / (ALIKE - 1) - fastest
        return self.durations[-1] * (1 + needed / self.ideal_s)

    def _runner_times(self) -> list[tuple[float, ...]]:
        """Of task runners alone: direct calls are none, and one worker never catches up with several."""
        return [times for arm, times in self.times.items() if arm in self.runners]

    def _grows(self, times: Sequence[float]) -> bool:
        """True where an arm falls back further the longer the tasks, as under the GIL: its loss is no fixed cost."""
        if len(times) < 2:
            return True
        best = [min(t[i] for t in self._runner_times()) for i in (-2, -1)]
        return times[-1] - best[1] > 1.5 * max(times[-2] - best[0], 0.1 * self.ideal_s)


def find(summary: Summary, kind: str, arms: Sequence[Arm]) -> Regime | None:
    """The regime of a kind of work at the width that most cells have, over arms measured at every duration."""
    names = {arm.name: arm for arm in arms}
    cells = [c for c in summary.of("work") if c.graph.work_kind == kind and c.graph.work_s > 0 and c.arm in names]
    if not cells:
        return None
    widths = [cell.graph.width for cell in cells]
    width = max(set(widths), key=lambda w: (widths.count(w), w))
    durations = sorted({cell.graph.work_s for cell in cells if cell.graph.width == width})
    blocks: dict[str, list[dict[int, float]]] = {}
    empty: dict[str, dict[int, float]] = {}
    for name, arm in names.items():
        own = {c.graph.work_s: c for c in cells if c.arm == name and c.graph.width == width}
        if all(duration in own for duration in durations):
            blocks[arm.label] = [own[duration].by_block for duration in durations]
            empty[arm.label] = _empty(summary, name, own[durations[0]].graph.tasks)
    if all(empty.values()):
        durations = [0.0, *durations]
        blocks = {label: [empty[label], *by_duration] for label, by_duration in blocks.items()}
    runners = tuple(arm.label for arm in arms if arm.label in blocks and arm.engine != "none")
    if len(blocks) < 2 or not runners:
        return None
    times = {
        label: tuple(statistics.geometric_mean([list(by_block.values())]).value for by_block in cells_of)
        for label, cells_of in blocks.items()
    }
    noise = summary.noise_by_suite.get("work", summary.noise)
    leaders = tuple(
        statistics.level_with_best({label: cells_of[place] for label, cells_of in blocks.items()}, noise)
        for place in range(len(durations))
    )
    workers = max(arm.workers for arm in arms)
    ideal_s = math.ceil(width / max(1, workers)) * durations[-1]
    return Regime(kind, tuple(durations), times, runners, leaders, ideal_s)


def _empty(summary: Summary, arm: str, tasks: int) -> dict[int, float]:
    """Makespans of the arm's empty graph of that size by block, off its fitted line; `{}` where that gives no time."""
    row = summary.row(arm)
    times = row.marginal.makespans_s(tasks) if row and row.marginal else {}
    return times if all(time > 0 for time in times.values()) else {}
