"""What more workers gain: one graph on 1, 2, 4, ... of them, by measurement, and beyond by the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner_lab.records.cell_id import WORKER_SCALING
from runner_lab.records.graph import AnyGraph
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.fits import over_fewest
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.model import fitting

EXTRAPOLATED = 4
"""The model goes on to this many times the largest number of workers measured."""


@dataclass(frozen=True)
class Scaled:
    """One arm on one graph.

    times:    makespan in seconds by number of workers, ascending.
    speedups: how many times as fast as on the fewest workers measured, paired by block.
    model:    the same by the cost model, from there to beyond what was measured; empty without a model.
    """

    arm: Arm
    graph: AnyGraph
    times: dict[int, Estimate]
    speedups: dict[int, Estimate]
    model: dict[int, float]

    @property
    def fewest(self) -> int:
        return min(self.speedups)

    def efficiency(self, workers: int, speedup: float) -> float:
        """Speed-up over the workers that it took: 1 where twice the workers take half the time."""
        return speedup * self.fewest / workers


def scaled(summary: Summary) -> list[Scaled]:
    """Every arm and graph with two numbers of workers or more, in the order of the arms; not the control."""
    groups: dict[tuple[str, AnyGraph], dict[int, Cell]] = {}
    for cell in [c for c in summary.of(WORKER_SCALING) if c.workers > 0]:
        groups.setdefault((cell.arm, cell.graph), {})[cell.workers] = cell
    found = [
        _scaled(summary, arm, graph, cells)
        for arm in summary.arms
        for (name, graph), cells in groups.items()
        if name == arm.name and arm.role != "control"
    ]
    return [one for one in found if len(one.speedups) > 1]


def _scaled(summary: Summary, arm: Arm, graph: AnyGraph, cells: dict[int, Cell]) -> Scaled:
    times, speedups = over_fewest(cells)
    return Scaled(arm, graph, times, speedups, _model(summary, arm, graph, list(speedups)))


def _model(summary: Summary, arm: Arm, graph: AnyGraph, measured: Sequence[int]) -> dict[int, float]:
    found = summary.model.arm(arm.name)
    if found is None or not measured:
        return {}
    counts = list(measured)
    while counts[-1] < EXTRAPOLATED * measured[-1]:
        counts.append(2 * counts[-1])
    times = {n: fitting.graph_s(found.costs, graph, n, found.cores) for n in counts}
    return {n: times[counts[0]] / time for n, time in times.items()}
