"""Who leads for a piece of work: the predicted fastest arm with the slots it should have, and who is level with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner_lab.records.graph import AnyGraph
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import LARGEST_TIE, SMALLEST_TIE_BAND
from runner_lab.reports.model.costs import Workload
from runner_lab.reports.model.model import ArmModel

ONE_SIDED = 1.645
"""Standard deviations beyond which one arm counts as slower than another: 95 %, one-sided."""
AS_GOOD = 1.05
"""A simpler arm, or fewer slots, may take this many times the fastest's time and is named all the same."""
BEYOND = 2.0
"""Times as much as was measured from which an answer is marked as an estimate."""
MOST_THREADS = 256
"""Slots that are advised at most where a slot is a thread."""
MOST_PROCESSES_A_CORE = 4
"""The same where a slot is a process, which takes memory and a start of its own."""


@dataclass(frozen=True)
class Request:
    """What is to be run: `tasks` independent tasks of `seconds` of `kind`, each handing on `payload_bytes`.

    workers: slots; `None` for as many as each arm does best with.
    cold:    the time includes starting, and stopping, what the arm runs on.
    cores:   of the machine that is asked about; `None`: of the one that was measured.
    api_latency_s: round trip to Prefect's API; `None`: where it was in the run.
    """

    tasks: int
    seconds: float
    kind: str = "sleep"
    payload_bytes: float = 0.0
    workers: int | None = None
    cold: bool = False
    cores: int | None = None
    api_latency_s: float | None = None

    @classmethod
    def of(cls, graph: AnyGraph, cold: bool, workers: int | None, api_latency_s: float | None = None) -> Request:
        """The question that a map of the lab's own is an answer to."""
        work = graph.work
        return cls(
            graph.tasks, work.seconds, work.kind, graph.payload_bytes, workers, cold, api_latency_s=api_latency_s
        )

    def workload(self, batch: int = 1) -> Workload:
        return Workload.of_items(self.tasks, self.seconds, self.kind, self.payload_bytes, batch)


def simplicity(arm: Arm) -> tuple[int, bool]:
    """By the engine, direct calls before threads before clusters; what Prefect ships before its lean twin."""
    return (arm.traits.rank, arm.lean)


@dataclass(frozen=True)
class Placed:
    """An arm with the slots it should have, and its predicted seconds with them: numbers or arrays."""

    slots: Any
    seconds: Any


def placed(
    found: ArmModel,
    tasks: Any,
    body_s: Any,
    kind: str,
    payload_bytes: Any = 0.0,
    cold: bool = False,
    workers: int | None = None,
) -> Placed:
    """With the slots that were asked for, else the fewest with which the arm is as fast as with any number of them.

    Arrays are welcome: verdict, map and `choose` ask this same function.
    """
    counts = [found.slots(workers)] if workers or not found.arm.has_slots else slot_counts(found, kind)
    times = np.array(
        [found.total_s(found.makespan_s(tasks, body_s, kind, payload_bytes, n), cold, n) for n in counts], dtype=float
    )
    first = (times <= AS_GOOD * times.min(axis=0)).argmax(axis=0)
    return Placed(np.asarray(counts)[first], np.take_along_axis(times, first[None], axis=0)[0])


def slot_counts(found: ArmModel, kind: str) -> list[int]:
    """Numbers of slots to think about: for bodies that compute the cores, for those that wait many more."""
    cores = found.cores or found.workers
    if kind != "sleep":
        return [cores]
    most = MOST_PROCESSES_A_CORE * cores if found.costs.starts_slots else max(MOST_THREADS, cores)
    counts = [cores]
    while counts[-1] < most:
        counts.append(min(2 * counts[-1], most))
    return counts


def place(found: ArmModel, request: Request, batch: int = 1) -> Placed:
    """The same for a request, on the machine that it asks about."""
    work = request.workload(batch)
    shape = (work.tasks, work.body_s, work.kind, work.payload_bytes)
    one = placed(found.on(request.cores), *shape, cold=request.cold, workers=request.workers)
    # Slots beyond the tasks have nothing to do.
    slots = (
        int(one.slots)
        if request.workers and found.arm.has_slots
        else min(int(one.slots), max(work.tasks, found.workers))
    )
    return Placed(slots, float(one.seconds))


def named(models: Sequence[ArmModel], request: Request) -> ArmModel:
    """The simplest arm that is as good as the fastest."""
    fastest_s = min(time_s(m, request) for m in models)
    return next(m for m in sorted(models, key=lambda m: simplicity(m.arm)) if time_s(m, request) <= AS_GOOD * fastest_s)


def leaders(models: Sequence[ArmModel], request: Request) -> list[ArmModel]:
    """The named arm, then by time every arm that cannot be told from it."""
    first = named(models, request)
    others = sorted((m for m in models if m is not first), key=lambda m: time_s(m, request))
    return [first, *(m for m in others if not behind(m, first, request))]


def behind(one: ArmModel, first: ArmModel, request: Request) -> bool:
    if one is first:
        return False
    apart = math.log(time_s(one, request) / time_s(first, request))
    unsure = math.hypot(log_sd(one, request), log_sd(first, request))
    return apart > float(tie_limit(unsure))


def tie_limit(unsure: Any) -> Any:
    """Logarithm of the lead that may still be a tie, from the standard deviation of the logarithm of the ratio."""
    return np.clip(ONE_SIDED * np.asarray(unsure), math.log1p(SMALLEST_TIE_BAND), math.log(LARGEST_TIE))


def time_s(found: ArmModel, request: Request, batch: int = 1) -> float:
    """Predicted seconds, without an interval."""
    return float(place(found, request, batch).seconds)


def log_sd(found: ArmModel, request: Request) -> float:
    work, slots = request.workload(), place(found, request).slots
    here = found.on(request.cores)
    return float(here.log_sd(work.tasks, work.body_s, work.kind, work.payload_bytes, request.cold, slots))
