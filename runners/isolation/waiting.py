"""Waiting for something, never longer than a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.1

T = TypeVar("T")


class OverdueError(TimeoutError):
    """What was waited for did not come; the message is one line that says what it was, and how long it had."""


def wait_for(what: str, ready: Callable[[], T], limit_s: float, poll_s: float = POLL_S) -> T:
    """Wait until `ready` gives something true, and give it.

    Args:
        what: is waited for, as the subject of "did not come within ... s".
        limit_s: how long to wait; it is asked once more when that is over.
        poll_s: seconds between two questions.

    Raises:
        OverdueError: it did not come. What `ready` raises is raised as it is.
    """
    if came := last_within(ready, limit_s, poll_s):
        return came
    raise OverdueError(f"{what} did not come within {limit_s:g} s")


def last_within(
    ask: Callable[[], T], limit_s: float, poll_s: float = POLL_S, enough: Callable[[T], object] = bool
) -> T:
    """What `ask` gives as soon as that is enough, or else what it gives when `limit_s` seconds are over.

    For what it is no error not to come to. By default what is true is enough.
    """
    end_s = time.monotonic() + limit_s
    while True:
        over = time.monotonic() >= end_s
        if enough(answer := ask()) or over:
            return answer
        time.sleep(min(poll_s, max(0.0, end_s - time.monotonic())))
