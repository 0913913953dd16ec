"""The charts: one public function each, from a `Summary` to a `Drawing` or to the reason why there is none.

A new chart is one function in one module here, added to `CHARTS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context

from runner_lab.records.cases import MeasuredCases
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import svg
from runner_lab.reports.charts.bare import prefect_over_bare
from runner_lab.reports.charts.batching import speedup_by_batch
from runner_lab.reports.charts.cases import cases_by_runner
from runner_lab.reports.charts.decision import decision_map
from runner_lab.reports.charts.latency import latency_distributions
from runner_lab.reports.charts.makespan import makespan_by_width
from runner_lab.reports.charts.memory import memory_against_makespan
from runner_lab.reports.charts.metg import efficiency_by_duration
from runner_lab.reports.charts.payload import makespan_by_payload
from runner_lab.reports.charts.phases import where_time_goes
from runner_lab.reports.charts.predicted import predicted_against_measured
from runner_lab.reports.charts.ratios import paired_ratios
from runner_lab.reports.charts.scale import cost_by_width_at_scale
from runner_lab.reports.charts.style import RC, Drawing, Missing, Panel
from runner_lab.reports.charts.task_stages import where_a_task_goes
from runner_lab.reports.charts.times import time_by_arm
from runner_lab.reports.charts.trend import time_over_runs
from runner_lab.reports.charts.variants import variants
from runner_lab.reports.charts.work import cpu_against_wait
from runner_lab.reports.charts.worker_scaling import speedup_by_workers
from runner_lab.reports.history.history import Kept
from runner_lab.reports.history.trend import Trend

CHARTS: tuple[Callable[[Summary], Drawing | Missing], ...] = (
    decision_map,
    makespan_by_width,
    cpu_against_wait,
    efficiency_by_duration,
    speedup_by_batch,
    speedup_by_workers,
    cost_by_width_at_scale,
    where_time_goes,
    where_a_task_goes,
    paired_ratios,
    latency_distributions,
    variants,
    makespan_by_payload,
    memory_against_makespan,
    prefect_over_bare,
    predicted_against_measured,
)
OF_A_FLOW = (time_by_arm,)
"""Those of a run that compares a user's flow: the others are about graphs of the lab's own."""
FIRST_SCREEN = ("decision-map", "time-by-arm", "cost-by-width-at-scale")
"""Charts that are not folded away."""
ALSO_PNG = (*FIRST_SCREEN, "time-over-runs", "cases-by-runner")
"""Charts for places that show no SVG, too: those of a first screen, and those about several runs."""


@dataclass(frozen=True)
class Chart:
    """A drawn chart: `name` is its file's stem; where it could not be drawn `missing` says why.

    png: of those in `ALSO_PNG`.
    """

    name: str
    title: str
    takeaway: str = ""
    reading: str = ""
    document: str = ""
    png: bytes = b""
    missing: str | None = None
    panels: tuple[Panel, ...] = ()

    @property
    def inline(self) -> str:
        """For a page: `<svg>` with its text alternative."""
        return svg.inline(self.document, self.name, self.title, f"{self.takeaway} {self.reading}")


def draw(summary: Summary) -> list[Chart]:
    """Every chart, in the order a reader meets them. The same summary gives the same bytes."""
    return [_draw(function, summary) for function in (OF_A_FLOW if summary.flow else CHARTS)]


def draw_trends(runs: Sequence[Kept], trends: Sequence[Trend]) -> Chart:
    """The one chart that is about several runs."""
    return _draw(time_over_runs, runs, trends)


def draw_cases(measured: MeasuredCases) -> Chart:
    """The chart of the real flows."""
    return _draw(cases_by_runner, measured)


def _draw(function: Callable[..., Drawing | Missing], *subject: Any) -> Chart:
    name = function.__name__.replace("_", "-")
    with rc_context(RC), warnings.catch_warnings():
        # Matplotlib would tell the terminal about names in scripts its font lacks, and about odd data.
        warnings.simplefilter("ignore", UserWarning)
        return _rendered(name, function(*subject))


def _rendered(name: str, drawing: Drawing | Missing) -> Chart:
    if isinstance(drawing, Missing):
        return Chart(name, drawing.title, missing=drawing.reason)
    document, png = svg.render(drawing.figure, also_png=name in ALSO_PNG)
    return Chart(name, drawing.title, drawing.takeaway, drawing.reading, document, png, panels=drawing.panels)
