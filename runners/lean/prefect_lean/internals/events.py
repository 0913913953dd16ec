"""The events of tasks, handed over in bursts."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar
from typing import Any

from prefect._internal.concurrency.api import create_call
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, SettingsContext, TaskRunContext
from prefect.events.schemas.events import Event, RelatedResource
from prefect.events.worker import EventsWorker
from prefect.settings.context import get_current_settings

from .clients import client_key
from .recent import Recent

# Long enough for the events of one short task to come in together, short beside the lag of the server.
_BURST_S = 0.01

# Bursts that may be empty before the loop hands the waiting over to a thread again: a tenth of a second.
_LOOKS = 10

# Events that cannot be sent, since the server is gone say, must not keep a process from ending.
_FLUSH_S = 5.0


class BurstEventsWorker(EventsWorker):
    """Prefect's events worker, woken once for a burst of events, which gathers what is related to them once.

    Prefect hands every event from the task's thread to a queue thread to the event loop's thread. A task of no length
    has three of them, and each hand-over makes the task wait for the interpreter lock. While events keep coming, this
    loop looks for them itself.

    Prefect also attaches flow run, flow, deployment, work pool and tags to each event, by a coroutine for every one.
    They are the same for all tasks of a flow run.
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
        mine = _mine.get()
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

    async def _handle(self, event: Event) -> None:
        key = _related_by(event, self._context_cache[event.id])
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


# The burst worker that events of this context go by. Upstream has one for all addresses of its kind, and keeps it.
_mine: ContextVar[BurstEventsWorker | None] = ContextVar("lean_events_worker", default=None)

_events_workers: Recent[BurstEventsWorker] = Recent(size=4, dropped=BurstEventsWorker.retire)


@contextmanager
def events_by_address(key: str) -> Iterator[None]:
    """Send the events of this context by a burst worker of the current address, which has this `key`."""
    worker = _held(key)
    token = _mine.set(worker)
    try:
        yield
    finally:
        _mine.reset(token)
        worker.release()


def _held(key: str) -> BurstEventsWorker:
    """The burst worker of an address. It does not stop until it is released, however many others are asked for."""
    while not (worker := _events_workers.get(key, BurstEventsWorker.instance)).hold():
        _events_workers.forget(key, worker)
    _put_in_place(worker)
    return worker


def _put_in_place(worker: BurstEventsWorker) -> None:
    """Where Prefect looks for its own: what sends an event asks there first."""
    instances: dict[int, EventsWorker] = EventsWorker._instances  # type: ignore[misc]
    if instances.get(worker._key) is not worker:
        with EventsWorker._instance_cache_lock:
            instances[worker._key] = worker


def burst_events_here() -> Callable[[], None]:
    """Send the events of this context in bursts: those of its threads, or those that its pool hands to it.

    Returns what ends that.
    """
    # In a process of a pool, what tasks run in has seen to it; its events go to the driver, whatever the address.
    if EventsWorker._client_override is not None:
        return lambda: None
    worker = _held(client_key(get_current_settings()))
    token = _mine.set(worker)

    def end() -> None:
        # A generator flow may be ended in another context than it began in.
        with contextlib.suppress(ValueError):
            _mine.reset(token)
        worker.release()

    return end


class Origin:
    """The API that a submit is about. What a thread without a context says of the task later, it says there."""

    def __init__(self) -> None:
        flow_run_context = FlowRunContext.get()
        self._flow_run = flow_run_context.flow_run if flow_run_context else None
        self._settings = SettingsContext.get()
        self._events_worker = _mine.get()

    @contextmanager
    def entered(self, with_flow_run: bool = False) -> Iterator[None]:
        """With the flow run, an event that is emitted within belongs to it: the server has that from nothing else."""
        with ExitStack() as stack:
            if with_flow_run:
                known = FlowRunContext.model_construct(flow_run=self._flow_run) if self._flow_run else None
                # None is what `get` gives where nothing has been entered.
                entered: Any = FlowRunContext.__var__.set(known)  # type: ignore[arg-type]
                stack.callback(FlowRunContext.__var__.reset, entered)
            if self._settings is not None:
                # A copy: a context cannot be entered twice.
                stack.enter_context(self._settings.model_copy())
            token = _mine.set(self._events_worker)
            stack.callback(_mine.reset, token)
            yield


def flush_events() -> None:
    """Wait until the events of this process are sent, or for some seconds."""
    deadline = time.monotonic() + _FLUSH_S
    for worker in events_workers():
        _wait_until_empty(worker._queue, deadline - time.monotonic())


def _wait_until_empty(events: queue.Queue[Any], limit_s: float) -> None:
    # As `Queue.join`, which has no limit.
    with events.all_tasks_done:
        events.all_tasks_done.wait_for(lambda: not events.unfinished_tasks, limit_s)


def events_workers() -> list[EventsWorker]:
    """Those of this process that run."""
    instances: dict[int, Any] = EventsWorker._instances  # type: ignore[misc]
    # All services of Prefect are there. That of the logs never says that its queue is empty.
    found = [worker for worker in list(instances.values()) if isinstance(worker, EventsWorker)]
    return list(dict.fromkeys(found + [worker for worker in _events_workers.values() if not worker._stopped]))
