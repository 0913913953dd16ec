"""How long a user's flow took, arm by arm."""

from __future__ import annotations

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import comparison, units

TITLE = "Time by runner"


def time_by_arm(summary: Summary) -> Drawing | Missing:
    """A row an arm, the fastest first: each block's time, their mean and its interval."""
    timed = comparison.ranked(summary)
    if not timed:
        return Missing(TITLE, "The flow ended well under no arm, so there is no time to draw.")
    marks = style.marks(summary.arms)
    fig, axes = style.figure(style.rows_height(len(timed)) + 0.9)
    style.rows(axes, [arm.label for arm, _ in timed])
    ends: list[float] = []
    for place, (arm, cell) in enumerate(timed):
        assert cell.time_s is not None
        low, high = style.whiskers(cell.time_s)
        times = list(cell.by_block.values())
        look = marks[arm.name].plot() | {"linestyle": "none"}
        axes.plot(times, [place] * len(times), **look | {"marker": "|", "markersize": 9, "alpha": 0.6})
        axes.errorbar([cell.time_s.value], [place], xerr=([low], [high]), capsize=2, **look)
        ends += [*times, max(cell.time_s.value - low, min(times) / 3), min(cell.time_s.value + high, max(times) * 3)]
    axes.set_xscale("log")
    axes.set_xlim(min(ends) / 1.15, max(ends) * 1.15)
    style.log_time(axes.xaxis)
    axes.set_xlabel("time of one run of the flow")
    return Drawing(TITLE, _takeaway(summary), _READING, fig)


_READING = (
    "Further left is faster. A stroke is one measurement, the mark their mean, the bar its 95 % interval over blocks, "
    "wider still where it runs out of the chart. The axis is logarithmic: equal distances are equal ratios."
)


def _takeaway(summary: Summary) -> str:
    timed = comparison.ranked(summary)
    first, last = timed[0], timed[-1]
    assert first[1].time_s is not None
    assert last[1].time_s is not None
    fastest = f"{first[0].label} took {units.seconds(first[1].time_s.value)}"
    if len(timed) == 1:
        return f"{fastest}; no other arm ended well."
    return (
        f"{fastest}, {last[0].label} {units.seconds(last[1].time_s.value)}, "
        f"{units.times(last[1].time_s.value / first[1].time_s.value)} as long."
    )
