"""What became of each arm from run to run, with the runs in which it changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Mark, Missing
from runner_lab.reports.history.history import Kept
from runner_lab.reports.history.trend import Trend
from runner_lab.reports.words import units

TITLE = "Time over runs"
COLUMNS = 2
LEAST_SPAN = 1.25
"""The axis shows at least so much either way: else noise fills the panels and looks like news."""
STEPS = (1.1, 1.2, 1.5, 2, 3, 5, 10, 30, 100)
CHANGE_LINE = (0, (4, 2))


def time_over_runs(runs: Sequence[Kept], trends: Sequence[Trend]) -> Drawing | Missing:
    """A panel an arm, all on the same axes: its time in each run over that of its median run."""
    drawn = [trend for trend in trends if len(trend.at) > 1]
    if not drawn:
        return Missing(TITLE, "A trend takes two runs of the same profile on the same machine.")
    rows = ceil(len(drawn) / COLUMNS)
    fig, grid = style.figure(1.35 * rows + 0.9, rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    marks = style.marks([trend.arm for trend in drawn])
    for axes, trend in zip(grid.flat, drawn, strict=False):
        _panel(axes, runs, trend, marks[trend.arm.name])
    for axes in grid.flat[len(drawn) :]:
        axes.remove()
    ratios = [ratio.value for trend in drawn for ratio in trend.ratios]
    span = max(LEAST_SPAN, max(ratios) * 1.2, 1.1 / min(ratios))
    grid[0][0].set_ylim(1 / span, span)
    step = max(s for s in STEPS if s < span)
    grid[0][0].set_yticks([1 / step, 1, step], [f"{tick:.2g}x" for tick in (1 / step, 1, step)])
    grid[0][0].minorticks_off()
    _runs_axis(grid, len(drawn), runs)
    fig.supylabel("time, over the median run", fontsize=9)
    handles: list[Artist] = [Patch(facecolor=style.BAND, label="noise of the run")]
    if any(trend.changes for trend in drawn):
        handles.append(Line2D([], [], color=style.INK, linewidth=1.3, linestyle=CHANGE_LINE, label="change"))
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    return Drawing(TITLE, _takeaway(drawn), _READING, fig)


_READING = (
    "Each point is a run, by the month and day it began: the arm's time over that of its median run, over the cells "
    "that all these runs have; above 1 is slower. The bar is the 95 % interval within the run, the band what the run's "
    "A/A control calls noise. A dashed line is a change that chance among these runs would show in fewer than one of "
    "twenty series; the steps are the means between changes."
)


def _panel(axes: Axes, runs: Sequence[Kept], trend: Trend, mark: Mark) -> None:
    noise = [runs[i].timings.whole.threshold for i in trend.at]
    axes.fill_between(
        trend.at, [1 / (1 + t) for t in noise], [1 + t for t in noise], color=style.BAND, linewidth=0, alpha=0.6
    )
    low, high = zip(*(style.whiskers(ratio) for ratio in trend.ratios), strict=True)
    values = [ratio.value for ratio in trend.ratios]
    axes.errorbar(trend.at, values, yerr=(low, high), capsize=1.5, elinewidth=0.8, **mark.plot() | {"markersize": 4})
    ends = [0, *(trend.at.index(change.at) for change in trend.changes), len(values)]
    for first, after in pairwise(ends) if trend.changes else ():
        level = float(np.exp(np.log(values[first:after]).mean()))
        places = trend.at[first] - 0.4, trend.at[after - 1] + 0.4
        axes.plot(places, [level, level], color=style.INK, linewidth=1.3)
    axes.set_yscale("log")
    for change in trend.changes:
        axes.axvline(change.at - 0.5, color=style.INK, linewidth=1.3, linestyle=CHANGE_LINE)
        axes.annotate(
            units.times(change.ratio),
            (change.at - 0.5, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            fontweight="bold",
        )
    cost = trend.last.per_task_s
    axes.set_title(style.short(trend.arm.label) + (f", {units.seconds(cost.value)} a task" if cost else ""), fontsize=9)


def _runs_axis(grid: np.ndarray, panels: int, runs: Sequence[Kept]) -> None:
    """Days where the runs know them, below the last panel of each column."""
    places = sorted({*range(0, len(runs), max(1, ceil(len(runs) / 4)))})
    days = [(runs[place].started_at or "")[5:10] or str(place + 1) for place in places]
    grid[0][0].set_xlim(-0.6, len(runs) - 0.4)
    grid[0][0].set_xticks(places, days)
    for number, axes in enumerate(grid.flat[:panels]):
        if number + COLUMNS >= panels:
            axes.tick_params(axis="x", labelbottom=True)


def _takeaway(trends: Sequence[Trend]) -> str:
    changed = [
        f"{trend.arm.label} {units.times(change.ratio)} from {change.run_id} on"
        for trend in trends
        for change in trend.changes
    ]
    runs = units.plural(max(len(trend.at) for trend in trends), "run")
    return f"Over {runs}: {units.listed(changed)}." if changed else f"Over {runs} no arm changed beyond noise."
