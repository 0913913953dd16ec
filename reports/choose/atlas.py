"""The decision map as numbers: the fastest arm over number of tasks and task duration, ties, and break-even lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose.choice import candidates
from runner_lab.reports.choose.ranking import AS_GOOD, placed, tie_limit
from runner_lab.reports.model.model import ArmModel
from runner_lab.reports.words import kinds

MOST_TASKS = 100_000
DURATIONS_S = (1e-3, 100.0)
COLUMNS, ROWS = 81, 65


@dataclass(frozen=True)
class Map:
    """One kind of work, warm or cold, on a grid: rows are durations, columns numbers of tasks, both ascending.

    models:  simplest first.
    times:   for each arm the logarithm of its seconds.
    tie:     below 0 where the fastest of the others cannot be told from the arm that is named.
    cluster: above 0 where the fastest arm on a cluster is faster than every arm on one host by more than a tie allows;
             `None` where the run has but one sort of arms.
    """

    kind: str
    cold: bool
    models: tuple[ArmModel, ...]
    tasks: NDArray[np.float64]
    durations_s: NDArray[np.float64]
    times: NDArray[np.float64]
    tie: NDArray[np.float64]
    cluster: NDArray[np.float64] | None

    @property
    def first(self) -> NDArray[np.intp]:
        """The place among `models` of the arm that `choose` names: the simplest that is as good as the fastest."""
        return (self.times <= self.times.min(axis=0) + math.log(AS_GOOD)).argmax(axis=0)

    @property
    def second(self) -> NDArray[np.intp]:
        """The place of the fastest of the other arms."""
        others = self.times.copy()
        np.put_along_axis(others, self.first[None], np.inf, 0)
        return others.argmin(axis=0)

    def shares(self) -> list[tuple[float, ArmModel]]:
        """Share of the map on which each arm is the fastest, the largest first; arms that never are left out."""
        first = self.first
        found = [(float(np.mean(first == i)), m) for i, m in enumerate(self.models)]
        return sorted((pair for pair in found if pair[0] > 0), key=lambda pair: -pair[0])

    def pays_from(self, tasks: int) -> float | None:
        """Duration in seconds from which a cluster pays for so many tasks, the shortest where it always does; `None`
        where none does."""
        if self.cluster is None:
            return None
        pays = self.cluster[:, int(np.argmin(np.abs(self.tasks - tasks)))] > 0
        return float(self.durations_s[int(pays.argmax())]) if pays.any() else None


def maps(summary: Summary) -> list[Map]:
    """Cold before warm, sleep before spin; only of kinds that were measured, and cold only where it was."""
    return [
        _map(kind, cold, models)
        for cold in (True, False)
        for kind in kinds.SEARCHED
        if len(models := candidates(summary, cold, kind)) > 1 and all(kind in m.reach.kinds for m in models)
    ]


def _map(kind: str, cold: bool, models: Sequence[ArmModel]) -> Map:
    workers = max(m.workers for m in models)
    # Whole waves of tasks: between two of them the time of a few tasks has steps that are no matter of the arm.
    tasks = workers * np.unique(np.round(np.geomspace(1, MOST_TASKS / workers, COLUMNS)))
    durations = np.geomspace(*DURATIONS_S, ROWS)
    x, y = np.meshgrid(tasks, durations)
    best_of = [placed(m, x, y, kind, cold=cold) for m in models]
    times = np.log([one.seconds for one in best_of])
    unsure = np.array([m.log_sd(x, y, kind, 0.0, cold, one.slots) for m, one in zip(models, best_of, strict=True)])
    far = [m.arm.traits.reach == "cluster" for m in models]
    near = [not is_far for is_far in far]
    cluster = None
    if any(far) and any(near):
        sides = [_fastest(times[side], unsure[side]) for side in (near, far)]
        cluster = sides[0][0] - sides[1][0] - _tie(sides[0][1], sides[1][1])
    drawn = Map(
        kind=kind,
        cold=cold,
        models=tuple(models),
        tasks=tasks,
        durations_s=durations,
        times=times,
        tie=np.zeros_like(times[0]),
        cluster=cluster,
    )
    named, second = ((_at(times, place), _at(unsure, place)) for place in (drawn.first, drawn.second))
    return replace(drawn, tie=second[0] - named[0] - _tie(named[1], second[1]))


def _at(values: NDArray[np.float64], place: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.take_along_axis(values, place[None], 0)[0]


def _fastest(times: NDArray[np.float64], unsure: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The smallest of several logarithms of time, and that one's standard deviation."""
    first = times.argmin(axis=0)[None]
    return np.take_along_axis(times, first, 0)[0], np.take_along_axis(unsure, first, 0)[0]


def _tie(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the lead that two arms with these standard deviations may have and still be a tie."""
    return np.asarray(tie_limit(np.hypot(one, other)))
