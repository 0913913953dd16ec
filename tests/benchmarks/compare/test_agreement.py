"""The same result, or in one line what differs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_lab.benchmarks.compare.agreement import Agreement, IncomparableError, difference


@dataclass
class Rate:
    currency: str
    amount: float


class Plain:
    def __init__(self, held):
        self.held = held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (None, None),
        (0.1 + 0.2, 0.3),
        (float("nan"), float("nan")),
        ({"a": [1, 2.0]}, {"a": [1, 2.0]}),
        (numpy.array([1.0, numpy.nan]), numpy.array([1.0, numpy.nan])),
        ({"frame": numpy.arange(3)}, {"frame": numpy.arange(3)}),
        ([Rate("EUR", 0.3)], [Rate("EUR", 0.1 + 0.2)]),
        (Plain([1]), Plain([1])),
        (ValueError("a"), ValueError("a")),
    ],
)
def test_the_same(value, other):
    assert difference(value, other) is None


@pytest.mark.parametrize(
    ("value", "other", "told"),
    [
        (1, 2, "1, but 2"),
        (5_000_000_000_001, 5_000_000_000_000, "5000000000001, but 5000000000000"),
        (True, 1, "True, but 1"),
        ("1", 1, "str '1', but 1"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "at ['a'][1]: 2, but 3"),
        ([1, 2, 3], [1, 2], "3 items, but 2"),
        ([2, 1], [1, 2], "at [0]: 2, but 1; the same items in another order"),
        (numpy.array([1]), numpy.array([2]), "array([1]), but array([2])"),
        ([Rate("EUR", 1.0)], [Rate("EUR", 1.1)], "at [0]['amount']: 1.0, but 1.1"),
    ],
)
def test_what_differs_is_one_line(value, other, told):
    assert difference(value, other) == told


def test_what_cannot_be_compared_is_said_so():
    with pytest.raises(IncomparableError, match="a Slotted has no == to compare it by"):
        difference(Slotted(1), Slotted(2))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=25)
@given(json)
def test_a_copy_is_the_same(value):
    import copy

    assert difference(copy.deepcopy(value), value) is None


def test_the_first_result_is_what_the_others_are_held_against():
    agreement = Agreement(True, ("threads", "control"))

    assert [agreement.judge(arm, 4) for arm in ("threads", "control", "dask")] == [("same", "")] * 3
    assert agreement.judge("ray", 5) == ("different", "5, but 4 under threads")


def test_a_flow_that_disagrees_with_itself_is_not_compared_with_others():
    agreement = Agreement(True, ("threads", "control"))
    agreement.judge("threads", 1)

    result, remark = agreement.judge("control", 2)
    assert (result, remark) == ("unsteady", "two runs under threads alone differ already (2, but 1)")
    assert agreement.judge("dask", 3) == (result, remark)


def test_nothing_is_compared_where_it_was_not_asked_for():
    assert Agreement(False, ()).judge("threads", 1) == ("unasked", "")
    assert Agreement(True, ()).judge("threads", None) == ("nothing", "")
