"""The events of tasks, handed over in bursts."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from typing import Any

from prefect._internal.concurrency.api import create_call
from prefect.events.worker import EventsWorker
from prefect.settings.context import get_current_settings

from .clients import client_key
from .recent import Recent

# Long enough for the events of one short task to come in together, short beside the lag of the server.
_BURST_S = 0.01

# Bursts that may be empty before the loop hands the waiting over to a thread again: a tenth of a second.
_LOOKS = 10


class BurstEventsWorker(EventsWorker):
    """Prefect's events worker, woken once for a burst of events.

    Prefect hands every event from the task's thread to a queue thread to the event loop's thread. A task of no length
    has three of them, and each hand-over makes the task wait for the interpreter lock. While events keep coming, this
    loop looks for them itself.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # `EventsWorker.instance()` is how Prefect gets at it.
        self._key = hash((EventsWorker, *args))

    async def _main_loop(self) -> None:
        while True:
            events = [await self._queue_get_thread.submit(create_call(self._queue.get)).aresult()]
            empty = 0
            while empty < _LOOKS:
                if events != [None] and not self._stopped:
                    await asyncio.sleep(_BURST_S)
                events += self._queued()
                empty = 0 if events else empty + 1
                for event in events:
                    try:
                        if event is None:
                            return
                        await self._handle(event)
                    except Exception:
                        self._logger.error("Failed to send event %r", event, exc_info=True)
                    finally:
                        self._queue.task_done()
                events = []

    def _queued(self) -> list[Any]:
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found


_events_workers: Recent[EventsWorker] = Recent(size=4, dropped=lambda worker: worker._stop())


def use_events_worker(key: str) -> None:
    """Send events by a burst worker of the current address. Upstream's keeps to the address that it began with."""
    while (worker := _events_workers.get(key, BurstEventsWorker.instance))._stopped:
        _events_workers.forget(key)
    instances: dict[int, EventsWorker] = EventsWorker._instances  # type: ignore[misc]
    if instances.get(worker._key) is not worker:
        with EventsWorker._instance_cache_lock:
            instances[worker._key] = worker


def burst_events_here() -> None:
    """Send the events of this process in bursts too: those of its threads, or those that its pool hands to it."""
    use_events_worker(client_key(get_current_settings()))


def flush_events() -> None:
    """Wait until the events of this process are sent."""
    for worker in events_workers():
        worker.wait_until_empty()


def events_workers() -> list[EventsWorker]:
    """Those of this process that run."""
    instances: dict[int, Any] = EventsWorker._instances  # type: ignore[misc]
    # All services of Prefect are there. That of the logs never says that its queue is empty.
    return [worker for worker in list(instances.values()) if isinstance(worker, EventsWorker)]
