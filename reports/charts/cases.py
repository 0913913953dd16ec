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
        reach = [min(seconds for _, seconds in times), max(seconds for _, seconds in times)]
        ends += reach
        axes.plot(reach, [place, place], color=style.GRID, linewidth=3)
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
    "Further left is faster. Each row is a flow, each mark a runner at the mean of its blocks. The axis is "
    "logarithmic: equal distances are equal ratios."
)


def _takeaway(drawn: list[MeasuredCase]) -> str:
    """How much the choice matters at most; of what the run can tell."""
    gaps: list[tuple[float, str, str, str]] = []
    for case in drawn:
        times = {time.arm: time.seconds for time in case.arms if time.seconds}
        slowest = max(times, key=lambda arm: times[arm])
        if case.best and slowest not in case.level:
            gaps.append((times[slowest] / times[case.best], case.case, case.best, slowest))
    if not gaps:
        return "No runner can be told from the best one in any flow: the blocks are too few, or too noisy."
    ratio, name, best, slowest = max(gaps)
    return (
        f"The choice matters beyond the noise in {len(gaps)} of {units.plural(len(drawn), 'flow')}, most in {name}: "
        f"{slowest} took "
        f"{units.times(ratio)} as long as {best}."
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
