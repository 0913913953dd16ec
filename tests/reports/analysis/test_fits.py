"""Fits on curves whose parameters are set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_lab.reports.analysis.fits import marginal_cost

SIZES = (13, 49, 145)


def curve(fixed: float, slope: float, quadratic: float = 0, blocks: int = 3, sigma: float = 0.0, seed: int = 1):
    rng = np.random.default_rng(seed)
    return {
        n: {b: (fixed + slope * n + quadratic * n * n) * float(np.exp(rng.normal(0, sigma))) for b in range(blocks)}
        for n in SIZES
    }


@given(st.floats(0, 20), st.floats(1e-5, 1))
def test_a_straight_line_is_recovered(fixed: float, slope: float) -> None:
    fit = marginal_cost(curve(fixed, slope))
    assert fit.per_task_s.value == pytest.approx(slope, rel=1e-4)
    assert fit.fixed_s == pytest.approx(fixed, abs=1e-5 + 1e-6 * fixed)
    assert fit.curvature.value == pytest.approx(0, abs=1e-3)
    assert fit.residual == pytest.approx(0, abs=1e-6)
    assert not fit.bent
    assert fit.makespan_s(1000) == pytest.approx(fixed + 1000 * slope, rel=1e-4)


def test_a_fixed_cost_stays_out_of_the_marginal_cost() -> None:
    pool, warm = marginal_cost(curve(7.0, 0.13)), marginal_cost(curve(0.02, 0.13))
    assert pool.per_task_s.value == pytest.approx(warm.per_task_s.value)
    assert pool.fixed_s == pytest.approx(7.0)


def test_curvature_is_the_change_of_slope_relative_to_the_mean() -> None:
    quadratic = 5e-4
    fit = marginal_cost(curve(0.1, 0.1, quadratic, sigma=0.002))
    truth = 2 * quadratic * (SIZES[-1] - SIZES[0]) / fit.per_task_s.value
    assert fit.curvature.value == pytest.approx(truth, rel=0.05)
    assert fit.bent
    assert fit.residual > 0.1


def test_the_interval_of_a_slope_covers_the_truth() -> None:
    fits = [marginal_cost(curve(0.1, 0.02, blocks=5, sigma=0.05, seed=seed)) for seed in range(200)]
    covered = sum(fit.per_task_s.low <= 0.02 <= fit.per_task_s.high for fit in fits)
    assert covered >= 0.92 * 200
    assert sum(fit.bent for fit in fits) <= 0.1 * 200


def test_too_little_to_fit_is_no_fit() -> None:
    assert marginal_cost({13: {0: 1.0}}) is None
    assert marginal_cost({}) is None
    assert marginal_cost({13: {0: 1.0}, 49: {1: 2.0}}) is None, "no block has both sizes"


def test_two_sizes_give_a_slope_without_curvature() -> None:
    fit = marginal_cost({10: {0: 1.0, 1: 1.1}, 20: {0: 2.0, 1: 2.1}})
    assert fit.per_task_s.value == pytest.approx(0.1)
    assert fit.curvature is None
    assert not fit.bent


def test_blocks_that_lack_a_size_are_left_out() -> None:
    makespans = curve(0.1, 0.02)
    del makespans[145][2]
    assert marginal_cost(makespans).by_block.keys() == {0, 1}
