"""What each profile measures: stock and lean beside each other."""

from __future__ import annotations

import pytest

from benchmarks.profiles import PROFILES
from runners import catalog


def test_the_full_profile_measures_every_arm():
    assert set(PROFILES["full"].arms) == set(catalog.load().arms)


def test_the_quick_profile_measures_every_arm_but_the_lean_ones():
    assert set(PROFILES["quick"].arms) == {name for name, arm in catalog.load().arms.items() if not arm.lean}


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_lean_arm_stands_after_its_stock_one(name):
    arms = PROFILES[name].arms
    for lean in (arm for arm in arms if arm.startswith("lean-")):
        assert arms.index(lean) > arms.index(lean.removeprefix("lean-"))


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_variants_and_payloads_are_as_wide_as_an_empty_graph(name):
    suites = PROFILES[name].suites
    widths = {graph.width for graph in suites["overhead"]}
    for suite in ("payload", "cached", "retrying"):
        assert {graph.width for graph in suites[suite]} <= widths
