"""Runs of the same thing over time: each arm's trend, where it changed, and what became slower and stayed so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import CONFIDENCE, SEED, Estimate, t_quantile
from runner_lab.reports.history.difference import difference
from runner_lab.reports.history.history import ArmFigures, Kept
from runner_lab.reports.history.timings import Timing, Timings

SHORTEST = 2
"""Runs on either side of a change: one run alone is an outlier, and no change."""
RESAMPLES = 4999


@dataclass(frozen=True)
class Shift:
    """An arm that is faster or slower from run number `at` (from 0) on. `ratio`: time after over time before."""

    at: int
    run_id: str
    ratio: float
    p: float


@dataclass(frozen=True)
class Trend:
    """An arm over the runs that it took part in.

    at:      places of these runs in the series.
    ratios:  time in each, over that of the arm's median run: geometric mean over the cells that all of them have, with
             the interval that the run's own blocks give.
    last:    its figures in the newest of them.
    """

    arm: Arm
    at: tuple[int, ...]
    ratios: tuple[Estimate, ...]
    changes: tuple[Shift, ...]
    last: ArmFigures


@dataclass(frozen=True)
class Slower:
    """A cell that is slower. `ratios`: its time over that of the run before the slowdown, a run each."""

    cell: str
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class Slowdown:
    """What the newest run says: cells slower in it than in the run before, and in two runs one after the other.

    since: the run that the lasting ones are held against.
    """

    first: tuple[Slower, ...]
    lasting: tuple[Slower, ...]
    since: str | None = None


def series(runs: Sequence[Kept], newest: Kept) -> list[Kept]:
    """The runs that may be held against `newest`, in their order, itself the last; of the others only complete ones."""
    alike = [run for run in runs if run.series == newest.series and (not run.partial or run.folder == newest.folder)]
    return alike[: 1 + next(i for i, run in enumerate(alike) if run.folder == newest.folder)]


def trends(runs: Sequence[Kept]) -> list[Trend]:
    """Every arm of a series, in the order of its newest run."""
    names = dict.fromkeys(figures.arm.name for run in reversed(runs) for figures in run.arms)
    return [trend for name in names if (trend := _trend(name, runs)) is not None]


def slowdown(runs: Sequence[Timings]) -> Slowdown:
    """Beyond the noise of both runs, as `difference` judges.

    A cell is slower for good where each of the last two runs is slower than the run before the two: so a slowdown that
    stays is told once, in its second run.
    """
    if len(runs) < 2:
        return Slowdown((), ())
    first = tuple(Slower(cell.cell, (cell.ratio.value,)) for cell in difference(runs[-2], runs[-1]).of("slower"))
    if len(runs) < 3:
        return Slowdown(first, ())
    earlier = {cell.cell: cell.ratio.value for cell in difference(runs[-3], runs[-2]).of("slower")}
    now = difference(runs[-3], runs[-1])
    lasting = [
        Slower(cell.cell, (earlier[cell.cell], cell.ratio.value)) for cell in now.of("slower") if cell.cell in earlier
    ]
    return Slowdown(first, tuple(lasting), now.a)


def change_points(logs: Sequence[float], threshold: float) -> list[tuple[int, float]]:
    """Where the mean of a series of logarithms changes, with the p of each; places count from 0.

    Binary segmentation (Scott and Knott 1974) by the largest standardised difference of means over all splits. A split
    is taken where a permutation test of that maximum gives p < 0.05 and the means differ by more than `threshold`; then
    both sides are looked at alone. The maximum makes up for the choice among splits, and permuting runs takes no
    distribution for granted: of series in which nothing changes, at most one in twenty shows a change. It also needs
    eight runs before it can show any.
    """
    values = np.asarray(logs, dtype=float)
    return sorted(_splits(values, 0, math.log1p(threshold)))


def _splits(values: NDArray[np.float64], offset: int, least: float) -> list[tuple[int, float]]:
    if len(values) < 2 * SHORTEST or np.ptp(values) == 0:
        return []
    at = SHORTEST + int(np.argmax(_distances(values)))
    left, right = values[:at], values[at:]
    if abs(float(right.mean() - left.mean())) <= least:
        return []
    tested = stats.permutation_test(
        (values,),
        lambda permuted, axis=-1: _distances(permuted).max(axis=-1),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=RESAMPLES,
        alternative="greater",
        rng=np.random.default_rng(SEED),
    )
    if tested.pvalue >= 1 - CONFIDENCE:
        return []
    return [
        *_splits(left, offset, least),
        (offset + at, float(tested.pvalue)),
        *_splits(right, offset + at, least),
    ]


def _distances(values: NDArray[np.float64]) -> Any:
    """How far the means on both sides of each split are apart, in the scale of their standard error."""
    n = values.shape[-1]
    k = np.arange(SHORTEST, n - SHORTEST + 1)
    sums = np.cumsum(values - values.mean(axis=-1, keepdims=True), axis=-1)
    return np.abs(sums[..., k - 1]) * np.sqrt(n / (k * (n - k)))


def _trend(name: str, runs: Sequence[Kept]) -> Trend | None:
    own = [_cells(run, name) for run in runs]
    at = [i for i, cells in enumerate(own) if cells]
    shared = [cell for cell in (own[at[0]] if at else ()) if all(cell in own[i] for i in at)]
    if not shared:
        return None
    middle = {cell: float(np.median([own[i][cell].log_mean for i in at])) for cell in shared}
    logs = [float(np.mean([own[i][cell].log_mean - middle[cell] for cell in shared])) for i in at]
    # So that 1 is the arm's middle run, whichever cells that one was slow in.
    logs = [value - float(np.median(logs)) for value in logs]
    threshold = float(np.median([runs[i].timings.whole.threshold for i in at]))
    found = change_points(logs, threshold)
    ends = [0, *(place for place, _ in found), len(at)]
    means = [float(np.mean(logs[a:b])) for a, b in pairwise(ends)]
    changes = [
        Shift(at[place], runs[at[place]].run_id, math.exp(after - before), p)
        for (place, p), (before, after) in zip(found, pairwise(means), strict=True)
    ]
    ratios = [_ratio(log, [own[i][cell] for cell in shared]) for log, i in zip(logs, at, strict=True)]
    last = next(figures for run in reversed(runs) for figures in run.arms if figures.arm.name == name)
    return Trend(last.arm, tuple(at), tuple(ratios), tuple(changes), last)


def _cells(run: Kept, arm: str) -> dict[str, Timing]:
    return {cell: timing for cell, timing in run.timings.cells.items() if timing.arm == arm}


def _ratio(log: float, cells: Sequence[Timing]) -> Estimate:
    n = min(cell.n for cell in cells)
    if n < 2:
        return Estimate(math.exp(log), None, None, n)
    # What befalls a block befalls all its cells (`statistics.by_block`). How far is not kept of a run: as if wholly,
    # the error of the mean is the mean of the errors.
    error = fmean(cell.log_deviation / math.sqrt(cell.n) for cell in cells)
    reach = t_quantile(n - 1) * error
    return Estimate(math.exp(log), math.exp(log - reach), math.exp(log + reach), n)
