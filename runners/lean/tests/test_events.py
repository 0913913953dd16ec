"""Which worker sends the events of a task, what it attaches to them, and for how long one waits for it."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import Flow, FlowRun, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events.clients import NullEventsClient
from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """What was sent, and by whom. No worker is started, nothing that was there before is touched."""
    from prefect_lean.internals import Recent, events

    found: list[tuple[Any, str]] = []
    monkeypatch.setattr(EventsWorker, "_instances", {})
    monkeypatch.setattr(EventsWorker, "send", lambda self, event: found.append((self, event)))
    monkeypatch.setattr(
        events.LeanEventsWorker, "instance", classmethod(lambda cls: cls(NullEventsClient, ())), raising=False
    )
    monkeypatch.setattr(events, "_events_workers", Recent(size=1, dropped=events.LeanEventsWorker.retire))
    return found


def test_events_go_to_the_api_of_their_task(sent):
    """Two at once in one process: what sends an event finds the worker that was put in place last."""
    from prefect_lean.internals.events import events_by_address

    def emit(event: str) -> Any:
        (worker,) = EventsWorker._instances.values()  # type: ignore[misc]
        worker.send(event)

    def other() -> None:
        with events_by_address("B"):
            emit("of B")

    with events_by_address("A"):
        emit("of A")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        emit("of A again")
    workers = [worker for worker, _ in sent]
    assert [event for _, event in sent] == ["of A", "of B", "of A again"]
    assert workers[0] is workers[2]
    assert workers[0] is not workers[1]


def test_worker_that_is_in_use_is_not_stopped(sent):
    from prefect_lean.internals.events import _held

    first = _held("A")
    second = _held("B")
    assert not first._stopped
    assert _held("B") is second
    first.release()
    assert first._stopped
    assert _held("A") is not first


def test_process_of_a_pool_has_one_worker(sent, monkeypatch):
    from prefect_lean import LeanProcessPoolTaskRunner

    monkeypatch.setattr(EventsWorker, "_client_override", (NullEventsClient, ()))
    with LeanProcessPoolTaskRunner():
        assert not EventsWorker._instances  # type: ignore[misc]


def test_flush_has_a_limit(sent, monkeypatch):
    from prefect_lean.internals import events, flushing

    monkeypatch.setattr(flushing, "_FLUSH_S", 0.01)
    worker = events._held("A")
    worker._queue.put("never sent")
    flushing = threading.Thread(target=flushing.flush_events, daemon=True)
    flushing.start()
    flushing.join(20)
    assert not flushing.is_alive()


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Event:
    """What a process that has ended left in `tmp_path`."""
    from prefect_lean.internals import waiting

    event = Event(event="left", resource={"prefect.resource.id": "one"})
    with monkeypatch.context() as other:
        other.setattr(waiting.os, "getpid", lambda: 1)
        ended = waiting.Waiting()
        ended.keep_in(str(tmp_path))
        ended.append([event], later=True)
        ended.close()
    return event


class _Taking:
    """In the place of the window of an events worker, and of its loop."""

    def __init__(self, worker: Any) -> None:
        self.taken: list[Event] = []
        worker._window = worker._loop = self

    def take_over(self, events: list[Event]) -> None:
        self.taken += events

    def call_soon_threadsafe(self, call: Any, *args: Any) -> None:
        call(*args)


def test_what_nobody_can_send_is_left_where_it_is(sent, left, tmp_path, monkeypatch):
    from prefect_lean.internals import events, take_over, waiting

    monkeypatch.setattr(events, "_CONNECTED_S", 0.01)
    with events.events_by_address("A"):
        assert not take_over(str(tmp_path))
        assert waiting.has_kept_events(str(tmp_path))
        taking = _Taking(events.events_worker_here.get())
        assert take_over(str(tmp_path))
    assert taking.taken == [left]
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_is_left_nobody_has_to_send_it(sent, tmp_path):
    from prefect_lean.internals import take_over

    assert take_over(str(tmp_path))
    assert not EventsWorker._instances  # type: ignore[misc]


def test_events_worker_that_has_stopped_takes_nothing_over(sent, left, tmp_path):
    from prefect.settings.context import get_current_settings
    from prefect_lean.internals import client_key, events, take_over

    with events.events_by_address("A"):
        stopped = _Taking(events.events_worker_here.get())
        events.events_worker_here.get()._stopped = True
        worker = events._held(client_key(get_current_settings()))
        other = _Taking(worker)
        assert take_over(str(tmp_path))
    assert (stopped.taken, other.taken) == ([], [left])


@pytest.mark.parametrize("taken", [True, False])
def test_folder_of_what_nobody_has_taken_over_stays(taken, monkeypatch, caplog):
    from prefect_lean import LeanProcessPoolTaskRunner, internals

    monkeypatch.setattr(internals, "take_over", lambda folder: taken)
    monkeypatch.setattr(LeanProcessPoolTaskRunner, "_ends_its_workers", lambda self: True)
    runner = LeanProcessPoolTaskRunner()
    folder = Path(runner._recording().folder or "")
    assert folder.is_dir()
    runner._end_recording()
    assert folder.exists() is not taken
    assert (str(folder) in caplog.text) is not taken
    shutil.rmtree(folder, ignore_errors=True)


def test_threads_that_submit_the_first_tasks_share_a_folder(monkeypatch):
    from prefect_lean import LeanProcessPoolTaskRunner, runner

    made: list[str] = []

    def slowly(**kwargs: Any) -> str:
        time.sleep(0.2)
        made.append(f"folder {len(made)}")
        return made[-1]

    monkeypatch.setattr(runner.tempfile, "mkdtemp", slowly)
    monkeypatch.setattr(LeanProcessPoolTaskRunner, "_ends_its_workers", lambda self: True)
    submitting = LeanProcessPoolTaskRunner()
    with ThreadPoolExecutor(2) as threads:
        folders = [threads.submit(submitting._recording) for _ in range(2)]
    assert {future.result().folder for future in folders} == {"folder 0"}


class _Api:
    """An API that knows every flow."""

    async def read_flow(self, flow_id: UUID) -> Flow:
        return Flow(id=flow_id, name="wide")


class _Sink:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def emit(self, event: Event) -> None:
        self.events.append(event)


def _event(task_run: TaskRun, tags: tuple[str, ...] = ()) -> Event:
    return Event(
        event="prefect.task-run.Running",
        resource={"prefect.resource.id": f"prefect.task-run.{task_run.id}"},
        related=[{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags],
    )


def _task_run() -> TaskRun:
    return TaskRun(id=uuid4(), name="hello", task_key="hello", dynamic_key="0", tags=["of-the-task"])


def _related(kind: type[EventsWorker], sequence: list[tuple[Event, FlowRun, TaskRun]]) -> tuple[list[Any], int]:
    """What a worker attaches to events, each of a flow run and a task run, and how often it has gathered it."""
    worker = kind(NullEventsClient, ())  # type: ignore[arg-type]
    worker._client = sink = _Sink()  # type: ignore[assignment]
    worker._orchestration_client = _Api()  # type: ignore[assignment]
    gatherings = 0

    async def counted(event: Event) -> None:
        nonlocal gatherings
        gatherings += 1
        await kind.attach_related_resources_from_context(worker, event)

    worker.attach_related_resources_from_context = counted  # type: ignore[method-assign]
    for event, flow_run, task_run in sequence:
        copied = event.model_copy(deep=True)
        context = copy_context()
        context.run(FlowRunContext.__var__.set, FlowRunContext.model_construct(flow_run=flow_run))
        context.run(TaskRunContext.__var__.set, TaskRunContext.model_construct(task_run=task_run))
        worker._context_cache[copied.id] = context
        asyncio.run(worker._handle(copied))
    assert not worker._context_cache
    return [[resource.root for resource in event.related] for event in sink.events], gatherings


def test_related_resources_are_those_of_prefect_and_gathered_once_a_flow_run(monkeypatch):
    from prefect_lean.internals.events import LeanEventsWorker

    monkeypatch.setattr("prefect.events.related.RESOURCE_CACHE", {})
    one = FlowRun(id=uuid4(), flow_id=uuid4(), name="one", tags=["a", "b"])
    other = FlowRun(id=uuid4(), flow_id=uuid4(), name="other", tags=["c"])
    renamed = one.model_copy(update={"name": "renamed"})
    runs = [_task_run() for _ in range(4)]
    sequence = [
        (_event(runs[0]), one, runs[0]),
        (_event(runs[1]), one, runs[1]),
        (_event(runs[1]), other, runs[1]),
        (_event(runs[2]), renamed, runs[2]),
        # A tag that the event names already is not attached again.
        (_event(runs[3], tags=("a",)), one, runs[3]),
        (_event(runs[2]), one, runs[2]),
    ]
    stock, _ = _related(EventsWorker, sequence)
    lean, gatherings = _related(LeanEventsWorker, sequence)
    assert lean == stock
    assert len(lean[0]) == 4
    assert gatherings == 4


def test_an_event_of_something_else_than_its_task_run_is_left_to_prefect(monkeypatch):
    """It names the task run as related, which is another one for each."""
    from prefect_lean.internals.events import LeanEventsWorker

    monkeypatch.setattr("prefect.events.related.RESOURCE_CACHE", {})
    flow_run = FlowRun(id=uuid4(), flow_id=uuid4(), name="one")
    sequence = [(_event(_task_run()), flow_run, _task_run()) for _ in range(3)]
    lean, gatherings = _related(LeanEventsWorker, sequence)
    assert lean == _related(EventsWorker, sequence)[0]
    assert gatherings == 3


def test_events_worker_that_stands_in_for_prefects_serves_as_it_is(monkeypatch):
    """As with the test fixtures that Prefect ships: nothing of it is kept, and the next flow has its own worker."""
    from prefect_lean.internals import Recent, events, events_here

    stand_in = EventsWorker(NullEventsClient, ())  # type: ignore[arg-type]
    kept: Recent[Any] = Recent()
    monkeypatch.setattr(EventsWorker, "_instances", {})
    monkeypatch.setattr(EventsWorker, "_client_override", None)
    monkeypatch.setattr(events, "_events_workers", kept)
    with monkeypatch.context() as fixture:
        fixture.setattr(EventsWorker, "instance", lambda *_: stand_in)
        end = events_here()
        with events.events_by_address("A"):
            assert events.events_worker_here.get() is None
            assert EventsWorker.instance() is stand_in
        end()
    assert kept.values() == []
    assert EventsWorker._instances == {}  # type: ignore[misc]

    own = events.LeanEventsWorker(NullEventsClient, ())
    monkeypatch.setattr(events.LeanEventsWorker, "instance", lambda *_: own, raising=False)
    with events.events_by_address("A"):
        assert events.events_worker_here.get() is own
