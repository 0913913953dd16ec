"""The cost model of an arm: what it predicts, and how sure it is. `fitting` makes it from a run's cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import t_quantile
from runner_lab.reports.model.costs import CPU_KINDS, Costs, Workload, makespan_s


@dataclass(frozen=True)
class Reach:
    """The largest workload that was measured; beyond it a prediction is an extrapolation."""

    tasks: int
    body_s: float
    payload_bytes: float
    worker_counts: tuple[int, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """Seconds a workload will take, with the 95 % interval of a single run."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True)
class ArmModel:
    """One arm's terms, and how sure they are.

    names, covariance: of the fitted terms that are free of their bounds.
    misfit: standard deviation of log(predicted / measured) that the model leaves, `free` degrees of freedom.
    noise:  standard deviation of the logarithm of one measurement of a cell.
    cold_noise: the same of a cold start.
    """

    arm: Arm
    costs: Costs
    names: tuple[str, ...]
    covariance: tuple[tuple[float, ...], ...]
    misfit: float
    free: int
    noise: float
    cold_noise: float
    cores: int | None
    reach: Reach

    @property
    def workers(self) -> int:
        """Of the run, which `scaling` cells may go beyond."""
        return self.arm.workers

    def slots(self, workers: int | None) -> int:
        """Bodies at a time: direct calls have one, however many workers are asked for."""
        return 1 if self.arm.engine == "none" else workers or self.workers

    def ideal_s(self, work: Workload, workers: int | None = None) -> float:
        """The bodies alone: in as many rounds as the slots need, CPU work no faster than the machine's cores allow."""
        slots = self.slots(workers)
        rounds_s = math.ceil(work.working / slots) * work.body_s
        if work.kind not in CPU_KINDS:
            return rounds_s
        return max(rounds_s, work.working * work.body_s / min(slots, self.cores or slots))

    def makespan_s(
        self, tasks: Any, body_s: Any, kind: str, payload_bytes: Any = 0.0, workers: int | None = None
    ) -> Any:
        """Of independent tasks on warm workers, seconds; arrays are welcome."""
        return makespan_s(self.costs, tasks, tasks, body_s, kind, payload_bytes, self.slots(workers), self.cores)

    def total_s(self, warm_s: Any, cold: bool) -> Any:
        return warm_s + (self.costs.cold_s or 0.0) if cold else warm_s

    def log_sd(
        self,
        tasks: Any,
        body_s: Any,
        kind: str,
        payload_bytes: Any = 0.0,
        cold: bool = False,
        workers: int | None = None,
    ) -> Any:
        """Standard deviation of the logarithm of the expected time: what the terms and the model leave open."""
        warm = self.makespan_s(tasks, body_s, kind, payload_bytes, workers)
        variance = self.misfit**2 + self._terms_variance(tasks, body_s, kind, payload_bytes, workers)
        if not cold or not self.costs.cold_s:
            return np.sqrt(variance)
        start = self.costs.cold_s
        return np.sqrt(variance * warm**2 + (self.cold_noise * start) ** 2) / (warm + start)

    def predict(self, work: Workload, cold: bool = False, workers: int | None = None) -> Prediction:
        """One run of independent tasks, all of which have the body."""
        shape = (work.tasks, work.body_s, work.kind, work.payload_bytes)
        value = float(self.total_s(self.makespan_s(*shape, workers=workers), cold))
        unsure = math.hypot(float(self.log_sd(*shape, cold=cold, workers=workers)), self.noise)
        # A factor of exp(50) either way says nothing, and both ends stay numbers.
        reach = min(t_quantile(max(self.free, 1)) * unsure, 50.0)
        return Prediction(value, value * math.exp(-reach), value * math.exp(reach))

    def _terms_variance(self, tasks: Any, body_s: Any, kind: str, payload_bytes: Any, workers: int | None) -> Any:
        """Of the logarithm, to first order in the fitted terms (delta method)."""
        slots = self.slots(workers)

        def log_time(costs: Costs) -> Any:
            return np.log(makespan_s(costs, tasks, tasks, body_s, kind, payload_bytes, slots, self.cores) + 1e-12)

        at = np.array([term(self.costs, name) for name in self.names])
        base, slopes = log_time(self.costs), []
        for place in range(len(at)):
            step = max(abs(at[place]) * 1e-4, 1e-12)
            moved = at.copy()
            moved[place] += step
            slopes.append((log_time(self.costs.with_fitted(moved, self.names)) - base) / step)
        covariance = np.asarray(self.covariance)
        return sum(
            covariance[i, j] * slopes[i] * slopes[j] for i in range(len(at)) for j in range(len(at))
        ) + np.zeros_like(base)


def term(costs: Costs, name: str) -> float:
    return costs.gil_share[name] if name in CPU_KINDS else float(getattr(costs, name) or 0.0)
