"""Efficiency by task duration, with METG marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from runner_lab.reports.analysis.metg import TARGET, Metg, Sample, cells_of, samples_of
from runner_lab.reports.analysis.metg import of as metg_of
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.model.costs import CPU_KINDS, makespan_s
from runner_lab.reports.model.model import ArmModel
from runner_lab.reports.words import kinds, units

TITLE = "How small may a task be?"


def efficiency_by_duration(summary: Summary) -> Drawing | Missing:
    """Efficiency by task duration: measured marks, the model's line, and METG(50 %) with its interval."""
    arms = [arm for arm in summary.arms if arm.choosable]
    shown = [k for k in kinds.SEARCHED if any(len(durations(samples_of(summary, k, arm.name))) > 1 for arm in arms)]
    if not shown:
        return Missing(TITLE, "No arm has sleep or spin tasks of two durations, in the metg suite or the work suite.")
    arms = [arm for arm in arms if any(samples_of(summary, kind, arm.name) for kind in shown)]
    fig, grid = style.figure(3.5 + 0.2 * (len(arms) // 4), 1, len(shown), sharey=True, squeeze=False)
    marks = style.marks(summary.arms)
    found = {}
    for axes, kind in zip(grid.flat, shown, strict=True):
        found[kind] = [(arm, metg_of(summary, kind, arm.name)) for arm in arms]
        _panel(axes, summary, kind, found[kind], marks)
    grid.flat[0].set_ylabel("efficiency")
    for axes in grid.flat:
        axes.set_xlabel("one body takes")
    style.legend(fig, arms, marks)
    return Drawing(TITLE, _takeaway(found), _READING, fig)


_READING = (
    "Efficiency is what the bodies alone would need over what the arm needed. Marks are measured; lines are the cost "
    "model. The large mark on the 50 % line is METG, the shortest task that is half useful, with its 95 % interval "
    "unless that is too wide to draw: shorter tasks belong together in batches; hollow, it lies beyond the lengths "
    "measured and is the model's. An arm without one does not clearly reach 50 % however long the task."
)


def durations(taken: Sequence[Sample]) -> set[float]:
    return {sample.seconds for sample in taken}


def _panel(
    axes: Axes,
    summary: Summary,
    kind: str,
    found: Sequence[tuple[Arm, Metg | None]],
    marks: dict[str, style.Mark],
) -> None:
    axes.axhline(TARGET, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    everything = sorted({s.seconds for arm, _ in found for s in samples_of(summary, kind, arm.name)})
    ends = (everything[0] / 4, everything[-1] * 2.5)
    for arm, metg in found:
        taken, look = samples_of(summary, kind, arm.name), marks[arm.name].plot()
        means = {d: [s.efficiency for s in taken if s.seconds == d] for d in sorted(durations(taken))}
        axes.plot(
            list(means), [float(np.mean(v)) for v in means.values()], **look | {"linestyle": "none", "markersize": 4}
        )
        model = summary.model.arm(arm.name)
        if model is not None and taken:
            x = np.geomspace(*ends, 80)
            axes.plot(
                x, _curve(summary, model, kind, x), color=look["color"], linestyle=look["linestyle"], linewidth=1.2
            )
        if metg is not None and metg.bound == "about" and ends[0] < metg.seconds < ends[1]:
            low, high = style.whiskers(metg.estimate)
            reach = [max(metg.seconds - low, ends[0]), min(metg.seconds + high, ends[1])]
            axes.plot(reach, [TARGET] * 2, color=look["color"], linewidth=3, alpha=0.6)
            axes.plot([metg.seconds], [TARGET], **look | {"markersize": _size(look), "markeredgecolor": style.INK})
        elif model is not None and taken and (crossing := _crossing(summary, model, kind, ends)) is not None:
            axes.plot([crossing], [TARGET], **look | {"markersize": _size(look), "markerfacecolor": style.SURFACE})
    axes.set_xscale("log")
    axes.set_xlim(*ends)
    style.log_time(axes.xaxis, 4)
    axes.set_ylim(0, 1.03)
    style.shares(axes.yaxis)
    axes.set_title(kinds.on_axes(kind), fontsize=9)


def _curve(summary: Summary, model: ArmModel, kind: str, seconds: np.ndarray) -> np.ndarray:
    """The model's efficiency on the graph whose cells were measured."""
    cell = cells_of(summary, kind, model.arm.name)[0]
    graph = cell.graph
    # The ideal as the records have it: of direct calls, too, it is that of all workers.
    ideal = cell.ideal_s / graph.body_s * seconds
    times = makespan_s(model.costs, graph.tasks, graph.width, seconds, kind, 0.0, model.slots(None), model.cores)
    return np.minimum(ideal / times, 1.0)


def _size(look: dict[str, Any]) -> float:
    return 11 if look["marker"] == "*" else 8


def _crossing(summary: Summary, model: ArmModel, kind: str, ends: tuple[float, float]) -> float | None:
    """Where the model's line passes the target, seconds; `None` outside the axis."""
    x = np.geomspace(*ends, 400)
    over = _curve(summary, model, kind, x) >= TARGET
    return float(x[over.argmax()]) if over[-1] and not over[0] else None


def _takeaway(found: dict[str, list[tuple[Arm, Metg | None]]]) -> str:
    told = []
    for kind, arms in found.items():
        reached = sorted(
            (metg.seconds, arm.label, metg)
            for arm, metg in arms
            if metg and metg.reached and not arm.without_engine
            if not (arm.traits.event_loop and kind in CPU_KINDS)
        )
        if reached:
            seconds, label, metg = reached[0]
            ends = units.interval(metg.estimate, told=units.seconds)
            span = f" ({'interval ' if metg.estimate.vague else ''}{ends})" if ends else ""
            told.append(f"{kind} {metg.bound} {units.about(seconds)}{span} under {label}")
        else:
            told.append(f"{kind} under no runner at any length measured")
    return f"Shortest task that is half useful, METG(50 %): {'; '.join(told)}."
