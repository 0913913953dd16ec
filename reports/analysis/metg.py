"""METG, the minimum effective task granularity, from noisy samples of efficiency, and the search that takes them.

The efficiency of a runner that costs `c` seconds a task is d / (d + c) for bodies of d seconds: on the logit scale a
straight line of slope 1 over log d, which crosses 0 at METG(50 %) = c. Real runners stay close to that near the
crossing, so METG and its interval come from a straight line through the samples around it.

Source: Slaughter et al., Task Bench, SC20 (the measure; the search and its interval are this module's).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from runner_lab.reports.analysis.estimate import Estimate

if TYPE_CHECKING:
    from runner_lab.reports.analysis.cells import Cell
    from runner_lab.reports.analysis.summary import Summary

SUITES = ("metg", "work")
TARGET = 0.5
NEAR = 1.5
"""Distance from the target, on the logit scale, within which samples are fitted: for 50 %, those of 18 % to 82 %."""
TYPICAL_SPREAD = 0.15
"""Logit scale: a few per cent of noise in the time. Taken until samples of one duration show their own."""
STEP = 4.0
CLOSE = 1.25
"""Two durations that are no farther apart are not halved again: more samples of both tell more."""
MOST_OF_ONE = 4
FEWEST = 6
"""Samples before which an interval that looks narrow is taken for luck."""


@dataclass(frozen=True)
class Sample:
    """One measurement: body seconds of a task, and ideal time over makespan (0 to 1)."""

    seconds: float
    efficiency: float


@dataclass(frozen=True)
class Metg:
    """METG in seconds with its 95 % interval, from `n` samples.

    bound: `about`; `below`, where the shortest duration measured reaches the target already; `above`, where the longest
        does not clearly reach it, as under the GIL, which levels off at one worker's share: not reached. The interval
        is then open (`None`) on that side, as it is where samples are too few to tell.
    """

    seconds: float
    low: float | None
    high: float | None
    n: int
    bound: Literal["about", "below", "above"] = "about"

    @property
    def reached(self) -> bool:
        return self.bound != "above"

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.seconds, self.low, self.high, self.n)


def estimate(samples: Sequence[Sample], target: float = TARGET) -> Metg | None:
    """METG from samples of any durations, each measured any number of times; `None` without a sample above 0 s.

    Where the curve crosses the target more than once the last crossing counts: every longer task is efficient.
    """
    levels = _levels(samples, target)
    if not levels:
        return None
    durations = sorted(levels)
    above = [d for d in durations if fmean(levels[d]) >= 0]
    longest = levels[durations[-1]]
    if fmean(longest) < 0 or _undecided(longest, _spread(levels)):
        return Metg(durations[-1], durations[-1], None, len(samples), "above")
    if len(above) == len(durations):
        return Metg(durations[0], None, durations[0], len(samples), "below")
    short = max(d for d in durations if d not in above)
    long = min(d for d in above if d > short)
    return _line(levels, short, long, len(samples))


def next_duration(
    samples: Sequence[Sample],
    start_s: float,
    shortest_s: float,
    longest_s: float,
    tolerance: float = 0.25,
    most: int = 24,
    target: float = TARGET,
) -> float | None:
    """The duration to measure next, seconds, to two digits; `None` when METG is known well enough.

    Steps of a factor of 4 until the target lies between two durations, then bisection on the logarithm. A duration
    whose samples may lie on either side of the target is measured again before it is believed.

    Args:
        samples: what was measured so far, in any order.
        start_s: a first guess; the marginal cost of a task times the workers is a good one.
        shortest_s, longest_s: never measured beyond.
        tolerance: ends of the interval at most this far from METG, as a share of it.
        most: samples after which to stop in any case.
    """
    if len(samples) >= most:
        return None
    levels = _levels(samples, target)
    if not levels:
        return _rounded(start_s, shortest_s, longest_s)
    spread = _spread(levels)
    open_ = [d for d, values in levels.items() if len(values) < MOST_OF_ONE and _undecided(values, spread)]
    found = estimate(samples, target)
    assert found is not None
    if found.bound == "above":
        longest = max(levels)
        if longest < _rounded(longest_s, shortest_s, longest_s):
            return _rounded(longest * STEP, shortest_s, longest_s)
        return longest if longest in open_ else None
    if found.bound == "below":
        shortest = min(levels)
        if shortest > _rounded(shortest_s, shortest_s, longest_s):
            return _rounded(shortest / STEP, shortest_s, longest_s)
        return shortest if shortest in open_ else None
    known = found.low is not None and found.high is not None and found.high <= found.low * (1 + tolerance) ** 2
    if known and len(samples) >= FEWEST:
        return None
    short = max(d for d, values in levels.items() if fmean(values) < 0)
    long = min(d for d in levels if d > short)
    if long > short * CLOSE and (middle := _rounded(math.sqrt(short * long), short, long)) not in levels:
        return middle
    return min((short, long), key=lambda d: (d not in open_, len(levels[d]), d))


def cells_of(summary: Summary, kind: str, arm: str) -> list[Cell]:
    """The cells that tell an arm's METG: of the metg suite where it has any, else of the work suite."""
    found = ([c for c in summary.of(suite, arm) if c.graph.work.kind == kind and _tells(c)] for suite in SUITES)
    return next(filter(None, found), [])


def samples_of(summary: Summary, kind: str, arm: str) -> list[Sample]:
    """Efficiency of every block of these cells."""
    return [
        Sample(cell.graph.body_s, min(cell.ideal_s / makespan, 1.0))
        for cell in cells_of(summary, kind, arm)
        for makespan in cell.by_block.values()
    ]


def of(summary: Summary, kind: str, arm: str) -> Metg | None:
    """METG of one arm and kind of work; `None` where its cells do not tell."""
    return estimate(samples_of(summary, kind, arm))


def _tells(cell: Cell) -> bool:
    return cell.ideal_s > 0 and cell.graph.body_s > 0 and not cell.graph.asynchronous


def _line(levels: dict[float, list[float]], short: float, long: float, n: int) -> Metg:
    """The crossing of a line through the samples near the target, its interval by the spread about the line."""
    # Not at the top: the lab imports this module where it measures, and scipy is neither quick nor small.
    import numpy as np

    from runner_lab.reports.analysis.statistics import t_quantile

    points = [
        (math.log(d), value)
        for d, values in levels.items()
        for value in values
        if abs(fmean(values)) <= NEAR or d in (short, long)
    ]
    x, y = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    slope, level = np.polyfit(x, y, 1)
    crossing = -level / slope if slope > 0 else math.inf
    if not math.log(short) - 1 <= crossing <= math.log(long) + 1:
        share = -fmean(levels[short]) / (fmean(levels[long]) - fmean(levels[short]))
        return Metg(math.exp(math.log(short) + share * math.log(long / short)), short, long, n)
    free = len(points) - 2
    if free < 1:
        return Metg(math.exp(crossing), short, long, n)
    left = float(np.sum((y - slope * x - level) ** 2))
    # Three samples may lie on a line by chance: few of them are not believed to be quieter than usual.
    sigma = math.sqrt((left + 2 * TYPICAL_SPREAD**2) / (free + 2))
    away = (crossing - x.mean()) ** 2 / float(np.sum((x - x.mean()) ** 2))
    reach = t_quantile(free) * sigma / slope * math.sqrt(1 / len(x) + away)
    return Metg(math.exp(crossing), math.exp(crossing - min(reach, 50)), math.exp(crossing + min(reach, 50)), n)


def _levels(samples: Sequence[Sample], target: float) -> dict[float, list[float]]:
    """Logit of the efficiency less the target's, by duration."""
    levels: dict[float, list[float]] = {}
    for sample in samples:
        if sample.seconds > 0:
            levels.setdefault(sample.seconds, []).append(_logit(sample.efficiency) - _logit(target))
    return levels


def _logit(share: float) -> float:
    clipped = min(max(share, 1e-4), 1 - 1e-4)
    return math.log(clipped / (1 - clipped))


def _spread(levels: dict[float, list[float]]) -> float:
    squares = sum((value - fmean(values)) ** 2 for values in levels.values() for value in values)
    free = sum(len(values) - 1 for values in levels.values())
    return math.sqrt((squares + 2 * TYPICAL_SPREAD**2) / (free + 2))


def _undecided(values: Sequence[float], spread: float) -> bool:
    return abs(fmean(values)) < 2 * spread / math.sqrt(len(values))


def _rounded(seconds: float, shortest_s: float, longest_s: float) -> float:
    return float(f"{min(max(seconds, shortest_s), longest_s):.2g}")
