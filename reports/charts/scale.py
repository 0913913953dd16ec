"""Cost by width at scale: does a task of a very wide graph cost what one of a narrow graph costs?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from runner_lab.reports.analysis.scale import REFERENCE_TASKS, TARGET, ArmScale, Size, by_reference
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Mark, Missing
from runner_lab.reports.words import units

TITLE = "Cost by width at scale"


def cost_by_width_at_scale(summary: Summary) -> Drawing | Missing:
    """Marginal cost, the driver's memory and the visibility lag by number of tasks, a line for each arm."""
    found = [one for one in summary.scale if sum(size.marginal_s is not None for size in one.sizes) > 1]
    if not found:
        return Missing(TITLE, "No arm has cells of the scale suite of three widths.")
    arms = [arm for arm in summary.arms if arm.name in {one.arm for one in found}]
    fig, (cost, memory, lag) = style.figure(7.0 + 0.2 * (len(arms) // 4), 3, 1, sharex=True)
    marks = style.marks(summary.arms)
    _costs(cost, found, marks)
    _lines(memory, found, marks, lambda size: _scaled(size.driver_added_bytes, 1e-6), "driver memory added, MB")
    _lines(lag, found, marks, lambda size: size.lag_s, "visibility lag, s")
    sizes = sorted({size.tasks for one in found for size in one.measured})
    lag.set_xscale("log")
    lag.set_xticks(sizes, [f"{size:,}" for size in sizes])
    lag.minorticks_off()
    lag.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
    lag.set_xlabel("tasks")
    target = Line2D([], [], color=style.MUTED, linewidth=1.1, linestyle=(0, (5, 2)), label=f"{TARGET:g}x")
    style.legend(fig, arms, marks, [target] if any(one.growth for one in found) else [])
    return Drawing(TITLE, _takeaway(summary, found), _READING, fig)


_READING = (
    f"Above: what each task beyond the next smaller size cost, over what it cost at {REFERENCE_TASKS} tasks (or at "
    "the next size where a pool's start is not most of the time) in the same block, bars 95 % intervals; a line that "
    "stays below the dashed one keeps its price. Middle: what the driver's memory rose by in the cell; in step with "
    "the tasks is a straight line. Below: how long after its return the flow's last task run was recorded, which is "
    "the server's to answer for."
)


def _costs(axes: Axes, found: Sequence[ArmScale], marks: dict[str, Mark]) -> None:
    values = [1.0, TARGET]
    for one in found:
        grown = {size.tasks: size.growth for size in one.measured if size.growth is not None}
        if not grown:
            continue
        low, high = zip(*(style.whiskers(growth) for growth in grown.values()), strict=True)
        costs = [growth.value for growth in grown.values()]
        axes.errorbar(list(grown), costs, yerr=(low, high), capsize=2, elinewidth=0.9, **marks[one.arm].plot())
        values += costs
    axes.axhline(TARGET, color=style.MUTED, linewidth=1.1, linestyle=(0, (5, 2)))
    axes.set_ylim(0, max(values) * 1.25)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.set_ylabel("cost of a task")


def _lines(
    axes: Axes,
    found: Sequence[ArmScale],
    marks: dict[str, Mark],
    read: Callable[[Size], float | None],
    label: str,
) -> None:
    for one in found:
        points = [(size.tasks, value) for size in one.measured if (value := read(size)) is not None and value > 0]
        if points:
            axes.plot(*zip(*points, strict=True), **marks[one.arm].plot())
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_ylabel(label)


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by


def _takeaway(summary: Summary, found: Sequence[ArmScale]) -> str:
    told = [
        f"against one at {reference:,} tasks: {units.listed([_grown(one, summary.labels) for one in arms])}"
        for reference, arms in by_reference(found).items()
    ]
    if not told:
        return f"No arm was measured at {REFERENCE_TASKS} tasks and beyond in the same block."
    return f"A task costs, {'; '.join(told)}."


def _grown(one: ArmScale, labels: Mapping[str, str]) -> str:
    assert one.growth is not None
    return f"{units.times(one.growth.value)} at {one.widest:,} under {labels[one.arm]}"
