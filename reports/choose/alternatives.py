"""What would change the answer: batches, and the task durations and numbers of tasks from which another arm leads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from runner_lab.reports.choose import ranking
from runner_lab.reports.choose.ranking import Request, place, time_s
from runner_lab.reports.model.model import ArmModel

BATCHES = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
WORTH_BATCHING = 0.8
"""A batch is advised where it leaves at most this share of the time."""
FEWEST_TASKS_A_WORKER = 4
"""A batch so large that workers get fewer tasks than this leaves some of them idle at the end."""
FARTHEST = 1000.0
"""Factor up and down over which a change of the answer is looked for."""


@dataclass(frozen=True)
class Batch:
    """Items put together: `size` to a task under `arm`, `seconds` for all of them."""

    size: int
    arm: str
    seconds: float


@dataclass(frozen=True)
class Change:
    """Where the answer changes to `arm`: `below` or above the value `at` of `what` (`tasks`, `seconds`, `startup`)."""

    what: str
    at: float
    below: bool
    arm: str


def batch_of(models: Sequence[ArmModel], request: Request) -> Batch | None:
    """The smallest batch that comes within a tenth of the best one, if batching gains enough at all."""
    alone = min(time_s(m, request) for m in models)
    found = []
    for size in BATCHES:
        if request.tasks / size < FEWEST_TASKS_A_WORKER * max(
            (place(m, request, size).slots for m in models if m.arm.has_slots), default=1
        ):
            break
        best = min(models, key=lambda m: time_s(m, request, size))
        found.append(Batch(size, best.arm.label, time_s(best, request, size)))
    if not found or min(b.seconds for b in found) > WORTH_BATCHING * alone:
        return None
    return next(b for b in found if b.seconds <= 1.1 * min(b.seconds for b in found))


def half_used_from(found: ArmModel, request: Request) -> float | None:
    """METG(50 %) of the request by the model, to two digits; `None` where no duration reaches it."""

    def half_used(seconds: float) -> bool:
        asked = replace(request, seconds=seconds, cold=False)
        slots = place(found, asked).slots
        return found.on(request.cores).ideal_s(asked.workload(), slots) >= 0.5 * time_s(found, asked)

    if not half_used(1e5):
        return None
    return _border(half_used, 1e5, 1e-6)


def changes_of(models: Sequence[ArmModel], request: Request, named: ArmModel) -> list[Change]:
    found = [
        change
        for what in ("seconds", "tasks")
        for factor in (1 / FARTHEST, FARTHEST)
        if (base := getattr(request, what)) and (change := _change(models, request, named, what, base, base * factor))
    ]
    cold = replace(request, cold=not request.cold)
    able = [m for m in models if not cold.cold or m.costs.cold_s is not None]
    if able and named in able and ranking.named(able, cold) is not named:
        found.append(Change("startup", 0.0, not cold.cold, ranking.named(able, cold).arm.label))
    return found


def _change(
    models: Sequence[ArmModel], request: Request, named: ArmModel, what: str, base: float, end: float
) -> Change | None:
    """The nearest value of one parameter from which another arm is named."""

    def asked(value: float) -> Request:
        return replace(request, tasks=max(1, round(value))) if what == "tasks" else replace(request, seconds=value)

    def holds(value: float) -> bool:
        return ranking.named(models, asked(value)) is named

    last = base
    for value in np.geomspace(base, max(end, 1.0) if what == "tasks" else end, 25)[1:]:
        if not holds(float(value)):
            at = _border(holds, last, float(value))
            after = at * (1.02 if value > last else 1 / 1.02)
            rival = ranking.named(models, asked(after if not holds(after) else float(value)))
            return Change(what, at, bool(end < base), rival.arm.label)
        last = float(value)
    return None


def _border(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where, between a value that holds and one that does not, it stops to: by bisection on the logarithm."""
    for _ in range(20):
        middle = math.sqrt(inside * outside)
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside
