"""Latency distributions of single tasks."""

from __future__ import annotations

from matplotlib.axes import Axes

from runner_lab.reports.analysis.cells import Cell, Quantiles
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "How long single tasks wait"


def latency_distributions(summary: Summary) -> Drawing | Missing:
    """Widest empty graph: submit to body start, and body end to result seen, as quantiles, a row for each arm."""
    reference = summary.reference
    cells = [c for c in summary.of(summary.widths) if reference and c.graph == reference and (c.queue or c.seen)]
    if not cells:
        return Missing(TITLE, "No empty graph carries the latencies of its tasks.")
    by_name = {arm.name: arm for arm in summary.arms}
    arms = [by_name[cell.arm] for cell in cells]
    fig, grid = style.figure(style.rows_height(len(arms)) + 1.0, 1, 2, sharey=True)
    _panel(grid[0], summary, arms, [cell.queue for cell in cells], "submit to body start")
    _panel(grid[1], summary, arms, [cell.seen for cell in cells], "body end to result seen")
    return Drawing(TITLE, _takeaway(arms, cells), _READING, fig)


_READING = (
    "Mark: the median task; thick bar: the middle half; thin line: 5th to 95th percentile; tick: 99th. The first wait "
    "includes the queue: all tasks of a fan-out are submitted at once, so the last ones wait for all before them."
)


def _panel(axes: Axes, summary: Summary, arms: list[Arm], latencies: list[Quantiles | None], heading: str) -> None:
    marks = style.marks(summary.arms)
    style.rows(axes, [arm.label for arm in arms])
    axes.set_xscale("log")
    for place, (arm, q) in enumerate(zip(arms, latencies, strict=True)):
        if q is None:
            continue
        look = marks[arm.name]
        floor = 1e-6
        axes.plot([max(q.p5, floor), max(q.p95, floor)], [place, place], color=look.colour, linewidth=1.2)
        axes.plot([max(q.p25, floor), max(q.p75, floor)], [place, place], color=look.colour, linewidth=5, alpha=0.45)
        axes.plot([max(q.p99, floor)], [place], color=look.colour, marker="|", markersize=8, linestyle="none")
        axes.plot([max(q.p50, floor)], [place], **look.plot() | {"linestyle": "none"})
    style.log_time(axes.xaxis, 3)
    axes.set_title(heading)


def _takeaway(arms: list[Arm], cells: list[Cell]) -> str:
    waits = sorted(
        (cell.queue.p95, arm.label) for arm, cell in zip(arms, cells, strict=True) if cell.queue and arm.choosable
    )
    if not waits:
        return "Only the way back from body to flow was measured."
    width = cells[0].graph.width
    told = (
        f"Of {width} tasks submitted at once, 95 % have started within {units.seconds(waits[0][0])} under {waits[0][1]}"
    )
    return told + (f" and {units.seconds(waits[-1][0])} under {waits[-1][1]}." if len(waits) > 1 else ".")
