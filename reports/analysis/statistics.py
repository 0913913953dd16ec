"""Intervals, paired ratios and verdicts.

Times are positive and their noise is multiplicative, so everything is estimated on the log scale: a ratio is the
exponential of a mean of log ratios. `docs/statistics.md` gives the reasons and the simulations behind the choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from runner_lab.reports.analysis.estimate import Estimate

CONFIDENCE = 0.95
BOOTSTRAP_FROM = 30
"""Blocks from which the interval is a bootstrap; with fewer it covers too seldom and Student's t is used."""
WILCOXON_FROM = 6
"""Blocks from which the signed-rank test can reach p < 0.05 at all."""
SEED = 20260101

SMALLEST_DIFFERENCE = 0.03
"""A ratio within 3 % of 1 is never called a difference: it would not change anybody's choice."""
SMALLEST_TIE_BAND = 0.05
LARGEST_TIE_BAND = 0.25
"""Two arms that may differ by more than this are never called a tie, however noisy the run."""
LARGEST_TIE = 1.5
"""A prediction that takes this many times the fastest one's time is no tie. Of measurements the control decides."""
UNMEASURED_THRESHOLD = 0.10
"""Noise threshold of a run that has no A/A control to tell it."""

Verdict = Literal["faster", "slower", "tie", "inconclusive"]
Strata = Sequence[Sequence[float] | NDArray[np.float64]]
"""Values by stratum, which weigh the same and whose differences are no noise."""
Graphs = Sequence[Mapping[int, float]]
"""Log ratios of an arm to the baseline: for each graph, by block."""


@dataclass(frozen=True)
class Noise:
    """What the A/A control says about a set of cells: how far two identical arms were apart.

    `ratio` is control over baseline; `sigma` the spread of one paired log ratio over the blocks; `threshold` the
    relative difference an arm has to pass before it is called faster or slower; `pooled_sigma` the spread over the
    blocks of the mean over all graphs.
    """

    ratio: Estimate | None
    sigma: float | None
    threshold: float
    pooled_sigma: float | None = None

    @property
    def covers_one(self) -> bool:
        """False only where the control shows a difference between two identical arms."""
        return self.ratio is None or self.ratio.low is None or self.ratio.low <= 1 <= (self.ratio.high or math.inf)

    @property
    def single(self) -> float:
        """The relative difference within which one pair of identical arms stays, 19 times in 20.

        One pair of the control tells as little of the spread as one value can: Student's t with one degree of freedom
        reaches 12.7 times as far.
        """
        if self.ratio is None:
            return max(SMALLEST_TIE_BAND, self.threshold)
        if self.sigma is None:
            reach = t_quantile(1) * abs(math.log(self.ratio.value))
        else:
            reach = t_quantile(max(1, self.ratio.n - 1)) * self.sigma
        return max(SMALLEST_TIE_BAND, self.threshold, _safe_exp(reach) - 1)


@dataclass(frozen=True)
class Comparison:
    """An arm against the baseline: paired ratio of times (below 1 is faster) and what may be said of it.

    `p` is the two-sided Wilcoxon signed-rank test over the blocks, `None` with fewer than 6 of them.
    """

    ratio: Estimate
    p: float | None
    threshold: float
    tie_band: float
    verdict: Verdict


def mean(strata: Strata) -> Estimate:
    """Mean of the strata's means with its 95 % interval.

    Strata weigh the same. With at least 30 values in every stratum the interval is scipy's percentile bootstrap,
    resampled within strata; with fewer it is Student's t on the spread within strata, pooled.

    Raises:
        ValueError: no values at all.
    """
    samples = [np.asarray(stratum, dtype=float) for stratum in strata if len(stratum)]
    if not samples:
        raise ValueError("no values to estimate from")
    n = sum(len(sample) for sample in samples)
    value = float(_mean_of_means(*samples))
    free = n - len(samples)
    if free < 1:
        return Estimate(value, None, None, n)
    error = spread(samples) * _weight(samples)
    if error == 0:
        return Estimate(value, value, value, n)
    if min(len(sample) for sample in samples) >= BOOTSTRAP_FROM:
        interval = stats.bootstrap(
            samples, _mean_of_means, n_resamples=1999, confidence_level=CONFIDENCE, method="percentile", rng=SEED
        ).confidence_interval
        if math.isfinite(interval.low) and math.isfinite(interval.high):
            return Estimate(value, float(interval.low), float(interval.high), n)
    margin = t_quantile(free) * error
    return Estimate(value, value - margin, value + margin, n)


def geometric_mean(strata: Strata) -> Estimate:
    """`mean` of the logarithms, taken back: for positive figures with multiplicative noise."""
    return from_logs(mean([np.log(stratum) for stratum in strata if len(stratum)]))


def from_logs(logs: Estimate) -> Estimate:
    """The figure whose logarithm this is, with its interval."""
    low = None if logs.low is None else _safe_exp(logs.low)
    high = None if logs.high is None else _safe_exp(logs.high)
    return Estimate(_safe_exp(logs.value), low, high, logs.n)


def spread(strata: Strata) -> float:
    """Standard deviation within strata, pooled; 0 where no stratum has two values."""
    squares = sum(float(((np.asarray(s) - np.mean(s)) ** 2).sum()) for s in strata if len(s))
    free = sum(len(s) - 1 for s in strata if len(s))
    deviation = math.sqrt(squares / free) if free else 0.0
    scale = max((float(np.max(np.abs(s))) for s in strata if len(s)), default=0.0)
    return deviation if deviation > 1e-12 * scale else 0.0


