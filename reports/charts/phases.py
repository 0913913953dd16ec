"""Where the time goes: stacked phases, cold and warm."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Starting from nothing"
COLD = ("to the first body", "to the first result", "the other tasks", "shutdown")
WARM = ("submitting", "waiting for results")
COLOURS = dict(zip((*COLD, *WARM), style.PHASES, strict=True))

Parts = list[tuple[str, tuple[float, ...]]]
"""Arm label, and the length of each of its phases in seconds."""


def where_time_goes(summary: Summary) -> Drawing | Missing:
    """A bar an arm: the cold start from call to return, and the widest warm graph from first submit to last result."""
    cold = summary.of("startup")
    reference = summary.reference
    warm = [cell for cell in summary.of(summary.widths) if reference and cell.graph == reference]
    panels = [
        (heading, names, [(summary.label(cell.arm), cell.parts_s) for cell in cells if _carries(cell, names)])
        for heading, names, cells in (
            ("cold: one small graph from nothing, call to return", COLD, cold),
            (f"warm: {reference.tasks if reference else 0} empty tasks, first submit to last result", WARM, warm),
        )
    ]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return Missing(TITLE, "No cell of the startup suite or of empty tasks carries its phases.")
    heights = [style.rows_height(len(rows)) + 0.5 for _, _, rows in panels]
    fig, grid = style.figure(sum(heights) + 0.7, len(panels), squeeze=False, height_ratios=heights)
    for axes, (heading, names, rows) in zip(grid.flat, panels, strict=True):
        _bars(axes, heading, names, rows)
    grid.flat[-1].set_xlabel("seconds")
    shown = [name for _, names, _ in panels for name in names]
    fig.legend(
        handles=[Patch(color=COLOURS[name], label=name) for name in shown],
        loc="outside lower center",
        ncols=3 if len(shown) > 4 else 2,
        handlelength=1.2,
    )
    return Drawing(TITLE, _takeaway(panels[0][1], panels[0][2], panels[0][0].split(":")[0]), _READING, fig)


_READING = (
    "Each bar is one arm, with its phases from left to right in the order they happen, each the median over blocks. "
    "If the first phase is long, keep the cluster alive. If submitting is long, the flow's own process is the limit."
)


def _bars(axes: Axes, heading: str, names: Sequence[str], rows: Parts) -> None:
    style.rows(axes, [label for label, _ in rows])
    longest = max(sum(parts) for _, parts in rows)
    for place, (_, parts) in enumerate(rows):
        left = 0.0
        for length, name in zip(parts, names, strict=True):
            axes.barh(place, length, left=left, height=0.66, color=COLOURS[name], linewidth=0)
            left += length
        axes.text(left + longest * 0.012, place, units.seconds(left), va="center", fontsize=8.5)
    axes.set_xlim(0, longest * 1.14)
    axes.set_title(heading)


def _carries(cell: Cell, names: Sequence[str]) -> bool:
    return len(cell.parts_s) == len(names) and any(cell.parts_s)


def _takeaway(names: Sequence[str], rows: Parts, state: str) -> str:
    label, parts = max(rows, key=lambda row: sum(row[1]))
    largest = max(range(len(parts)), key=lambda i: parts[i])
    share = units.percent(parts[largest] / sum(parts))
    return (
        f"The longest {state} run is {label}'s with {units.seconds(sum(parts))}; "
        f"{share} of it is the phase \u201c{names[largest]}\u201d."
    )
