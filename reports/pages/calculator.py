"""What the page's calculator knows: the terms of every arm, as JSON, for the one model that Python and page share.

`templates/calculator.js` has the functions of `reports.model` and `reports.choose` under the same names; the browser
tests hold its answers to those of `choice.rank`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from runner_lab.reports.analysis.statistics import LARGEST_TIE, SMALLEST_TIE_BAND
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style, svg
from runner_lab.reports.charts.style import Panel
from runner_lab.reports.choose import answer, asking, choice, ranking
from runner_lab.reports.choose.choice import candidates, memory
from runner_lab.reports.model import costs, model
from runner_lab.reports.model.model import ArmModel
from runner_lab.reports.words import units

TASKS, SECONDS, WORK = 1_000, 0.3, "io"
"""The question that the page opens with, as `runner-lab choose` would be asked it."""


def data(summary: Summary, panels: Sequence[Panel] = ()) -> str | None:
    """The model's terms and limits, safe inside a `<script>`; `None` where the run cannot tell two arms apart.

    A number that is none leaves the page without a calculator: its tables say what there is.

    Args:
        panels: of the map, whose points set the fields.
    """
    if summary.flow or summary.scale or len(arms := candidates(summary, cold=False)) < 2:
        return None
    marks = style.marks(summary.arms)
    cold = len(candidates(summary, cold=True)) > 1
    known = {
        "limits": _limits(),
        "why": answer.WHY,
        "question": {"tasks": TASKS, "task-seconds": SECONDS, "work": WORK, "startup": "cold" if cold else "warm"},
        "cold": cold,
        "run": summary.run.run_id,
        "panels": [asdict(panel) for panel in panels],
        "arms": [_arm(found, summary, svg.variable(marks[found.arm.name].colour)) for found in arms],
    }
    try:
        text = json.dumps(known, allow_nan=False)
    except ValueError:
        return None
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _limits() -> dict[str, Any]:
    """The constants of the Python functions, by their names."""
    return {
        "AS_GOOD": ranking.AS_GOOD,
        "ONE_SIDED": ranking.ONE_SIDED,
        "MOST_THREADS": ranking.MOST_THREADS,
        "MOST_PROCESSES_A_CORE": ranking.MOST_PROCESSES_A_CORE,
        "SMALLEST_TIE": math.log1p(SMALLEST_TIE_BAND),
        "LARGEST_TIE": math.log(LARGEST_TIE),
        "SURE_SHARE": model.SURE_SHARE,
        "OVERLAP": costs.OVERLAP,
        "STIRRED_S": costs.STIRRED_S,
        "OFF": costs.OFF,
        "UNLIMITED": costs.UNLIMITED,
        "CPU_KINDS": costs.CPU_KINDS,
        "GIL_KINDS": costs.GIL_KINDS,
        "BEYOND": ranking.BEYOND,
        "VAGUE": choice.VAGUE,
        "KINDS": asking.KINDS,
        "MOST_TASKS": asking.MOST_TASKS,
        "LONGEST_S": asking.LONGEST_S,
        "LARGEST_BYTES": asking.LARGEST_BYTES,
        "MOST_WORKERS": asking.MOST_WORKERS,
        "LONGEST_API_LATENCY_S": asking.LONGEST_API_LATENCY_S,
    }


def _arm(found: ArmModel, summary: Summary, colour: str) -> dict[str, Any]:
    """An arm as the page's functions take it, in the order of simplicity."""
    driver_bytes, workers_bytes, slot_bytes = memory(found, summary)
    return {
        "label": found.arm.label,
        "lean": found.arm.lean,
        "engine": found.arm.engine,
        "has_slots": found.arm.has_slots,
        "caveat": units.printable(found.arm.traits.caveat, 200),
        "colour": colour,
        "workers": found.workers,
        "cores": found.cores,
        "names": found.names,
        "covariance": found.covariance,
        "misfit": found.misfit,
        "noise": found.noise,
        "cold_noise": found.cold_noise,
        "t_quantile": found.t_quantile,
        "reach": {"tasks": found.reach.tasks, "body_s": found.reach.body_s, "kinds": found.reach.kinds},
        "memory": {"driver": driver_bytes, "workers": workers_bytes, "slot": slot_bytes},
        "costs": asdict(found.costs),
    }
