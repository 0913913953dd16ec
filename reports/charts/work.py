"""CPU kinds of work against waiting: efficiency over task duration."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from runner_lab.reports.analysis.cells import Cell, usual_width
from runner_lab.reports.analysis.metg import TARGET, Metg
from runner_lab.reports.analysis.metg import of as metg_of
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.model.costs import CPU_KINDS
from runner_lab.reports.words import kinds, units

TITLE = "Waiting and computing"
HIGHEST = 1.25
"""An efficiency above 1 is a miscount of the ideal; the axis ends soon after."""


def cpu_against_wait(summary: Summary) -> Drawing | Missing:
    """Efficiency (ideal over makespan) by task duration, a panel for each kind of work."""
    cells = [cell for cell in summary.of("work") if _shown(cell)]
    present = {cell.graph.work.kind for cell in cells}
    shown = [kind for kind in kinds.ALL if kind in present] + sorted(present - set(kinds.ALL))
    if not shown:
        return Missing(TITLE, "No cell of the work suite has tasks with a duration.")
    arms = [arm for arm in summary.arms if any(cell.arm == arm.name for cell in cells)]
    fig, grid = style.figure(3.5 + 0.2 * (len(arms) // 4), 1, len(shown), sharey=True, squeeze=False)
    for axes, kind in zip(grid.flat, shown, strict=True):
        _panel(axes, summary, kind, arms)
    grid.flat[0].set_ylabel("efficiency")
    grid.flat[len(shown) // 2].set_xlabel("duration of a task body")
    style.legend(fig, arms, style.marks(summary.arms))
    return Drawing(TITLE, _takeaway(summary, shown, arms), _READING, fig)


_READING = (
    "Efficiency is the share of the makespan that the bodies alone would need on all workers: 100 % is a runner "
    "that costs nothing. Where a line passes 50 % is its METG, the smallest task it can run half-usefully. Threads "
    "that stay low under spin are held by the GIL, not by Prefect."
)


def _panel(axes: Axes, summary: Summary, kind: str, arms: list[Arm]) -> None:
    marks = style.marks(summary.arms)
    axes.axhline(TARGET, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    durations: set[float] = set()
    for place, arm in enumerate(arms):
        points = sorted(efficiencies(summary, kind, arm.name).items())
        durations.update(duration for duration, _ in points)
        # A lone duration has no line to follow: its marks stand side by side.
        shift = 1.06 ** (place - len(arms) / 2) if len(points) == 1 else 1.0
        axes.plot(
            [duration * shift for duration, _ in points], [value for _, value in points], **marks[arm.name].plot()
        )
    axes.set_xscale("log")
    axes.set_xlim(min(durations) / 1.6, max(durations) * 1.6)
    axes.set_xticks(sorted(durations), [units.exactly(duration) for duration in sorted(durations)], fontsize=8)
    axes.minorticks_off()
    axes.set_ylim(0, min(axes.get_ylim()[1], HIGHEST))
    style.shares(axes.yaxis)
    axes.set_title(kinds.short(kind), fontsize=9)


def efficiencies(summary: Summary, kind: str, arm: str) -> dict[float, float]:
    """Efficiency by duration in seconds, at the width with the most durations."""
    cells = [c for c in summary.of("work", arm) if c.graph.work.kind == kind and _shown(c)]
    width = usual_width(cells)
    return {c.graph.work.seconds: c.efficiency for c in cells if c.graph.width == width and c.efficiency is not None}


def _shown(cell: Cell) -> bool:
    """Of tasks that have a duration, and are no other ones than under direct calls."""
    return cell.efficiency is not None and cell.graph.work.seconds > 0 and not cell.graph.asynchronous


def _takeaway(summary: Summary, shown: Sequence[str], arms: list[Arm]) -> str:
    told = []
    for kind in shown:
        found = [
            (metg, arm.label)
            for arm in arms
            if arm.choosable and not arm.without_engine and not (arm.traits.event_loop and kind in CPU_KINDS)
            if (metg := metg_of(summary, kind, arm.name))
        ]
        reached = sorted((metg.seconds, label, metg) for metg, label in found if metg.reached)
        if reached:
            first = reached[0][2]
            alike = [label for seconds, label, metg in reached if (seconds, metg.bound) == (first.seconds, first.bound)]
            told.append(f"{kinds.SPOKEN.get(kind, kind)} {_told(first)} with {units.listed(alike)}")
        elif found:
            limit = units.exactly(found[0][0].seconds)
            told.append(f"{kinds.SPOKEN.get(kind, kind)} not up to {limit} with any runner")
    return f"Task length at which half of the time is useful: {'; '.join(told)}." if told else "No arm to compare."


def _told(found: Metg) -> str:
    return f"{found.bound} {units.about(found.seconds)}"
