"""Known answers: simulated blocks whose truth is set."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.statistics import (
    Graphs,
    Noise,
    by_block,
    compare,
    geometric_mean,
    level_with_best,
    mean,
    noise,
)

SIGMA = 0.03
TRIALS = 400


def one(*log_ratios: float) -> Graphs:
    """One graph, a value for each block."""
    return [dict(enumerate(log_ratios))]


def blocks(
    rng: np.random.Generator, graphs: int, n: int, ratio: float = 1.0, sigma: float = SIGMA, shared: float = 0.0
) -> Graphs:
    """Paired log ratios of two arms whose times have a relative noise of `sigma` in one ratio.

    `shared` is the part of its variance that all graphs of a block have in common.
    """
    common = rng.normal(0, sigma * np.sqrt(shared), n)
    own = rng.normal(0, sigma * np.sqrt(1 - shared), (graphs, n))
    return [dict(enumerate(np.log(ratio) + common + of_graph)) for of_graph in own]


def verdicts(graphs: int, n: int, ratio: float, sigma: float = SIGMA, seed: int = 7, shared: float = 0.0) -> Counter:
    """Verdicts over many runs, each with an A/A control of its own."""
    rng = np.random.default_rng(seed)

    def drawn(of: float) -> Graphs:
        return blocks(rng, graphs, n, of, sigma, shared)

    return Counter(compare(drawn(ratio), noise(drawn(1.0))).verdict for _ in range(TRIALS))


@pytest.mark.parametrize(("graphs", "n", "rate"), [(1, 7, 0.9), (3, 3, 0.8), (3, 5, 0.9), (6, 3, 0.8)])
def test_identical_arms_tie_at_the_stated_rate(graphs: int, n: int, rate: float) -> None:
    seen = verdicts(graphs, n, ratio=1.0)
    assert seen["tie"] >= rate * TRIALS
    assert seen["faster"] + seen["slower"] <= 0.05 * TRIALS


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.1])
def test_identical_arms_are_never_called_different_more_than_one_time_in_twenty(sigma: float) -> None:
    for graphs, n in ((1, 3), (1, 7), (3, 3)):
        seen = verdicts(graphs, n, ratio=1.0, sigma=sigma)
        assert seen["faster"] + seen["slower"] <= 0.05 * TRIALS


@pytest.mark.parametrize(("ratio", "verdict"), [(0.8, "faster"), (1.25, "slower"), (8.0, "slower"), (0.1, "faster")])
def test_a_known_ratio_is_judged_right(ratio: float, verdict: str) -> None:
    seen = verdicts(graphs=3, n=3, ratio=ratio)
    assert seen[verdict] >= 0.97 * TRIALS
    assert seen["slower" if verdict == "faster" else "faster"] == 0


def test_a_difference_below_the_threshold_is_never_a_finding() -> None:
    seen = verdicts(graphs=3, n=7, ratio=1.01, sigma=0.002)
    assert seen == {"tie": TRIALS}


def test_graphs_of_one_block_are_not_so_many_measurements() -> None:
    """What they share would else be counted once for each: with six graphs the intervals would be half as wide."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(1000):
        ratio = compare(blocks(rng, 6, 5, ratio=1.3, sigma=0.1, shared=0.6), noise([])).ratio
        covered += ratio.low <= 1.3 <= ratio.high
    assert 0.93 <= covered / 1000 <= 0.97
    seen = verdicts(6, 5, ratio=1.0, sigma=0.1, shared=0.6)
    assert seen["faster"] + seen["slower"] <= 0.05 * TRIALS


def test_a_block_does_not_stand_out_for_the_graphs_it_lacks() -> None:
    assert by_block([{0: 0.1, 1: 0.1}, {0: 2.1}]) == pytest.approx([1.1, 1.1])
    assert by_block([{0: 0.1, 1: 0.3}, {0: 2.1, 1: 2.3}]) == pytest.approx([1.1, 1.3])
    assert by_block([{}]) == []


def test_a_true_difference_is_not_called_a_tie_when_the_run_is_noisy() -> None:
    seen = verdicts(graphs=1, n=3, ratio=1.3, sigma=0.3)
    assert seen["tie"] <= 0.01 * TRIALS
    assert seen["inconclusive"] > 0.5 * TRIALS


def test_verdicts_pool_what_no_single_graph_shows() -> None:
    one, six = verdicts(1, 3, ratio=1.12), verdicts(6, 3, ratio=1.12)
    assert six["slower"] >= 0.95 * TRIALS > one["slower"]


@pytest.mark.parametrize("n", [3, 7])
def test_intervals_cover_the_truth_at_the_stated_rate(n: int) -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(1000):
        interval = geometric_mean([np.exp(np.log(2.5) + rng.normal(0, 0.1, n))])
        covered += interval.low <= 2.5 <= interval.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_few_blocks_give_student_and_many_the_bootstrap() -> None:
    rng = np.random.default_rng(5)
    few = rng.normal(1, 0.2, 7)
    low, high = stats.t.interval(0.95, 6, few.mean(), stats.sem(few))
    assert (mean([few]).low, mean([few]).high) == pytest.approx((low, high))
    many = rng.exponential(1, statistics.BOOTSTRAP_FROM)
    estimate = mean([many])
    centre = (estimate.low + estimate.high) / 2
    assert centre > estimate.value, "a bootstrap follows the skew of the values, Student's t does not"
    assert mean([many]) == estimate, "the bootstrap is seeded"


