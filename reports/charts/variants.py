"""Cached and retrying graphs beside the plain one."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.analysis.summary import ArmRow, Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Caching and retries"
SUITES = ("cached", "retrying")


@dataclass(frozen=True)
class Pair:
    """Makespans of one arm, seconds; `fitted` where the plain one was read off the arm's line over widths."""

    arm: Arm
    plain: float
    fitted: bool
    variant: Estimate


def variants(summary: Summary) -> Drawing | Missing:
    """What a cache hit saves and what retries add: each variant's makespan beside the plain graph of its width."""
    panels = [(suite, _pairs(summary, suite)) for suite in SUITES]
    panels = [(suite, pairs) for suite, pairs in panels if pairs]
    if not panels:
        return Missing(
            TITLE, "There is no cached or retrying cell with a plain one of the same width, measured or fitted."
        )
    most = max(len(pairs) for _, pairs in panels)
    fig, grid = style.figure(style.rows_height(most) + 1.25, 1, len(panels), squeeze=False)
    for axes, (suite, pairs) in zip(grid.flat, panels, strict=True):
        _panel(axes, summary, suite, pairs)
        if axes is not grid.flat[0] and [p.arm for p in pairs] == [p.arm for p in panels[0][1]]:
            axes.tick_params(axis="y", labelleft=False)
    fig.legend(
        handles=[
            Line2D([], [], color=style.MUTED, marker="|", linestyle="none", markersize=10, label="plain, same width"),
            Line2D([], [], color=style.MUTED, marker="o", linestyle="none", label="cached / retrying"),
        ],
        loc="outside lower center",
        ncols=2,
    )
    fitted = any(pair.fitted for _, pairs in panels for pair in pairs)
    failures = max((cell.graph.failures for cell in summary.of("retrying")), default=0)
    retried = f" Each retried task fails {'once' if failures == 1 else f'{failures} times'} first." if failures else ""
    return Drawing(TITLE, _takeaway(panels), _READING + retried + (_FITTED if fitted else ""), fig)


_READING = (
    "Tick: makespan of the plain graph; mark: of the variant, with its 95 % interval. A mark left of the tick saves "
    "time, a mark right of it costs time."
)
_FITTED = " Where no plain graph of that width ran, the tick is read off the arm's fitted line."


def _pairs(summary: Summary, suite: str) -> list[Pair]:
    found = [_pair(summary, row, suite) for row in summary.rows]
    return [pair for pair in found if pair is not None]


def _pair(summary: Summary, row: ArmRow, suite: str) -> Pair | None:
    cell = next(iter(summary.of(suite, row.arm.name)), None)
    if cell is None or cell.time_s is None:
        return None
    like = cell.graph.width
    plain = [c for c in summary.of("overhead", row.arm.name) if c.graph.width == like and c.time_s]
    if plain and plain[0].time_s:
        return Pair(row.arm, plain[0].time_s.value, False, cell.time_s)
    if summary.widths == "overhead" and row.marginal and row.marginal.makespan_s(cell.graph.tasks) > 0:
        return Pair(row.arm, row.marginal.makespan_s(cell.graph.tasks), True, cell.time_s)
    return None


def _panel(axes: Axes, summary: Summary, suite: str, pairs: list[Pair]) -> None:
    marks = style.marks(summary.arms)
    style.rows(axes, [pair.arm.label for pair in pairs])
    axes.set_xscale("log")
    for place, pair in enumerate(pairs):
        look = marks[pair.arm.name]
        low, high = style.whiskers(pair.variant)
        axes.plot([pair.plain, pair.variant.value], [place, place], color=look.colour, linewidth=1.2, alpha=0.6)
        axes.plot([pair.plain], [place], color=look.colour, marker="|", markersize=13, markeredgewidth=2.2)
        axes.errorbar(
            [pair.variant.value], [place], xerr=([low], [high]), capsize=2, **look.plot() | {"linestyle": "none"}
        )
    values = [value for pair in pairs for value in (pair.plain, pair.variant.value)]
    # Room for whiskers as well, but for those so long that the marks would be one.
    values += [end for pair in pairs if not pair.variant.vague for end in (pair.variant.low, pair.variant.high) if end]
    axes.set_xlim(min(values) / 1.3, max(values) * 1.3)
    style.log_time(axes.xaxis, 3)
    cell = summary.of(suite)[0]
    axes.set_title(f"{suite}, {cell.graph.width} wide")


def _takeaway(panels: list[tuple[str, list[Pair]]]) -> str:
    told = []
    for suite, pairs in panels:
        shares = [p.variant.value / p.plain for p in pairs if p.arm.choosable]
        if not shares:
            continue
        verb = "A pass from the cache takes" if suite == "cached" else "the retrying graph takes"
        low, high = units.times(min(shares)), units.times(max(shares))
        told.append(f"{verb} {low if low == high else f'{low} to {high}'} the plain time")
    return units.sentence(told or ["Only bare arms and the control ran these variants"])
