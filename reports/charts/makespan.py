"""Makespan by width."""

from __future__ import annotations

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Cost of a task"


def makespan_by_width(summary: Summary) -> Drawing | Missing:
    """Empty tasks: first submit to last result over the number of tasks, a line for each arm."""
    sizes = {cell.graph.tasks for cell in summary.of(summary.widths)}
    if len(sizes) < 2:
        return Missing(TITLE, "The run has no empty graphs of at least two widths to draw a line through.")
    fig, axes = style.figure(4.4)
    arms = [arm for arm in summary.arms if summary.of(summary.widths, arm.name)]
    marks = style.marks(summary.arms)
    for arm in arms:
        cells = sorted(summary.of(summary.widths, arm.name), key=lambda cell: cell.graph.tasks)
        times = [cell.time_s for cell in cells if cell.time_s]
        low, high = zip(*(style.whiskers(time) for time in times), strict=True)
        axes.errorbar(
            [cell.graph.tasks for cell in cells],
            [time.value for time in times],
            yerr=(low, high),
            capsize=2,
            elinewidth=0.9,
            **marks[arm.name].plot(),
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted(sizes)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    values = [cell.time_s.value for cell in summary.of(summary.widths) if cell.time_s]
    axes.set_ylim(min(values) / 2, max(values) * 2)
    style.log_time(axes.yaxis)
    axes.set_xlabel("tasks in the graph")
    axes.set_ylabel("makespan")
    style.legend(fig, arms, marks)
    return Drawing(TITLE, _takeaway(summary), _READING, fig)


_READING = (
    "Lower is better; both axes are logarithmic, bars are 95 % intervals over blocks. A line that runs flat at the "
    "left pays a fixed price for each run; where it rises like its neighbours, only the cost of a task is left. "
    "Hollow marks on dotted lines are the engine without Prefect."
)


def _takeaway(summary: Summary) -> str:
    fits = [
        (row.marginal.per_task_s.value, row.arm.label)
        for row in summary.rows
        if row.marginal and row.marginal.per_task_s.value > 0 and row.arm.choosable
    ]
    if not fits:
        return "No arm's cost of a task could be fitted."
    cheapest, dearest = min(fits), max(fits)
    if len(fits) == 1:
        return f"Each further empty task costs {cheapest[1]} {units.seconds(cheapest[0])}."
    return (
        f"Each further empty task costs {units.seconds(cheapest[0])} under {cheapest[1]} and "
        f"{units.seconds(dearest[0])} under {dearest[1]}, {units.times(dearest[0] / cheapest[0])} as much."
    )
