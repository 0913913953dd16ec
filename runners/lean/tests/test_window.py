"""Events under way: against a server that is slow, drops what its queue cannot hold, restarts, or records nothing."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.events.schemas.events import Event
from prefect.exceptions import ObjectNotFound


class _Connection:
    def __init__(self) -> None:
        self.close_code: int | None = None

    async def ping(self) -> Any:
        if self.close_code is not None:
            raise ConnectionError
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answered.set_result(None)
        return answered


class FakeServer:
    """Client and API in one: records `pace` events a step, holds `holds`, and knows the last 1,000 again."""

    def __init__(self, holds: int = 10_000, pace: int = 5) -> None:
        self.holds, self.pace = holds, pace
        self.queue: deque[Event] = deque()
        self.deepest = 0
        self.recorded: dict[Any, datetime] = {}
        self.states: set[Any] = set()
        self.dropped = 0
        self.lookups = 0
        self.up = True
        self._seen: OrderedDict[Any, None] = OrderedDict()
        self._websocket = _Connection()

    async def emit(self, event: Event) -> None:
        if not self.up:
            raise ConnectionError
        if self._websocket.close_code is not None:
            self._websocket = _Connection()
        if event.id in self._seen:
            return
        self._seen[event.id] = None
        if len(self._seen) > 1000:
            self._seen.popitem(last=False)
        if len(self.queue) >= self.holds:
            self.dropped += 1
            return
        self.queue.append(event)
        self.deepest = max(self.deepest, len(self.queue))

    async def record(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            for _ in range(min(self.pace, len(self.queue)) if self.up else 0):
                event = self.queue.popleft()
                run = event.resource.id
                if run not in self.recorded or self.recorded[run] < event.occurred:
                    self.recorded[run] = event.occurred
                self.states.add(event.id)

    def die(self) -> None:
        self.up = False
        self.queue.clear()
        self._seen.clear()
        self._websocket.close_code = 1006

    def _run(self, run: str) -> Any:
        return SimpleNamespace(
            id=_id(run), state=SimpleNamespace(timestamp=self.recorded[run]) if run in self.recorded else None
        )

    async def read_task_run(self, task_run_id: Any) -> Any:
        self.lookups += 1
        if not self.up:
            raise ConnectionError
        if (run := f"prefect.task-run.{task_run_id}") not in self.recorded:
            raise ObjectNotFound(Exception())
        return self._run(run)

    async def read_task_runs(self, *, task_run_filter: Any, limit: int) -> list[Any]:
        self.lookups += 1
        if not self.up:
            raise ConnectionError
        assert len(task_run_filter.id.any_) <= limit
        runs = [f"prefect.task-run.{task_run_id}" for task_run_id in task_run_filter.id.any_]
        return [self._run(run) for run in runs if run in self.recorded]


def _id(run: str) -> Any:
    from uuid import UUID

    return UUID(run.removeprefix("prefect.task-run."))


BEGUN = datetime.now(UTC)


def task_run() -> list[Event]:
    run = f"prefect.task-run.{uuid4()}"
    return [
        Event(
            event=f"prefect.task-run.{name}",
            occurred=BEGUN + timedelta(seconds=seconds),
            resource={
                "prefect.resource.id": run,
                "prefect.orchestration": "client",
                "prefect.state-type": name.upper(),
            },
        )
        for seconds, name in enumerate(("Pending", "Running", "Completed"))
    ]


async def _sent(server: FakeServer, runs: int, processes: int = 1, folder: Any = None, meanwhile: Any = None) -> Any:
    from prefect_lean.internals.window import Window

    recording = asyncio.create_task(server.record())
    events = [event for _ in range(runs) for event in task_run()]
    async with Window(server, server) as window:
        window.share(processes, folder)
        for number, event in enumerate(events):
            await window.emit(event)
            if number % 50 == 0:
                await asyncio.sleep(0)
        if meanwhile:
            await meanwhile()
    taken_s = time.monotonic()
    while server.queue and server.up:
        await asyncio.sleep(0.01)
    recording.cancel()
    return {event.resource.id for event in events}, window, taken_s


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect_lean.internals import window

    for name in ("_IDLE_S", "_TOLD_AFTER_S", "_AWAY_S"):
        monkeypatch.setattr(window, name, 0.05)
    monkeypatch.setattr(window, "_STALLED_S", 1.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("processes", "most"), [(1, 300), (4, 75)])
def test_a_process_is_never_further_ahead_than_its_share(monkeypatch, processes, most):
    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "300")
    server = FakeServer()
    runs, _, _ = asyncio.run(_sent(server, 400, processes=processes))
    assert set(server.recorded) == runs
    assert len(server.states) == 1200
    # What has been recorded and not been asked for yet is no longer in the queue.
    assert most / 3 < server.deepest <= most
    # It is asked again and again while it is slow, and by far not once an event.
    assert server.lookups < len(server.states) / 3


@pytest.mark.usefixtures("quick")
def test_without_a_window_the_server_drops_them():
    """The other tests can fail."""
    server = FakeServer(holds=300)

    async def sent() -> set[str]:
        recording = asyncio.create_task(server.record())
        events = [event for _ in range(400) for event in task_run()]
        for event in events:
            await server.emit(event)
        while server.queue:
            await asyncio.sleep(0.01)
        recording.cancel()
        return {event.resource.id for event in events}

    assert set(server.recorded) < asyncio.run(sent())


@pytest.mark.usefixtures("quick")
def test_what_a_full_server_dropped_is_sent_again(monkeypatch):
    """As where other flow runs have filled its queue."""
    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "300")
    server = FakeServer(holds=120)
    runs, window, _ = asyncio.run(_sent(server, 300))
    assert server.dropped
    assert set(server.recorded) == runs
    assert window.not_recorded == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("runs", [400, 60])
def test_server_that_restarts_meanwhile(monkeypatch, runs):
    """With more to come, and with all of it sent already."""
    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "300")
    server = FakeServer(pace=2)

    async def restart() -> None:
        await asyncio.sleep(0.03)
        server.die()
        await asyncio.sleep(0.1)
        server.up = True

    sent, window, _ = asyncio.run(_sent(server, runs, meanwhile=restart))
    assert set(server.recorded) == sent
    assert window.not_recorded == []


@pytest.mark.usefixtures("quick")
def test_end_without_a_server_has_a_limit(monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "90")
    monkeypatch.setenv("PREFECT_LEAN_WAIT_S", "0.5")
    server = FakeServer()

    async def die() -> None:
        server.die()

    begun = time.monotonic()
    asyncio.run(_sent(server, 100, meanwhile=die))
    assert time.monotonic() - begun < 30
    told = capsys.readouterr().err
    assert "events of task runs" in told
    assert "PREFECT_LEAN_WAIT_S" in told
    assert "are lost" in told


@pytest.mark.usefixtures("quick")
def test_end_says_what_it_waits_for(monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "60")
    server = FakeServer(pace=1)
    runs, _, _ = asyncio.run(_sent(server, 150))
    assert set(server.recorded) == runs
    assert capsys.readouterr().err.startswith("prefect-lean: waiting until the server has taken the last ")


def test_short_flow_waits_for_nothing():
    """What the queue of the server holds is sent at once, and nothing is asked."""
    server = FakeServer(pace=0)
    runs, _, _ = asyncio.run(asyncio.wait_for(_sent_only(server), 10))
    assert len({event.resource.id for event in server.queue}) == len(runs)
    assert server.lookups == 0


async def _sent_only(server: FakeServer, runs: int = 1000) -> Any:
    from prefect_lean.internals.window import Window

    events = [event for _ in range(runs) for event in task_run()]
    async with Window(server, server) as window:
        for event in events:
            await window.emit(event)
    return {event.resource.id for event in events}, window, 0


@pytest.mark.usefixtures("quick")
def test_server_that_records_nothing_gets_the_rest_all_the_same(monkeypatch):
    from prefect_lean.internals import window

    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "60")
    monkeypatch.setattr(window, "_GIVEN_UP_S", 0.2)
    server = FakeServer(pace=0)
    asyncio.run(asyncio.wait_for(_sent_only(server, 60), 60))
    assert len(server.queue) == 180


@pytest.mark.usefixtures("quick")
def test_what_a_process_could_not_send_is_sent_by_another(monkeypatch, tmp_path):
    """It has ended, with its cluster: what waited is in a file."""
    from prefect_lean.internals import waiting
    from prefect_lean.internals.window import Window

    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "90")
    server = FakeServer(pace=1)

    async def both() -> set[str]:
        recording = asyncio.create_task(server.record())
        events = [event for _ in range(200) for event in task_run()]
        async with Window(server, server) as first:
            first.share(1, str(tmp_path))
            for number, event in enumerate(events):
                await first.emit(event)
                if number % 10 == 0:
                    await asyncio.sleep(0.002)
        assert len(server.states) + len(server.queue) < 600
        monkeypatch.setattr(waiting.os, "getpid", lambda: 1)
        async with Window(server, server) as other:
            for kept in waiting.kept_events(str(tmp_path)):
                other.take_over(kept)
        while server.queue:
            await asyncio.sleep(0.01)
        recording.cancel()
        return {event.id for event in events}

    assert asyncio.run(both()) == server.states
    assert list(tmp_path.iterdir()) == []


def test_what_waits_is_packed(tmp_path):
    from prefect_lean.internals.waiting import Waiting

    events = [event for _ in range(300) for event in task_run()]
    for folder in (None, str(tmp_path)):
        waiting = Waiting()
        if folder:
            waiting.keep_in(folder)
        for begin in range(0, len(events), 30):
            waiting.append(events[begin : begin + 30], later=True)
        assert len(waiting) == 900
        came = []
        while waiting:
            came.append(waiting.first())
            waiting.done()
        assert came == events
        waiting.close()
    assert list(tmp_path.iterdir()) == []


def test_what_comes_for_a_server_that_is_away_is_packed(monkeypatch):
    from prefect_lean.internals.window import Window

    monkeypatch.setenv("PREFECT_LEAN_AHEAD", "90")
    monkeypatch.setenv("PREFECT_LEAN_WAITING_MB", "0.01")

    async def away() -> Window:
        server = FakeServer()
        # One that is not entered sends nothing.
        window = Window(server, server)
        for _ in range(300):
            for event in task_run():
                await window.emit(event)
            await asyncio.sleep(0)
        return window

    window = asyncio.run(away())
    assert len(window.waiting) == 900
    assert len(window.waiting._next) <= 90
    assert window.waiting.is_full()


def test_what_came_since_the_file_was_read_is_in_it_at_the_end(monkeypatch, tmp_path):
    from prefect_lean.internals import waiting

    ending = waiting.Waiting()
    ending.keep_in(str(tmp_path))
    before, since = task_run(), task_run()
    ending.append(before, later=True)
    assert ending.first() == before[0]
    ending.append(since, later=False)
    assert ending.is_safe()
    ending.close()
    monkeypatch.setattr(waiting.os, "getpid", lambda: 1)
    assert [event for kept in waiting.kept_events(str(tmp_path)) for event in kept] == before + since


def test_what_is_in_memory_alone_is_not_safe(tmp_path):
    from prefect_lean.internals.waiting import Waiting

    for folder in (None, str(tmp_path)):
        waiting = Waiting()
        if folder:
            waiting.keep_in(folder)
        assert waiting.is_safe()
        waiting.append(task_run(), later=False)
        assert not waiting.is_safe()
        for _ in range(3):
            waiting.first()
            waiting.done()
        assert waiting.is_safe()
        waiting.append(task_run(), later=True)
        assert waiting.is_safe() is (folder is not None)
        waiting.close()


def test_what_is_about_to_wait_is_not_sent_yet(monkeypatch):
    """Packing takes time, in which another thread may ask."""
    from prefect_lean.internals.waiting import Waiting
    from prefect_lean.internals.window import Window

    said: list[bool] = []

    async def stores() -> None:
        server = FakeServer()
        window = Window(server, server)
        monkeypatch.setattr(Waiting, "append", lambda *args, **kwargs: said.append(window.is_sent()))
        await window.emit(task_run()[0])
        await asyncio.sleep(0)

    asyncio.run(stores())
    assert said == [False]


def test_full_memory_is_noticed(monkeypatch):
    from prefect_lean.internals.waiting import Waiting

    monkeypatch.setenv("PREFECT_LEAN_WAITING_MB", "0.01")
    waiting = Waiting()
    assert not waiting.is_full()
    for _ in range(300):
        waiting.append(task_run(), later=True)
    assert waiting.is_full()
    while waiting:
        waiting.first()
        waiting.done()
    assert not waiting.is_full()
