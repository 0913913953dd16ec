"""The decision map: which arm is the fastest, over number of tasks and task duration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy import ndimage

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Mark, Missing, Panel
from runner_lab.reports.choose.atlas import Map, maps
from runner_lab.reports.words import kinds, units

TITLE = "The map"
STOCK_ALPHA, LEAN_ALPHA = 0.85, 0.45
SMALLEST_LABELLED = 0.08
"""Share of a panel below which a region carries no name."""
LABEL_WIDTH, LABEL_HEIGHT = 0.46, 0.2
"""Of the names, at most, as shares of a panel."""
REFERENCE_TASKS = 1000


def decision_map(summary: Summary) -> Drawing | Missing:
    """Tasks by task duration, the runner to take as the colour, a panel for each kind and start."""
    found = maps(summary)
    if not found:
        return Missing(
            TITLE,
            "It needs, of two arms, two widths of empty tasks and a sleep or spin cell of the work suite.",
        )
    work, starts = list(dict.fromkeys(m.kind for m in found)), list(dict.fromkeys(m.cold for m in found))
    fig, grid = style.figure(1.1 + 2.15 * len(starts), len(starts), len(work), sharex=True, sharey=True, squeeze=False)
    marks = style.marks(summary.arms)
    panels = []
    for drawn in found:
        axes = grid[starts.index(drawn.cold)][work.index(drawn.kind)]
        _panel(axes, drawn, marks)
        panels.append(_asked(drawn))
        axes.set_gid(panels[-1].id)
    for axes in grid[:, 0]:
        axes.set_ylabel("one task takes")
    for axes in grid[-1]:
        axes.set_xlabel("tasks")
    _legend(fig, found, marks)
    return Drawing(TITLE, _takeaway(found), _READING, fig, tuple(panels))


_READING = (
    "The colour is the runner to take, as `runner-lab choose` names it, with the slots it does best with. Hatched: the "
    "second name is as fast within the noise. Inside the dotted corner lie the sizes that were measured; beyond it the "
    "model extrapolates. Inside the thick line a cluster clearly beats every runner on one host; its start counts "
    "where the panel is cold."
)


def _asked(drawn: Map) -> Panel:
    """The questions that its points are."""
    tasks, seconds = ((float(ends[0]), float(ends[-1])) for ends in (drawn.tasks, drawn.durations_s))
    return Panel(f"{drawn.kind}-{'cold' if drawn.cold else 'warm'}", drawn.kind, drawn.cold, tasks, seconds)


def _panel(axes: Axes, drawn: Map, marks: dict[str, Mark]) -> None:
    x, y = drawn.tasks, drawn.durations_s
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(visible=False)
    _regions(axes, drawn, marks)
    if (drawn.tie < 0).any():
        axes.contourf(x, y, drawn.tie, levels=[-1e9, 0], colors="none", hatches=["////"])
    if drawn.cluster is not None and (drawn.cluster > 0).any() and (drawn.cluster < 0).any():
        axes.contour(x, y, drawn.cluster, levels=[0], colors=[style.INK], linewidths=[2.2])
    reach = [max(m.reach.tasks for m in drawn.models), max(m.reach.body_s for m in drawn.models)]
    axes.plot([reach[0], reach[0], x[0]], [y[0], reach[1], reach[1]], color=style.INK, linewidth=1.2, linestyle=":")
    _name_regions(axes, drawn)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    axes.set_xticks([10, 100, 1000, 10_000, 100_000], ["10", "100", "1k", "10k", "100k"])
    axes.set_yticks([1e-3, 1e-2, 0.1, 1, 10, 100], ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"])
    axes.minorticks_off()
    axes.set_title(f"{'cold' if drawn.cold else 'warm'}, {kinds.on_axes(drawn.kind)}", fontsize=9)


def _regions(axes: Axes, drawn: Map, marks: dict[str, Mark]) -> None:
    """Each arm where it is named, painted over those before it: regions cut one by one leave gaps between three.

    What is painted over is wiped out first, since colours let the page through.
    """
    first = drawn.first
    left = np.ones_like(first, dtype=float)
    for place in np.unique(first):
        arm = drawn.models[place].arm
        look: dict[str, Any] = {"colors": [marks[arm.name].colour], "alpha": _alpha(arm)}
        axes.contourf(drawn.tasks, drawn.durations_s, left, levels=[0.5, 2], colors=[style.SURFACE])
        axes.contourf(drawn.tasks, drawn.durations_s, left, levels=[0.5, 2], **look)
        left[first == place] = 0.0


def _alpha(arm: Arm) -> float:
    return LEAN_ALPHA if arm.lean else STOCK_ALPHA


def _name_regions(axes: Axes, drawn: Map) -> None:
    """The name of each region where it is widest and no larger one has its own; none where there is no such place."""
    regions = [(drawn.first == place, found) for place, found in enumerate(drawn.models)]
    rows, columns = drawn.first.shape
    # A name in the middle of a column near an edge would reach over it.
    middles = np.clip(np.arange(columns), round(0.22 * columns), round(0.78 * columns))
    free = np.ones((rows, columns))
    for region, found in sorted(regions, key=lambda pair: -pair[0].mean()):
        if region.mean() < SMALLEST_LABELLED:
            continue
        depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1] * free
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] == 0:
            continue
        middle = int(middles[column])
        near = np.abs(np.arange(rows) - row) < LABEL_HEIGHT * rows
        free[np.ix_(near, np.abs(middles - middle) < LABEL_WIDTH * columns)] = 0
        axes.text(
            drawn.tasks[middle],
            drawn.durations_s[row],
            _region_name(drawn, region, found.arm),
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": style.SURFACE, "edgecolor": "none", "alpha": 0.85},
        )


def _region_name(drawn: Map, region: NDArray[np.bool_], arm: Arm) -> str:
    """The arm's name, and that of the one that cannot be told from it in most of the region."""
    name = style.short(arm.label, 14)
    tied = region & (drawn.tie < 0)
    if 2 * tied.sum() <= region.sum():
        return name
    seconds = np.bincount(drawn.second[tied])
    return f"{name}\nor {style.short(drawn.models[int(seconds.argmax())].arm.label, 14)}"


