"""METG(50 %) of each arm in a run: from its metg bench, else from its work bench."""

from __future__ import annotations

from reports.granularity import Granularity, Sample, estimate
from reports.run import Arm
from reports.summary import Summary

BENCHES = ("metg", "work")
KINDS = ("sleep", "spin")


def samples(summary: Summary, kind: str, arm: Arm) -> list[Sample]:
    """Efficiency of every block, of the metg bench where the arm has one, else of the work bench."""
    for bench in BENCHES:
        cells = [c for c in summary.of(bench, arm.name) if c.graph.work_kind == kind and c.efficiency and c.makespan_s]
        if cells:
            return [
                Sample(cell.graph.body_s, min(cell.efficiency * cell.makespan_s / makespan, 1.0))
                for cell in cells
                for makespan in cell.by_block.values()
                if cell.efficiency and cell.makespan_s
            ]
    return []


def found(summary: Summary, kind: str, arm: Arm) -> Granularity | None:
    """METG of one arm and kind of work; `None` where its cells do not tell."""
    return estimate(samples(summary, kind, arm))
