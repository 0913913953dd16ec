"""Which worker sends the events of a task, and for how long one waits for it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """What was sent, and by whom. No worker is started, nothing that was there before is touched."""
    from runners.lean.internals import Recent, events

    found: list[tuple[Any, str]] = []
    monkeypatch.setattr(EventsWorker, "_instances", {})
    monkeypatch.setattr(EventsWorker, "send", lambda self, event: found.append((self, event)))
    monkeypatch.setattr(
        events.BurstEventsWorker, "instance", classmethod(lambda cls: cls(NullEventsClient, ())), raising=False
    )
    monkeypatch.setattr(events, "_events_workers", Recent(size=1, dropped=events.BurstEventsWorker.retire))
    return found


def test_events_go_to_the_api_of_their_task(sent):
    """Two at once in one process: what sends an event finds the worker that was put in place last."""
    from runners.lean.internals.events import events_by_address

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
    from runners.lean.internals.events import _held

    first = _held("A")
    second = _held("B")
    assert not first._stopped
    assert _held("B") is second
    first.release()
    assert first._stopped
    assert _held("A") is not first


def test_process_of_a_pool_has_one_worker(sent, monkeypatch):
    from runners.lean import LeanProcessPoolTaskRunner

    monkeypatch.setattr(EventsWorker, "_client_override", (NullEventsClient, ()))
    with LeanProcessPoolTaskRunner():
        assert not EventsWorker._instances  # type: ignore[misc]


def test_flush_has_a_limit(sent, monkeypatch):
    from runners.lean.internals import events

    monkeypatch.setattr(events, "_FLUSH_S", 0.01)
    worker = events._held("A")
    worker._queue.put("never sent")
    flushing = threading.Thread(target=events.flush_events, daemon=True)
    flushing.start()
    flushing.join(20)
    assert not flushing.is_alive()
