"""Who leads for a piece of work: the predicted fastest arm, and every arm that cannot be told from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import LARGEST_TIE, SMALLEST_TIE_BAND
from runner_lab.reports.model.costs import Workload
from runner_lab.reports.model.model import ArmModel

ONE_SIDED = 1.645
"""Standard deviations beyond which one arm counts as slower than another: 95 %, one-sided."""


@dataclass(frozen=True)
class Request:
    """What is to be run: `tasks` independent tasks of `seconds` of `kind`, each handing on `payload_bytes`.

    workers: `None` for as many as were measured.
    cold:    the time includes starting, and stopping, what the arm runs on.
    """

    tasks: int
    seconds: float
    kind: str = "sleep"
    payload_bytes: float = 0.0
    workers: int | None = None
    cold: bool = False

    def workload(self, batch: int = 1) -> Workload:
        return Workload.of_items(self.tasks, self.seconds, self.kind, self.payload_bytes, batch)


def simplicity(arm: Arm) -> tuple[int, bool]:
    """By the engine, direct calls before threads before clusters; what Prefect ships before its lean twin."""
    return (arm.traits.rank, arm.lean)


def leaders(models: Sequence[ArmModel], request: Request) -> list[ArmModel]:
    """Every arm that cannot be told from the fastest, simplest first."""
    fastest = min(models, key=lambda m: time_s(m, request))
    return [m for m in sorted(models, key=lambda m: simplicity(m.arm)) if not behind(m, fastest, request)]


def behind(one: ArmModel, fastest: ArmModel, request: Request) -> bool:
    if one is fastest:
        return False
    apart = math.log(time_s(one, request) / time_s(fastest, request))
    unsure = math.hypot(log_sd(one, request), log_sd(fastest, request))
    return apart > float(tie_limit(unsure))


def tie_limit(unsure: Any) -> Any:
    """Logarithm of the lead that may still be a tie, from the standard deviation of the logarithm of the ratio."""
    return np.clip(ONE_SIDED * np.asarray(unsure), math.log1p(SMALLEST_TIE_BAND), math.log(LARGEST_TIE))


def time_s(found: ArmModel, request: Request, batch: int = 1) -> float:
    """Predicted seconds, without an interval."""
    work = request.workload(batch)
    warm = found.makespan_s(work.tasks, work.body_s, work.kind, work.payload_bytes, request.workers)
    return float(found.total_s(warm, request.cold))


def log_sd(found: ArmModel, request: Request) -> float:
    work = request.workload()
    return float(found.log_sd(work.tasks, work.body_s, work.kind, work.payload_bytes, request.cold, request.workers))
