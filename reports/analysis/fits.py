"""Figures that need more than one graph: marginal cost, and what more of something gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.statistics import Estimate


@dataclass(frozen=True)
class MarginalCost:
    """A straight line through makespan over number of tasks, fitted in each block.

    per_task_s: slope, seconds a further task costs.
    fixed_s:    intercept, seconds a cell costs however few its tasks (a stock process pool starts its pool there).
    curvature:  how much the slope changes from the smallest to the largest size, relative to `per_task_s`, from a
                quadratic through the same points; 0 is a straight line; `None` with fewer than three sizes.
    residual:   largest distance of a size's mean from the line, as a share of the measured value.
    sizes:      numbers of tasks that were fitted.
    by_block:   slope of each block, seconds.
    """

    per_task_s: Estimate
    fixed_s: float
    curvature: Estimate | None
    residual: float
    sizes: tuple[int, ...]
    by_block: dict[int, float]

    @property
    def bent(self) -> bool:
        """True where the cost of a task clearly depends on how many there are, by a fifth at least."""
        c = self.curvature
        if c is None or abs(c.value) < 0.2:
            return False
        return c.low is not None and c.high is not None and (c.low > 0 or c.high < 0)

    def makespan_s(self, tasks: int) -> float:
        return self.fixed_s + self.per_task_s.value * tasks


def marginal_cost(makespans: Mapping[int, Mapping[int, float]]) -> MarginalCost | None:
    """The cost of one more task, from makespans in seconds by number of tasks and then by block.

    Only blocks that measured every size are used. `None` with fewer than two sizes, or no such block.
    """
    sizes = sorted(makespans)
    if len(sizes) < 2:
        return None
    blocks = sorted(set.intersection(*(set(by_block) for by_block in makespans.values())))
    if not blocks:
        return None
    x = np.asarray(sizes, dtype=float)
    y = np.asarray([[makespans[size][block] for size in sizes] for block in blocks])
    slopes, intercepts = np.polyfit(x, y.T, 1)
    per_task = statistics.mean([slopes])
    curvature = None
    if len(sizes) > 2 and per_task.value:
        quadratic = np.polyfit(x, y.T, 2)[0]
        curvature = statistics.mean([2 * quadratic * (x[-1] - x[0]) / per_task.value])
    means = y.mean(axis=0)
    line = intercepts.mean() + per_task.value * x
    residual = float(np.max(np.abs(means - line) / means)) if len(sizes) > 2 else 0.0
    return MarginalCost(
        per_task_s=per_task,
        fixed_s=float(intercepts.mean()),
        curvature=curvature,
        residual=residual,
        sizes=tuple(sizes),
        by_block=dict(zip(blocks, map(float, slopes), strict=True)),
    )


def over_fewest(cells: Mapping[int, Cell]) -> tuple[dict[int, Estimate], dict[int, Estimate]]:
    """Cells of one graph that differ in one number, each against the smallest of it.

    Returns:
        By that number, ascending: times in seconds, and how many times as fast as the smallest, paired by block.
    """
    base = cells[min(cells)].by_block
    gains = {
        number: statistics.geometric_mean([[base[block] / value for block, value in shared.items()]])
        for number, cell in sorted(cells.items())
        if (shared := {block: value for block, value in cell.by_block.items() if block in base})
    }
    return {number: time for number in gains if (time := cells[number].time_s)}, gains