def test_strata_weigh_the_same_and_their_differences_are_no_noise() -> None:
    estimate = mean([[1.0, 1.2, 0.8], [100.0, 100.2, 99.8]])
    assert estimate.value == pytest.approx(50.5)
    assert estimate.high - estimate.low < 1, "only the spread within a graph counts"
    assert estimate.n == 6


def test_one_block_has_no_interval_and_no_verdict() -> None:
    comparison = compare(one(2.0), noise([]))
    assert comparison.ratio.low is None
    assert comparison.ratio.high is None
    assert comparison.verdict == "inconclusive"


def test_values_that_do_not_vary_have_an_interval_without_width() -> None:
    estimate = geometric_mean([[0.3, 0.3, 0.3]])
    assert estimate.low == estimate.high == pytest.approx(0.3)


def test_nothing_to_estimate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean([[], []])


def test_the_noise_threshold_is_the_far_end_of_the_control() -> None:
    floor = noise(one(0.10, 0.12, 0.11, 0.09))
    assert not floor.covers_one
    assert floor.threshold == pytest.approx(floor.ratio.high - 1)
    assert compare(one(*np.log([1.1, 1.11, 1.09, 1.1])), floor).verdict != "slower"


def test_a_quiet_control_still_leaves_a_threshold_of_three_percent() -> None:
    assert noise(one(0.0001, -0.0001, 0.0)).threshold == pytest.approx(0.03)


def test_without_a_control_ten_percent_is_taken() -> None:
    floor = noise([])
    assert floor == Noise(None, None, 0.10)
    assert compare(one(*np.log([1.08, 1.081, 1.079])), floor).verdict == "tie"
    assert compare(one(*np.log([1.15, 1.151, 1.149])), floor).verdict == "slower"


def test_the_signed_rank_test_speaks_from_six_pairs_on_and_can_object() -> None:
    assert compare(one(*[0.5] * 5), noise([])).p is None
    outvoted = compare(one(-0.01, -0.012, -0.011, -0.01, -0.013, 1.0, 1.0, 1.0, 1.0), noise([]))
    assert outvoted.p > 0.05
    assert outvoted.verdict == "inconclusive"


def test_two_wildly_different_blocks_stay_finite() -> None:
    comparison = compare(one(-300.0, 500.0), noise([]))
    assert np.isfinite([comparison.ratio.low, comparison.ratio.value, comparison.ratio.high]).all()
    assert comparison.ratio.vague


def test_what_two_identical_arms_may_differ_by_tells_no_arm_from_the_best() -> None:
    noisy = {"threads": {0: 2.0, 1: 10.0}, "dask": {0: 1.8, 1: 1.1}}
    assert level_with_best(noisy, noise([])) == ("dask", "threads")
    near = {"threads": {0: 1.0, 1: 1.5}, "dask": {0: 1.1, 1: 1.0}}
    assert level_with_best(near, noise([])) == ("dask", "threads")
    apart = {"threads": {0: 3.0, 1: 3.1, 2: 3.05}, "dask": {0: 1.0, 1: 1.05, 2: 1.02}}
    assert level_with_best(apart, noise(one(0.01, -0.02, 0.01))) == ("dask",)


def test_in_one_block_the_control_says_what_can_be_told() -> None:
    assert level_with_best({"threads": {0: 1.3}, "dask": {0: 1.0}, "ray": {0: 1.04}}, noise([])) == ("dask", "ray")
    # The control took 0.099 s where the baseline took 1.97 s: 26 times is nothing.
    floor = noise(one(np.log(0.099 / 1.97)))
    assert level_with_best({"threads": {0: 1.97}, "lean-threads": {0: 0.076}}, floor) == ("lean-threads", "threads")
    quiet = noise(one(np.log(1.01)))
    assert level_with_best({"threads": {0: 1.97}, "lean-threads": {0: 0.076}}, quiet) == ("lean-threads",)
    assert level_with_best({"threads": {0: 1.0}, "dask": {1: 9.0}}, noise([])) == ("threads", "dask"), "no common block"


@pytest.mark.parametrize("sigma", [0.03, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_identical_arms_are_level_however_noisy_the_run(sigma: float, n: int) -> None:
    """Each with a control of its own, whose ratio shares the baseline with the arm's."""
    rng = np.random.default_rng(17)
    told_apart = 0
    for _ in range(TRIALS):
        yours, control, dask = np.exp(rng.normal(0, sigma, (3, n)))
        floor = noise([dict(enumerate(np.log(control / yours)))])
        by_arm = {"yours": dict(enumerate(yours)), "dask": dict(enumerate(dask))}
        told_apart += len(level_with_best(by_arm, floor)) == 1
    assert told_apart <= 0.06 * TRIALS


def test_a_large_difference_in_a_quiet_run_is_told() -> None:
    rng = np.random.default_rng(19)
    seen = 0
    for _ in range(TRIALS):
        yours, control, dask = np.exp(rng.normal(0, 0.03, (3, 5)))
        floor = noise([dict(enumerate(np.log(control / yours)))])
        by_arm = {"yours": dict(enumerate(yours)), "dask": dict(enumerate(dask / 1.5))}
        seen += level_with_best(by_arm, floor) == ("dask",)
    assert seen >= 0.97 * TRIALS