def _legend(fig: Figure, found: Sequence[Map], marks: dict[str, Mark]) -> None:
    shown = {m.arm.name: m.arm for drawn in found for _, m in drawn.shares()}
    handles: list[Patch | Line2D] = [
        Patch(facecolor=marks[name].colour, alpha=_alpha(arm), label=style.short(arm.label))
        for name, arm in shown.items()
    ]
    handles.append(Patch(facecolor=style.MUTED, edgecolor=style.SURFACE, hatch="////", label="tie"))
    handles.append(Line2D([], [], color=style.INK, linestyle=":", linewidth=1.2, label="measured"))
    if any(drawn.cluster is not None and (drawn.cluster > 0).any() for drawn in found):
        handles.append(Line2D([], [], color=style.INK, linewidth=2.2, label="cluster pays inside"))
    fig.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=1.2, handletextpad=0.5)


def _takeaway(found: Sequence[Map]) -> str:
    told = []
    for kind in dict.fromkeys(drawn.kind for drawn in found):
        first = {"cold" if m.cold else "warm": m.shares()[0][1].arm.label for m in found if m.kind == kind}
        if len(set(first.values())) == 1:
            told.append(f"{next(iter(first.values()))} for {kinds.SPOKEN[kind]} tasks, {units.listed(list(first))}")
        else:
            by_start = [f"{arm} {start}" for start, arm in first.items()]
            told.append(f"for {kinds.SPOKEN[kind]} tasks {units.listed(by_start)}")
    lines = [f"Named on most of the map: {'; '.join(told)}."]
    pays = [
        f"{kinds.SPOKEN[drawn.kind]} tasks of more than {units.about(point)}"
        for drawn in found
        if drawn.cold and (point := drawn.pays_from(REFERENCE_TASKS)) is not None
    ]
    if pays:
        lines.append(f"With {REFERENCE_TASKS:,} tasks, starting a cluster pays off for {units.listed(pays)}.")
    elif any(drawn.cold and drawn.cluster is not None for drawn in found):
        lines.append(f"With {REFERENCE_TASKS:,} tasks, starting a cluster never pays off.")
    return " ".join(lines)
