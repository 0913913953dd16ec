"""Waiting until what tasks said of themselves has been sent."""

from __future__ import annotations

import queue
import time
from typing import Any

from .savings import EVENTS

# Events that cannot be sent, since the server is gone say, must not keep a process from ending.
_FLUSH_S = 5.0

_LOOK_S = 0.005


def flush_events() -> None:
    """Wait until the events of this process are sent, or for some seconds."""
    deadline = time.monotonic() + _FLUSH_S
    for worker in _workers():
        _wait_until_empty(worker._queue, deadline - time.monotonic())
        window = getattr(worker, "_window", None)
        while window is not None and not window.is_sent() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)


def _workers() -> list[Any]:
    if EVENTS.on():
        from .events import events_workers

        return events_workers()
    from prefect.events.worker import EventsWorker

    # As far as it has them as before.
    found = list(getattr(EventsWorker, "_instances", {}).values())
    return [worker for worker in found if isinstance(worker, EventsWorker) and hasattr(worker, "_queue")]


def _wait_until_empty(events: queue.Queue[Any], limit_s: float) -> None:
    # As `Queue.join`, which has no limit.
    with events.all_tasks_done:
        events.all_tasks_done.wait_for(lambda: not events.unfinished_tasks, limit_s)
