"""What more workers gain: speed-up and efficiency by number of workers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from runner_lab.records.graph import AnyGraph
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.analysis.worker_scaling import Scaled, scaled
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Mark, Missing
from runner_lab.reports.words import kinds, units

TITLE = "What more workers gain"
MODEL_LINE = (0, (1, 1.5))


def speedup_by_workers(summary: Summary) -> Drawing | Missing:
    """Speed-up, and speed-up over workers, by number of workers: measured marks, the model's line beyond them."""
    found = scaled(summary)
    if not found:
        return Missing(TITLE, "No arm has cells of the worker_scaling suite under two numbers of workers.")
    graphs = list(dict.fromkeys(one.graph for one in found))
    arms = list(dict.fromkeys(one.arm for one in found))
    fig, grid = style.figure(5.0 + 0.2 * (len(arms) // 4), 2, len(graphs), sharex=True, sharey="row", squeeze=False)
    marks = style.marks(summary.arms)
    for column, graph in enumerate(graphs):
        own = [one for one in found if one.graph == graph]
        _speedups(grid[0][column], own, marks)
        _efficiencies(grid[1][column], own, marks)
        for axes in grid[:, column]:
            _workers_axis(axes, found, summary.cores)
        grid[0][column].set_title(_told(graph), fontsize=9)
        grid[1][column].set_xlabel("workers")
    values = [1.0, *(v for one in found for v in (*(g.value for g in one.speedups.values()), *_beyond(one).values()))]
    grid[0][0].set_ylim(min(values) / 1.25, max(values) * 1.25)
    style.log_ratio(grid[0][0].yaxis, 5)
    grid[0][0].set_ylabel("times as fast")
    grid[1][0].set_ylabel("efficiency")
    style.legend(fig, arms, marks, _lines(summary.cores, any(one.model for one in found)))
    return Drawing(TITLE, _takeaway(found), _READING, fig)


_READING = (
    "Above: how many times as fast the same graph is done as on the fewest workers; the grey line is perfect. Below: "
    "that divided by the number of workers. Marks are measured, with 95 % intervals over blocks. In the grey part "
    "nothing is measured: the dotted lines go on from the last mark by the cost model, with the same cores. The "
    "upright line is the number of cores. Workers beyond it share them, which slows CPU work more than waiting."
)


def _speedups(axes: Axes, found: Sequence[Scaled], marks: dict[str, Mark]) -> None:
    least = min(one.fewest for one in found)
    most = max(max((*one.speedups, *one.model)) for one in found)
    axes.plot([least, most], [1, most / least], color=style.BAND, linewidth=2.5, zorder=0)
    for one in found:
        look = marks[one.arm.name].plot()
        low, high = zip(*(style.whiskers(gain) for gain in one.speedups.values()), strict=True)
        gains = [gain.value for gain in one.speedups.values()]
        axes.errorbar(list(one.speedups), gains, yerr=(low, high), capsize=2, elinewidth=0.9, **look)
        beyond = _beyond(one)
        axes.plot(list(beyond), list(beyond.values()), color=look["color"], linestyle=MODEL_LINE, linewidth=1.4)
    axes.set_yscale("log")


def _efficiencies(axes: Axes, found: Sequence[Scaled], marks: dict[str, Mark]) -> None:
    for one in found:
        look = marks[one.arm.name].plot()
        axes.plot(list(one.speedups), [one.efficiency(n, g.value) for n, g in one.speedups.items()], **look)
        beyond = {n: one.efficiency(n, gain) for n, gain in _beyond(one).items()}
        axes.plot(list(beyond), list(beyond.values()), color=look["color"], linestyle=MODEL_LINE, linewidth=1.4)
    axes.axhline(1, color=style.BAND, linewidth=2.5, zorder=0)
    axes.set_ylim(0, max(1.15, axes.get_ylim()[1]))
    style.shares(axes.yaxis)


def _beyond(one: Scaled) -> dict[int, float]:
    """The model's speed-ups from the last measured point on, which they are made to begin at."""
    last = max(one.speedups)
    if last not in one.model:
        return {}
    shift = one.speedups[last].value / one.model[last]
    return {n: gain * shift for n, gain in one.model.items() if n >= last}


def _workers_axis(axes: Axes, found: Sequence[Scaled], cores: int | None) -> None:
    measured = sorted({n for one in found for n in one.speedups})
    shown = sorted({n for one in found for n in (*one.speedups, *one.model)})
    axes.set_xscale("log", base=2)
    axes.set_xlim(shown[0] / 1.2, shown[-1] * 1.2)
    if shown[-1] > measured[-1]:
        axes.axvspan(measured[-1] * 1.1, shown[-1] * 1.2, color=style.BAND, alpha=0.35, linewidth=0, zorder=-1)
    if cores is not None:
        axes.axvline(cores, color=style.MUTED, linewidth=1.1, linestyle=(0, (5, 2)))
    axes.set_xticks(shown, [str(n) for n in shown])
    axes.minorticks_off()


def _lines(cores: int | None, model: bool) -> list[Line2D]:
    """What the legend says beside the arms."""
    lines = []
    if cores is not None:
        label = units.plural(cores, "core")
        lines.append(Line2D([], [], color=style.MUTED, linewidth=1.1, linestyle=(0, (5, 2)), label=label))
    if model:
        lines.append(Line2D([], [], color=style.MUTED, linewidth=1.4, linestyle=MODEL_LINE, label="the model"))
    return lines


def _told(graph: AnyGraph) -> str:
    kind = kinds.on_axes(graph.work.kind)
    return f"{units.exactly(graph.body_s)}, {kind}" if graph.work.seconds else kind


def _takeaway(found: Sequence[Scaled]) -> str:
    most, fewest = max(max(one.speedups) for one in found), min(one.fewest for one in found)
    told = []
    for graph in dict.fromkeys(one.graph for one in found):
        own = [one for one in found if one.graph == graph and most in one.speedups]
        gains = sorted(((one.speedups[most].value, one.arm.label) for one in own), reverse=True)
        ends = gains if len(gains) < 3 else [gains[0], gains[-1]]
        if ends:
            told.append(f"{_told(graph)}, {units.listed([f'{units.times(gain)} under {arm}' for gain, arm in ends])}")
    return f"Times as fast on {most} workers as on {fewest}: {'; '.join(told)}."
