"""The events of tasks: sent to the API of their task, in bursts, with what is related looked up once."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

from prefect._internal.concurrency.api import create_call
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events.schemas.events import Event, RelatedResource
from prefect.events.worker import EventsWorker
from prefect.settings.context import get_current_settings

from .origin import client_key, events_worker_here
from .recent import Recent
from .savings import BURSTS, RELATED

# Long enough for the events of one short task to come in together, short beside the lag of the server.
_BURST_S = 0.01

# Bursts that may be empty before the loop hands the waiting over to a thread again: a tenth of a second.
_LOOKS = 10


class LeanEventsWorker(EventsWorker):
    """Prefect's events worker, woken once for a burst of events, which gathers what is related to them once.

    Prefect hands every event from the task's thread to a queue thread to the event loop's thread. A task of no length
    has three of them, and each hand-over makes the task wait for the interpreter lock. While events keep coming, this
    loop looks for them itself.

    Prefect also attaches flow run, flow, deployment, work pool and tags to each event, by a coroutine for every one.
    They are the same for all tasks of a flow run.

    It serves one address, where Prefect has one worker for all addresses of a kind.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # `EventsWorker.instance()` is how Prefect gets at it.
        self._key = hash((EventsWorker, *args))
        self._holders = 0
        self._retired = False
        self._holding = threading.Lock()
        self._related: Recent[list[RelatedResource]] = Recent(size=64)

    def send(self, item: Any) -> None:
        # Prefect finds one worker for all addresses: the one that was put there last. The event's context knows better.
        mine = events_worker_here.get()
        if mine is None or mine is self or mine._stopped:
            super().send(item)
        else:
            mine.send(item)

    def hold(self) -> bool:
        """Keep it from stopping until `release`. False when it is too late for that."""
        with self._holding:
            if self._stopped or self._retired:
                return False
            self._holders += 1
            return True

    def release(self) -> None:
        with self._holding:
            self._holders -= 1
            unused = self._retired and not self._holders
        if unused:
            self._stop()

    def retire(self) -> None:
        """Stop as soon as nobody holds it."""
        with self._holding:
            self._retired = True
            unused = not self._holders
        if unused:
            self._stop()

    def _remove_instance(self) -> None:
        # Prefect before 3.8.8 would also put away another worker that has taken its place.
        with _instance_cache_lock():
            if EventsWorker._instances.get(self._key) is self:  # type: ignore[misc]
                del EventsWorker._instances[self._key]  # type: ignore[misc]

    async def _main_loop(self) -> None:
        if not BURSTS.on():
            await super()._main_loop()
            return
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

    async def _handle(self, event: Event) -> None:
        key = _related_by(event, self._context_cache[event.id]) if RELATED.on() else None
        if key is not None and (related := self._related.found(key)) is not None:
            del self._context_cache[event.id]
            event.related += related
            await self._client.emit(event)
            return
        before = len(event.related)
        await super()._handle(event)
        # Where there is no room for all of them Prefect warns, with every event.
        if key is not None and len(event.related) < get_current_settings().server.events.maximum_related_resources:
            self._related.get(key, lambda: event.related[before:])

    def _queued(self) -> list[Any]:
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found


def _related_by(event: Event, context: Context) -> tuple[Any, ...] | None:
    """What decides which resources Prefect attaches to an event of the task run of `context`. None for other events."""
    flow_run_context, task_run_context = context.get(FlowRunContext.__var__), context.get(TaskRunContext.__var__)
    flow_run, task_run = getattr(flow_run_context, "flow_run", None), getattr(task_run_context, "task_run", None)
    if not isinstance(flow_run, FlowRun) or task_run is None or event.resource.id != f"prefect.task-run.{task_run.id}":
        return None
    looked_up = (flow_run.flow_id, flow_run.deployment_id, flow_run.work_queue_id, flow_run.work_pool_name)
    # What an event names itself is not attached.
    named = tuple(resource.id for resource in event.related)
    return flow_run.id, flow_run.name, tuple(flow_run.tags), looked_up, named


_events_workers: Recent[LeanEventsWorker] = Recent(size=4, dropped=LeanEventsWorker.retire)


@contextmanager
def events_by_address(key: str) -> Iterator[None]:
    """Send the events of this context by an events worker of the current address, which has this `key`."""
    end = _by_worker_of(key)
    try:
        yield
    finally:
        end()


def events_here() -> Callable[[], None]:
    """Send the events of this context likewise: those of its threads, or those that its pool hands to it.

    Returns what ends that.
    """
    # In a process of a pool, what tasks run in has seen to it; its events go to the driver, whatever the address.
    if EventsWorker._client_override is not None:
        return lambda: None
    return _by_worker_of(client_key(get_current_settings()))


def _by_worker_of(key: str) -> Callable[[], None]:
    worker = _held(key)
    if worker is None:
        return lambda: None
    token = events_worker_here.set(worker)

    def end() -> None:
        # A generator flow may be ended in another context than it began in.
        with contextlib.suppress(ValueError):
            events_worker_here.reset(token)
        worker.release()

    return end


def _held(key: str) -> LeanEventsWorker | None:
    """The events worker of an address. It does not stop until it is released, however many others are asked for.

    None where something else stands in for Prefect's events workers, as its test fixtures do: that serves as it is.
    """
    try:
        while not (worker := _events_workers.get(key, _instance)).hold():
            _events_workers.forget(key, worker)
    except _StandsIn:
        return None
    _put_in_place(worker)
    return worker


class _StandsIn(Exception):
    """Prefect has no events worker of this class to give."""


def _instance() -> LeanEventsWorker:
    worker: Any = LeanEventsWorker.instance()
    if not isinstance(worker, LeanEventsWorker):
        raise _StandsIn
    # Prefect before 3.8.8 keeps it under this key as well, and would give it again for another address.
    EventsWorker._instances.pop(hash((LeanEventsWorker, worker.client_type, worker.client_options)), None)  # type: ignore[misc]
    return worker


def _put_in_place(worker: LeanEventsWorker) -> None:
    """Where Prefect looks for its own: what sends an event asks there first."""
    instances: dict[int, EventsWorker] = EventsWorker._instances  # type: ignore[misc]
    if instances.get(worker._key) is not worker:
        with _instance_cache_lock():
            instances[worker._key] = worker


def _instance_cache_lock() -> Any:
    # Prefect before 3.8.8 has none.
    return getattr(EventsWorker, "_instance_cache_lock", None) or contextlib.nullcontext()


def events_workers() -> list[EventsWorker]:
    """Those of this process that run."""
    instances: dict[int, Any] = EventsWorker._instances  # type: ignore[misc]
    # All services of Prefect are there. That of the logs never says that its queue is empty.
    found = [worker for worker in list(instances.values()) if isinstance(worker, EventsWorker)]
    return list(dict.fromkeys(found + [worker for worker in _events_workers.values() if not worker._stopped]))
