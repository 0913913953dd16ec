"""Predicted against measured: the cost model on the cells that were left out of its fit."""

from __future__ import annotations

import numpy as np

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Predicted against measured"
GOOD = 0.15
"""Relative error that is good enough to choose by."""


def predicted_against_measured(summary: Summary) -> Drawing | Missing:
    """Each held-out cell: makespan measured, and predicted by a fit that had not seen its graph."""
    held = summary.model.held_out
    if not held:
        return Missing(TITLE, "No graph could be left out: that takes three widths, or two graphs of one kind of work.")
    arms = [m.arm for m in summary.model.arms if any(h.arm == m.arm.name for h in held)]
    marks = style.marks(summary.arms)
    fig, axes = style.figure(4.3)
    values = np.array([value for h in held for value in (h.measured_s, max(h.predicted_s, 1e-4))])
    ends = np.array([values.min() / 1.5, values.max() * 1.5])
    axes.fill_between(ends, ends * (1 - GOOD), ends * (1 + GOOD), color=style.BAND, linewidth=0, zorder=0)
    axes.plot(ends, ends, color=style.MUTED, linewidth=0.9)
    for arm in arms:
        own = [h for h in held if h.arm == arm.name]
        look = marks[arm.name].plot() | {"linestyle": "none"}
        axes.plot([h.measured_s for h in own], [h.predicted_s for h in own], **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    style.log_time(axes.xaxis)
    style.log_time(axes.yaxis)
    axes.set_xlabel("measured")
    axes.set_ylabel("predicted")
    style.legend(fig, arms, marks)
    return Drawing(TITLE, _takeaway(summary), _READING, fig)


_READING = (
    "Each mark is one graph under one arm, predicted by a fit that had not seen that graph. On the line the model is "
    f"right; the grey band is {GOOD * 100:.0f} % to either side. Trust the predictions of an arm off the line less: "
    "its intervals are wider."
)


def _takeaway(summary: Summary) -> str:
    model = summary.model
    assert model.median_error is not None
    said = (
        f"Predictions of measurements left out of the fit were {units.percent(model.median_error)} off (median of "
        f"{len(model.held_out)})"
    )
    if not model.judged:
        return f"{said}."
    return f"{said}; the named runner was the fastest, or as fast, for {model.named} of {model.judged} graphs."
