"""How long each real flow took under each runner."""

from __future__ import annotations

from matplotlib.lines import Line2D

from runner_lab.records.cases import MeasuredCase, MeasuredCases
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Mark, Missing
from runner_lab.reports.words import units

TITLE = "Real flows by runner"
_ROW_IN = 0.34


def cases_by_runner(measured: MeasuredCases) -> Drawing | Missing:
    """A row a flow, a mark a runner at the time that it took."""
    drawn = [case for case in measured.cases if case.best is not None]
    if not drawn:
        return Missing(TITLE, "No flow ended well under any runner, so there is no time to draw.")
    looks = _looks(measured.arms)
    fig, axes = style.figure(_ROW_IN * max(len(drawn), 2) + 1.1)
    axes.set_yticks(range(len(drawn)), [style.short(case.case) for case in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    ends: list[float] = []
    for place, case in enumerate(drawn):
        times = [(time.arm, time.seconds) for time in case.arms if time.seconds]
        ends += [seconds for _, seconds in times]
        axes.plot([min(ends[-len(times) :]), max(ends[-len(times) :])], [place, place], color=style.GRID, linewidth=3)
        for arm, seconds in times:
            axes.plot([seconds], [place], **looks[arm].plot() | {"linestyle": "none"})
    axes.set_xscale("log")
    axes.set_xlim(min(ends) / 1.2, max(ends) * 1.2)
    style.log_time(axes.xaxis)
    axes.set_xlabel("time of one run of the flow")
    handles = [
        Line2D([], [], label=style.short(arm), **look.plot() | {"linestyle": "none"}) for arm, look in looks.items()
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=4, columnspacing=1.2, handletextpad=0.5)
    return Drawing(TITLE, _takeaway(drawn), _READING, fig)


_READING = (
    "Further left is faster. Each row is a flow, each mark a runner at the mean of its blocks. The axis is logarithmic: "
    "equal distances are equal ratios."
)


def _takeaway(drawn: list[MeasuredCase]) -> str:
    def gap(case: MeasuredCase) -> float:
        times = [time.seconds for time in case.arms if time.seconds]
        return max(times) / min(times)

    widest = max(drawn, key=gap)
    return (
        f"Between the fastest and the slowest runner lies a factor of {units.digits(min(map(gap, drawn)))} to "
        f"{units.digits(gap(widest))} ({widest.case})."
    )


def _looks(arms: tuple[str, ...]) -> dict[str, Mark]:
    """A lean runner has the colour of the stock one, and a star."""
    stems = list(dict.fromkeys(arm.removeprefix("lean-") for arm in arms))
    looks = {}
    for arm in arms:
        stem = arm.removeprefix("lean-")
        colour, marker = style.PALETTE[(stems.index(stem) + 1) % len(style.PALETTE)]
        looks[arm] = Mark(colour, "*" if arm != stem else marker, "-", False)
    return looks