def by_block(graphs: Graphs) -> list[float]:
    """One value a block, in the blocks' order: the mean over its graphs.

    What befalls a block (a neighbour of the machine, a cluster that came up badly) befalls all its graphs: they are no
    measurements of their own (pseudo-replication: Hurlbert 1984, doi:10.2307/1942661). Each graph's own level is taken
    out before, so that a block does not stand out for the graphs it lacks.
    """
    known = [(graph, fmean(graph.values())) for graph in graphs if graph]
    middle = fmean(level for _, level in known) if known else 0.0
    blocks = sorted({block for graph, _ in known for block in graph})
    return [middle + fmean(graph[block] - level for graph, level in known if block in graph) for block in blocks]


def noise(control: Graphs) -> Noise:
    """The noise floor from the A/A control's log ratios, control over baseline.

    The threshold is the far end of the control's own interval, at least 3 %: a difference that two identical arms
    may show too is no difference. Without an interval the threshold is 10 %.
    """
    values = by_block(control)
    if not values:
        return Noise(None, None, UNMEASURED_THRESHOLD)
    ratio = mean([values])
    if ratio.low is None or ratio.high is None:
        return Noise(from_logs(ratio), None, max(UNMEASURED_THRESHOLD, _safe_exp(abs(ratio.value)) - 1))
    far = max(abs(ratio.low), abs(ratio.high))
    threshold = max(SMALLEST_DIFFERENCE, _safe_exp(far) - 1)
    return Noise(from_logs(ratio), spread([list(graph.values()) for graph in control]), threshold, spread([values]))


def compare(graphs: Graphs, floor: Noise) -> Comparison:
    """The verdict on an arm over one graph or several, from its log ratios to the baseline.

    `faster` / `slower`: the interval leaves 1 out, the ratio lies beyond the noise threshold, and the signed-rank test,
    where it has blocks enough to speak, agrees. Else `tie` if the whole interval lies in the tie band. Else
    `inconclusive`: more blocks would tell.

    Raises:
        ValueError: no pairs at all.
    """
    values = by_block(graphs)
    logs = mean([values])
    band = tie_band(len(values), floor, pooled=sum(map(bool, graphs)) > 1)
    p = _signed_rank(values)
    return Comparison(from_logs(logs), p, floor.threshold, band, _verdict(logs, p, floor.threshold, band))


def tie_band(blocks: int, floor: Noise, pooled: bool) -> float:
    """The relative difference within which the interval of an arm identical to the baseline stays, 19 times in 20.

    Of one graph, or of several `pooled`. At least 5 %, so that a quiet run does not split hairs; at most 25 %.
    """
    sigma = floor.pooled_sigma if pooled else floor.sigma
    if sigma is None or blocks < 2:
        return max(SMALLEST_TIE_BAND, min(floor.threshold, LARGEST_TIE_BAND))
    reach = sigma / math.sqrt(blocks) * _interval_reach(blocks - 1)
    return min(max(SMALLEST_TIE_BAND, _safe_exp(reach) - 1), LARGEST_TIE_BAND)


def level_with_best(by_block: Mapping[str, Mapping[int, float]], floor: Noise) -> tuple[str, ...]:
    """The arm with the smallest figure, then those that a paired comparison with it cannot call slower.

    Of figures above 0 by arm and block. However far apart two arms are, they are level as long as two identical ones
    may be as far apart in such a run: what the control says of one block is in `Noise.single`.
    """
    means = {arm: geometric_mean([list(values.values())]).value for arm, values in by_block.items()}
    first, *others = sorted(means, key=lambda arm: means[arm])
    slower = {arm for arm in others if _slower(by_block[arm], by_block[first], floor)}
    return (first, *(arm for arm in others if arm not in slower))


def _slower(own: Mapping[int, float], best: Mapping[int, float], floor: Noise) -> bool:
    """By the blocks that both have."""
    pairs = {block: math.log(value / best[block]) for block, value in own.items() if block in best}
    if len(pairs) < 2:
        return any(log > math.log1p(floor.single) for log in pairs.values())
    return compare([pairs], floor).verdict == "slower"


def _verdict(logs: Estimate, p: float | None, threshold: float, band: float) -> Verdict:
    if logs.low is None or logs.high is None:
        return "inconclusive"
    one_sided = logs.low > 0 or logs.high < 0
    if one_sided and abs(logs.value) > math.log1p(threshold) and (p is None or p < 1 - CONFIDENCE):
        return "faster" if logs.value < 0 else "slower"
    if max(abs(logs.low), abs(logs.high)) <= math.log1p(band):
        return "tie"
    return "inconclusive"


def _signed_rank(log_ratios: Sequence[float]) -> float | None:
    if len(log_ratios) < WILCOXON_FROM:
        return None
    if not np.any(log_ratios):
        return 1.0
    return float(stats.wilcoxon(log_ratios).pvalue)


def _mean_of_means(*samples: np.ndarray, axis: int = -1) -> Any:
    return np.mean([sample.mean(axis=axis) for sample in samples], axis=0)


def _weight(strata: Strata) -> float:
    """Standard error of the mean of means, in units of the spread within strata."""
    return math.sqrt(sum(1 / len(s) for s in strata)) / len(strata)


@lru_cache
def t_quantile(free: float) -> float:
    """Standard errors that a 95 % interval reaches, by Student's t with `free` degrees of freedom."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, free))


@lru_cache
def _interval_reach(free: int) -> float:
    """95 % quantile of the farther end of a t interval about 0, in standard errors: |mean| + t x estimated error."""
    rng = np.random.default_rng(SEED)
    means = np.abs(rng.standard_normal(20_000))
    errors = np.sqrt(rng.chisquare(free, 20_000) / free)
    return float(np.quantile(means + t_quantile(free) * errors, CONFIDENCE))


def _safe_exp(value: float) -> float:
    """An interval from two wildly different blocks may pass what a float holds; the report needs finite figures."""
    return math.exp(min(max(value, -600.0), 600.0))
