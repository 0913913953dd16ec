"""What more of something gains: cells of one graph that differ in one number, each against the smallest of it."""

from __future__ import annotations

from collections.abc import Mapping

from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.statistics import Estimate


def over_fewest(cells: Mapping[int, Cell]) -> tuple[dict[int, Estimate], dict[int, Estimate]]:
    """By that number, ascending: times in seconds, and how many times as fast as the smallest, paired by block."""
    base = cells[min(cells)].by_block
    gains = {
        number: statistics.geometric_mean([[base[block] / value for block, value in shared.items()]])
        for number, cell in sorted(cells.items())
        if (shared := {block: value for block, value in cell.by_block.items() if block in base})
    }
    return {number: time for number in gains if (time := cells[number].time_s)}, gains
