"""METG and its search, on curves whose METG is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_lab.reports.analysis.metg import Metg, Sample, estimate, next_duration


def runner(cost_s: float, noise: float = 0.0, seed: int = 1, top: float = 1.0) -> Callable[[float], float]:
    """Efficiency of a runner that costs `cost_s` a task and levels off at `top`."""
    rng = np.random.default_rng(seed)
    return lambda seconds: top * seconds / ((seconds + cost_s) * math.exp(rng.normal(0, noise)))


def search(
    measure: Callable[[float], float], start_s: float, shortest_s: float = 1e-4, longest_s: float = 10.0, most: int = 24
) -> tuple[Metg, tuple[Sample, ...]]:
    """METG as a run finds it: `measure` takes body seconds and gives one sample of the efficiency."""
    samples: list[Sample] = []
    while (duration := next_duration(samples, start_s, shortest_s, longest_s, most=most)) is not None:
        samples.append(Sample(duration, measure(duration)))
    found = estimate(samples)
    assert found is not None
    return found, tuple(samples)


@settings(max_examples=60, deadline=None)
@given(cost=st.floats(2e-3, 2.0), start=st.floats(1e-3, 5.0))
def test_a_quiet_curve_is_found_from_any_start(cost: float, start: float) -> None:
    found, samples = search(runner(cost), start)
    assert found.bound == "about"
    assert found.seconds == pytest.approx(cost, rel=0.05)
    assert found.low <= cost <= found.high
    assert len(samples) <= 16


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_noise_costs_samples_and_not_the_truth(noise: float) -> None:
    found = [(cost, *search(runner(cost, noise, seed), 0.05)) for seed in range(60) for cost in (0.004, 0.3)]
    about = [(cost, metg) for cost, metg, _ in found if metg.bound == "about"]
    assert len(about) == len(found)
    assert np.mean([metg.low <= cost <= metg.high for cost, metg in about]) >= 0.9
    assert np.median([abs(metg.seconds / cost - 1) for cost, metg in about]) <= 0.1
    assert np.mean([len(samples) for _, _, samples in found]) <= 12


def test_one_wild_sample_does_not_mislead_the_search() -> None:
    calm, calls = runner(0.05, 0.03), []

    def measure(seconds: float) -> float:
        calls.append(seconds)
        return 0.05 if len(calls) == 2 else calm(seconds)

    found, _ = search(measure, 0.02)
    assert found.low <= 0.05 <= found.high


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_what_levels_off_at_half_is_not_reached(noise: float) -> None:
    """Two workers under the GIL come as near to 50 % as one likes."""
    found = [search(runner(0.02, noise, seed, top=0.5), 0.05)[0] for seed in range(30)]
    assert sum(metg.bound == "above" for metg in found) >= 28
    assert all(metg.high is None for metg in found if not metg.reached)


def test_a_dear_runner_is_not_reached_and_a_free_one_is_below() -> None:
    dear, _ = search(runner(100.0), 0.1, longest_s=10.0)
    assert (dear.bound, dear.reached, dear.seconds, dear.high) == ("above", False, 10.0, None)
    free, _ = search(runner(1e-6), 0.1, shortest_s=1e-3)
    assert (free.bound, free.reached, free.seconds, free.low) == ("below", True, 1e-3, None)


def test_the_search_stays_within_its_limits_and_its_budget() -> None:
    rng = np.random.default_rng(5)
    _, samples = search(lambda _: float(rng.uniform(0, 1)), 1.0, shortest_s=0.01, longest_s=2.0, most=15)
    assert len(samples) <= 15
    assert all(0.01 <= sample.seconds <= 2.0 for sample in samples)
    assert all(float(f"{sample.seconds:.2g}") == sample.seconds for sample in samples)


def test_the_search_needs_no_memory_but_its_samples() -> None:
    samples = list(search(runner(0.07, 0.05), 0.01)[1])
    replayed = [next_duration(samples[:i], 0.01, 1e-4, 10.0) for i in range(len(samples))]
    assert replayed == [sample.seconds for sample in samples]
    assert next_duration(samples, 0.01, 1e-4, 10.0) is None


def test_records_of_a_grid_are_enough_for_an_estimate() -> None:
    grid = [Sample(d, d / (d + 0.03)) for d in (0.005, 0.02, 0.08, 0.3) for _ in range(3)]
    assert estimate(grid).seconds == pytest.approx(0.03, rel=0.02)
    assert estimate([]) is None
    assert estimate([Sample(0.0, 0.9)]) is None
    two = estimate([Sample(0.01, 0.2), Sample(1.0, 0.9)])
    assert (two.low, two.high) == (0.01, 1.0)


def test_the_last_crossing_counts() -> None:
    found = estimate([Sample(d, e) for d, e in ((0.001, 0.8), (0.01, 0.2), (0.1, 0.9)) for _ in range(2)])
    assert 0.01 < found.seconds < 0.1
