"""The cost model of an arm: what it predicts, and how sure it is. `fitting` makes it from a run's cells."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.model.costs import (
    CPU_KINDS,
    UNLIMITED,
    Costs,
    Workload,
    at_heartbeat_s,
    cold_start_s,
    makespan_s,
    usually_at_heartbeat_s,
)

SURE_SHARE = 0.25
"""Share of the misfit's variance that is left where the bodies are all of the time."""


@dataclass(frozen=True)
class MeasuredReach:
    """The largest workload that was measured; beyond it a prediction is an extrapolation."""

    tasks: int
    body_s: float
    payload_bytes: float
    worker_counts: tuple[int, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """Seconds a workload will take, with the 90 % interval of a single run."""

    seconds: float
    low: float
    high: float


def slots_of(arm: Arm, workers: Any) -> Any:
    """Bodies at a time, for so many workers; arrays are welcome."""
    if arm.traits.event_loop:
        return UNLIMITED
    return 1 if arm.without_engine else workers


@dataclass(frozen=True)
class ArmModel:
    """One arm's terms, and how sure they are.

    names, covariance: of the logarithms of the fitted terms.
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
    reach: MeasuredReach

    @property
    def workers(self) -> int:
        """Of the run, which `worker_scaling` cells may go beyond."""
        return self.arm.workers

    def on(self, cores: int | None) -> ArmModel:
        """The same arm on a machine with so many cores of the same kind; `None`: the run's own."""
        return self if cores is None or self.cores is None else replace(self, cores=cores)

    def away(self, api_latency_s: float | None) -> ArmModel:
        """The same arm with Prefect's API that round trip away; `None`: as far as it was in the run."""
        return self if api_latency_s is None else replace(self, costs=self.costs.away(api_latency_s))

    @property
    def t_quantile(self) -> float:
        """Standard deviations that a 90 % interval reaches to either side, by Student's t."""
        return float(stats.t.ppf(0.95, max(self.free, 1)))

    def slots(self, workers: Any) -> Any:
        """Bodies at a time; arrays are welcome. However many workers are asked for, direct calls have one, and an event
        loop has one for every task."""
        return slots_of(self.arm, self.workers if workers is None else workers)

    def ideal_s(self, work: Workload, workers: Any = None) -> float:
        """The bodies alone: in as many rounds as the slots need, CPU work no faster than the machine's cores allow."""
        slots = self.slots(workers)
        rounds_s = math.ceil(work.working / slots) * work.body_s
        if work.kind not in CPU_KINDS:
            return rounds_s
        if self.costs.event_loop:
            return work.working * work.body_s
        return max(rounds_s, work.working * work.body_s / min(slots, self.cores or slots))

    def makespan_s(self, tasks: Any, body_s: Any, kind: str, payload_bytes: Any = 0.0, workers: Any = None) -> Any:
        """Of independent tasks on warm workers, seconds; arrays are welcome."""
        return makespan_s(self.costs, tasks, tasks, body_s, kind, payload_bytes, self.slots(workers), self.cores)

    def total_s(self, warm_s: Any, cold: bool, workers: Any = None) -> Any:
        """Of a makespan: itself where it is warm, else from the call of the flow to its return."""
        return usually_at_heartbeat_s(self.costs, warm_s + self._start_s(workers)) if cold else warm_s

    def _start_s(self, workers: Any) -> Any:
        return cold_start_s(self.costs, self.slots(workers), self.cores)

    def log_sd(
        self,
        tasks: Any,
        body_s: Any,
        kind: str,
        payload_bytes: Any = 0.0,
        cold: bool = False,
        workers: Any = None,
    ) -> Any:
        """Standard deviation of the logarithm of the expected time: what the terms and the model leave open."""
        warm = self.makespan_s(tasks, body_s, kind, payload_bytes, workers)
        # What the bodies take is known: only the rest of the time is the model's to be wrong about.
        rest = 1.0 - np.minimum(self._bodies_s(tasks, body_s, kind, workers) / np.maximum(warm, 1e-12), 1.0)
        variance = (self.misfit * np.sqrt(SURE_SHARE + (1 - SURE_SHARE) * rest)) ** 2 + self._terms_variance(
            tasks, body_s, kind, payload_bytes, workers
        )
        if not cold:
            return np.sqrt(variance)
        start = self._start_s(workers)
        return np.sqrt(variance * warm**2 + (self.cold_noise * start) ** 2) / self.total_s(warm, cold, workers)

    def predict(self, work: Workload, cold: bool = False, workers: Any = None) -> Prediction:
        """One run of independent tasks, all of which have the body."""
        shape = (work.tasks, work.body_s, work.kind, work.payload_bytes)
        warm_s = self.makespan_s(*shape, workers=workers)
        value = float(self.total_s(warm_s, cold, workers))
        unsure = math.hypot(float(self.log_sd(*shape, cold=cold, workers=workers)), self.noise)
        # A factor of exp(50) either way says nothing, and both ends stay numbers.
        reach = min(self.t_quantile * unsure, 50.0)
        low, high = value * math.exp(-reach), value * math.exp(reach)
        if cold and self.costs.heartbeat_s:
            last_s = float(warm_s + self._start_s(workers))
            low = min(low, float(at_heartbeat_s(self.costs, last_s * math.exp(-reach))))
            high = max(high, float(at_heartbeat_s(self.costs, last_s * math.exp(reach))))
        return Prediction(value, low, high)

    def _bodies_s(self, tasks: Any, body_s: Any, kind: str, workers: Any) -> Any:
        """What the bodies alone take at the least, one after another where they share a GIL; arrays are welcome."""
        slots = self.slots(workers)
        work = np.asarray(body_s, dtype=float) * np.asarray(tasks, dtype=float)
        if kind in self.costs.serial_kinds:
            return work
        alone = work / (np.minimum(slots, self.cores or slots) if kind in CPU_KINDS else slots)
        return np.maximum(alone, np.asarray(body_s, dtype=float))

    def _terms_variance(self, tasks: Any, body_s: Any, kind: str, payload_bytes: Any, workers: Any) -> Any:
        """Of the logarithm, to first order in the logarithms of the fitted terms (delta method)."""
        slots = self.slots(workers)
        at = np.array([float(getattr(self.costs, name) or 0.0) for name in self.names])

        def log_time(terms: Any) -> Any:
            here = self.costs.with_fitted(terms, self.names)
            return np.log(makespan_s(here, tasks, tasks, body_s, kind, payload_bytes, slots, self.cores) + 1e-12)

        base, step = log_time(at), 1e-3
        slopes = []
        for place in range(len(at)):
            moved = at.copy()
            moved[place] *= math.exp(step)
            slopes.append((log_time(moved) - base) / step)
        covariance = np.asarray(self.covariance)
        return sum(
            covariance[i, j] * slopes[i] * slopes[j] for i in range(len(at)) for j in range(len(at))
        ) + np.zeros_like(base)
