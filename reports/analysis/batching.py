"""What a batch gains: the same items, one to a task and several to a task, by measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.fits import over_fewest
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.analysis.summary import Summary


@dataclass(frozen=True)
class Batched:
    """One arm on `items` items of `item_s` seconds of `kind`.

    times: makespan in seconds by items a task, ascending.
    gains: how many times as fast as the smallest batch measured, paired by block, by items a task.
    """

    arm: Arm
    kind: str
    item_s: float
    items: int
    times: dict[int, Estimate]
    gains: dict[int, Estimate]

    @property
    def best(self) -> int:
        """Items a task of the largest gain."""
        return max(self.gains, key=lambda size: self.gains[size].value)


def batched(summary: Summary) -> list[Batched]:
    """Every arm and kind of item with batches of two sizes or more, in the order of the arms; not the control."""
    groups: dict[tuple[str, str, float, int], list[Cell]] = {}
    for cell in summary.of("batching"):
        graph = cell.graph
        groups.setdefault((cell.arm, graph.work.kind, graph.work.seconds, graph.width * graph.batch), []).append(cell)
    found = [
        Batched(arm, kind, item_s, items, *over_fewest({c.graph.batch: c for c in cells}))
        for arm in summary.arms
        for (name, kind, item_s, items), cells in groups.items()
        if name == arm.name and arm.role != "control"
    ]
    return [one for one in found if len(one.gains) > 1]


def nearest(summary: Summary, arm: str, kind: str, seconds: float) -> Batched | None:
    """The measured batching of an arm whose items are most like those asked about: of one kind, and within 10x."""
    of_kind = [one for one in batched(summary) if one.arm.name == arm and one.kind == kind and one.item_s > 0]
    if not of_kind or seconds <= 0:
        return None
    found = min(of_kind, key=lambda one: abs(math.log(one.item_s / seconds)))
    return found if 0.1 <= found.item_s / seconds <= 10 else None
