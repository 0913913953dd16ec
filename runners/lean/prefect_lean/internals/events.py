"""The events of tasks: sent to the API of their task, in bursts, with what is related looked up once."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
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
from .recording import ALL, Held, Recording, recording_here
from .savings import BURSTS, FINAL, RELATED, WINDOW

# Long enough for the events of one short task to come in together, short beside the lag of the server.
_BURST_S = 0.01

# How often it is looked for task runs that have been held back for long enough.
_SWEEP_S = 1.0

# How soon a task goes on that had to wait with its event since too many wait already.
_FULL_S = 0.05

# How long an events worker may take to connect before it is taken for one that never will.
_CONNECTED_S = 5.0
_LOOK_S = 0.02

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

    What the server cannot record as fast as it comes waits here (see `window`). With `record="final"`, what is said of
    a task before its end is not sent where the end comes soon.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # `EventsWorker.instance()` is how Prefect gets at it.
        self._key = hash((EventsWorker, *args))
        self._holders = 0
        self._retired = False
        self._holding = threading.Lock()
        self._related: Recent[list[RelatedResource]] = Recent(size=64)
        self._held = Held()
        self._sweeping = False
        self._share = ALL
        self._window: Any = None

    def send(self, item: Any) -> None:
        # Prefect finds one worker for all addresses: the one that was put there last. The event's context knows better.
        mine = events_worker_here.get()
        if mine is None or mine is self or mine._stopped:
            self._send(item)
        else:
            mine._send(item)

    def _send(self, item: Any) -> None:
        # Memory is bounded: where it is full the task waits, unless the server has taken nothing for long.
        while (window := self._window) is not None and window.waiting.is_full() and window.is_moving():
            if threading.get_ident() == window.thread:
                break
            time.sleep(_FULL_S)
        if recording_here.get().states != "final" or not FINAL.on():
            super().send(item)
            return
        self._send_each(self._held.take(item))
        if self._held and not self._sweeping and self._loop is not None:
            self._sweeping = True
            self._loop.call_soon_threadsafe(self._sweep)

    def _send_each(self, items: Iterable[tuple[Context, Event]]) -> None:
        for context, event in items:
            context.run(super().send, event)

    def _sweep(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._send_each(self._held.due())
        self._sweeping = bool(self._held) and self._loop is not None
        if self._sweeping and self._loop is not None:
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _stop(self, at_exit: bool = False) -> None:
        if not self._stopped:
            self._send_each(self._held.due(after_s=0))
        super()._stop(at_exit)

    def share(self, recording: Recording) -> None:
        """Have this process keep to its share of what the server holds."""
        if recording != self._share:
            self._share = recording
            if (window := self._window) is not None and self._loop is not None:
                self._loop.call_soon_threadsafe(window.share, recording.processes, recording.folder)

    def can_take_over(self) -> bool:
        """Whether it has a window. One that has just been started has it once it has connected."""
        deadline = time.monotonic() + _CONNECTED_S
        while self._window is None and not self._stopped and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return self._window is not None and not self._stopped

    def take_over(self, events: list[Event]) -> None:
        """Send what another process could not send any more."""
        if (window := self._window) is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(window.take_over, events)

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        async with super()._lifespan():
            if not WINDOW.on():
                yield
                return
            from .window import Window, is_windowed

            if not is_windowed(self._client):
                yield
                return
            window = Window(self._client, self._orchestration_client)
            window.share(self._share.processes, self._share.folder)
            async with window:
                self._client = self._window = window  # type: ignore[assignment]
                yield

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
        try:
            await super()._handle(event)
        except Exception:
            if self._window is None:
                raise
            # A server that is away cannot be asked for what is related. That is lost then, and the event is not.
            await self._window.emit(event)
            return
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
def events_by_address(key: str, recording: Recording = ALL) -> Iterator[None]:
    """Send the events of this context by an events worker of the current address, which has this `key`."""
    end = _by_worker_of(key, recording)
    try:
        yield
    finally:
        end()


def events_here(states: str = "all") -> Callable[[], None]:
    """Send the events of this context likewise: those of its threads, or those that its pool hands to it.

    Returns what ends that.
    """
    recording = Recording(states)
    # In a process of a pool, what tasks run in has seen to it; its events go to the driver, whatever the address.
    if EventsWorker._client_override is not None:
        return _recorded_by(recording)
    return _by_worker_of(client_key(get_current_settings()), recording)


def _recorded_by(recording: Recording) -> Callable[[], None]:
    token = recording_here.set(recording)

    def end() -> None:
        # A generator flow may be ended in another context than it began in.
        with contextlib.suppress(ValueError):
            recording_here.reset(token)

    return end


def _by_worker_of(key: str, recording: Recording) -> Callable[[], None]:
    worker = _held(key)
    end_recording = _recorded_by(recording)
    if worker is None:
        return end_recording
    worker.share(recording)
    token = events_worker_here.set(worker)

    def end() -> None:
        end_recording()
        with contextlib.suppress(ValueError):
            events_worker_here.reset(token)
        worker.release()

    return end


def take_over(folder: str) -> bool:
    """Send what processes that have ended left in `folder`. Returns False where nobody can, and leaves it there."""
    from .waiting import has_kept_events, kept_events

    if not has_kept_events(folder):
        return True
    # A generator flow may be ended in another context than it began in.
    here = events_worker_here.get()
    if here is not None and here._stopped:
        here = None
    worker = here or _held(client_key(get_current_settings()))
    if worker is None:
        return False
    try:
        if not worker.can_take_over():
            return False
        for events in kept_events(folder):
            worker.take_over(events)
    finally:
        if here is None:
            worker.release()
    return True


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
