"""Waiting for something, never longer than a limit."""

from __future__ import annotations

import itertools

import pytest

from runner_lab.runners.isolation import waiting
from runner_lab.runners.isolation.waiting import OverdueError, last_within, wait_for


@pytest.fixture
def clock(monkeypatch):
    """Time passes only where somebody sleeps; the seconds slept."""
    now = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    return now


def test_what_comes_is_given_as_soon_as_it_is_there(clock):
    answers = iter(["", "", "here"])

    assert wait_for("it", lambda: next(answers), 10.0, poll_s=0.5) == "here"
    assert clock == [101.0]


def test_what_does_not_come_is_named_with_how_long_it_had(clock):
    with pytest.raises(OverdueError, match=r"^the second node did not come within 2\.5 s$"):
        wait_for("the second node", lambda: None, 2.5)
    assert clock == [pytest.approx(102.5)]


def test_it_is_asked_once_more_when_the_time_is_over(clock):
    assert last_within(lambda: clock[0] >= 110.0, 10.0, poll_s=7.0)
    assert last_within(lambda: "asked", 0.0) == "asked"
    assert last_within(lambda: "asked", -1.0) == "asked"


def test_what_is_enough_may_be_said(clock):
    numbers = itertools.count()

    assert last_within(lambda: next(numbers), 10.0, enough=lambda n: n == 3) == 3
    assert last_within(lambda: next(numbers), 1.0, enough=lambda n: False) > 4


def test_what_the_question_raises_is_raised(clock):
    with pytest.raises(ZeroDivisionError):
        wait_for("it", lambda: 1 // 0, 10.0)
