"""Paired ratios to the baseline, with the A/A band: the forest plot."""

from __future__ import annotations

from matplotlib.axes import Axes

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Comparison
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Against the baseline"


def paired_ratios(summary: Summary) -> Drawing | Missing:
    """Time of each arm over the baseline's in the same blocks, pooled over a suite's graphs, a panel for each suite."""
    rows = [row for row in summary.rows if row.by_suite and not row.arm.bare]
    suites = [suite for suite in summary.suites if any(suite in row.by_suite for row in rows)]
    if not suites:
        return Missing(TITLE, "No arm shares a block with the baseline, so there is no ratio to draw.")
    columns = min(2, len(suites))
    lines = -(-len(suites) // columns)
    height = lines * (style.rows_height(len(rows)) + 0.55) + 0.5
    fig, grid = style.figure(height, lines, columns, sharey=True, squeeze=False)
    for axes, suite in zip(grid.flat, suites, strict=False):
        _panel(axes, summary, suite, [row.arm for row in rows], [row.by_suite.get(suite) for row in rows])
    for axes in grid.flat[len(suites) :]:
        axes.set_visible(False)
    fig.supxlabel("time of the arm / time of the baseline, same block", fontsize=10)
    return Drawing(TITLE, _takeaway(summary, suites), _READING, fig)


_READING = (
    "Left of 1 is faster than the baseline, right of it slower; the bar is the 95 % interval. The grey band is how far "
    "two identical arms differed in this run (the A/A control): a difference inside it means nothing. "
    "Pale marks are ties or inconclusive; a mark without a bar has an interval too wide to draw."
)


def _panel(axes: Axes, summary: Summary, suite: str, arms: list[Arm], ratios: list[Comparison | None]) -> None:
    marks = style.marks(summary.arms)
    style.rows(axes, [arm.label for arm in arms])
    threshold = summary.noise_by_suite[suite].threshold if suite in summary.noise_by_suite else 0.0
    axes.axvspan(1 / (1 + threshold), 1 + threshold, color=style.BAND, zorder=0)
    axes.axvline(1, color=style.MUTED, linewidth=0.8)
    ends = [1 / 1.3, 1.3, 1 + threshold, 1 / (1 + threshold)]
    for place, (arm, versus) in enumerate(zip(arms, ratios, strict=True)):
        if versus is None:
            continue
        low, high = style.whiskers(versus.ratio)
        decided = versus.verdict in ("faster", "slower")
        look = marks[arm.name].plot() | {"linestyle": "none"}
        axes.errorbar(
            [versus.ratio.value], [place], xerr=([low], [high]), capsize=2, alpha=1.0 if decided else 0.55, **look
        )
        ends.append(versus.ratio.value)
        ends += [
            max(versus.ratio.value - low, versus.ratio.value / 20),
            min(versus.ratio.value + high, versus.ratio.value * 20),
        ]
    axes.set_xscale("log")
    axes.set_xlim(min(ends) / 1.2, max(ends) * 1.2)
    style.log_ratio(axes.xaxis, 5)
    axes.set_title(units.printable(suite, 20))


def _takeaway(summary: Summary, suites: list[str]) -> str:
    arms = [row for row in summary.rows if row.arm.role == "arm" and not row.arm.bare]
    faster = {
        r.arm.label: [units.printable(b, 40) for b in suites if b in r.by_suite and r.by_suite[b].verdict == "faster"]
        for r in arms
    }
    won = [f"{label} in {units.listed(where)}" for label, where in faster.items() if where]
    baseline = summary.label(summary.run.baseline)
    if won:
        return f"Faster than {baseline}: {'; '.join(won)}."
    return f"No arm was clearly faster than {baseline} in any suite, taken over all its graphs."
