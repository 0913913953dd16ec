"""Task runs that a server cannot record as fast as they end: their events wait here, and none is lost on the way.

A Prefect server keeps events in memory until its recorder has written them, first in, first out: at most 10,000 of
them, by default at some dozens of task runs a second. What comes when its queue is full it drops, and what is in the
queue when it restarts is gone. So only so many events are under way at a time. Now and then the server is asked for one
task run; once it has that, it has had all that were sent before, unless it dropped some: those are sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterId
from prefect.events.clients import PrefectCloudEventsClient, PrefectEventsClient
from prefect.events.schemas.events import Event
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from .patience import WAIT, absence, wait_limit_s
from .waiting import Waiting

AHEAD = "PREFECT_LEAN_AHEAD"
"""The environment variable with the events that a flow run may be ahead of the server's recorder."""

# The queue of a server holds 10,000, and this is not the only flow run.
_AHEAD = 4000
_LEAST_AHEAD = 8

# A server that answers and records nothing of this process for so long may have dropped what it is asked for.
_STALLED_S = 60.0
_GIVEN_UP_S = 900.0

_TRIES = 3
_NAMED = 5
_SENDS_PER_YIELD = 64
_IDLE_S = 1.0
_LONGEST_IDLE_S = 30.0
_ASKED_AT_ONCE = 200
_TOLD_AFTER_S = 2.0
_ANSWER_S = 10.0

# Until a server that does not answer is asked again.
_AWAY_S = 1.0

logger = get_logger("task_runner.lean")


def is_windowed(client: Any) -> bool:
    """Whether a client sends to a server. Others hand events to another process, or keep them for a test."""
    return type(client) in (PrefectEventsClient, PrefectCloudEventsClient)


@dataclass(eq=False)
class _Sent:
    event: Event
    task_run_id: UUID
    connection: Any
    at_s: float = field(default_factory=time.monotonic)
    missed: int = 0
    tries: int = 0


class Window:
    """An events client that sends what another one sends, never further ahead of the server than its queue holds."""

    def __init__(self, client: Any, api: Any) -> None:
        self.waiting = Waiting()
        self.under_way: deque[_Sent] = deque()
        """Sent, and not known to be recorded."""
        self.not_recorded: list[UUID] = []
        """Task runs that the server did not record, whatever was tried."""
        self.thread = threading.get_ident()
        self._client = client
        self._api = api
        self._processes = 1
        self._ahead = float(os.environ.get(AHEAD) or _AHEAD)
        self._share = 1.0
        """Of what it may be ahead. Less where the server has dropped something: others send too."""
        self._came: list[Event] = []
        self._storing = False
        self._wake = asyncio.Event()
        self._closing = False
        self._closing_s = 0.0
        self._said = False
        self._began_s = time.monotonic()
        self._acknowledged = 0
        self._latency_s = 0.0
        self._asked = 0
        self._sends = 0
        self._marked_s = 0.0
        self._progress_s = self._acknowledged_s = time.monotonic()
        self._sender: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Window:
        self._sender = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        self._closing = True
        self._closing_s = time.monotonic()
        # A flow that has waited for a server that is gone need not wait for it once more.
        self._progress_s = absence.since_s or self._closing_s
        self._store()
        assert self._sender is not None
        if self.waiting.is_kept:
            # Whoever keeps the file goes on with what is in it.
            self._sender.cancel()
        self._wake.set()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sender
        self.waiting.close()
        if lost := list(dict.fromkeys(self.not_recorded)):
            _tell(
                f"prefect-lean: the server has not recorded {len(lost)} task runs, among them"
                f" {', '.join(map(str, lost[:_NAMED]))}."
            )

    async def emit(self, event: Event) -> None:
        self._came.append(event)
        if not self._storing:
            self._storing = True
            # Once for a burst.
            asyncio.get_running_loop().call_soon(self._store)

    def share(self, processes: int, folder: str | None) -> None:
        """Leave room for `processes` in all, and what waits in a file in `folder`."""
        self._processes = max(processes, 1)
        if folder is not None:
            self.waiting.keep_in(folder)

    def take_over(self, events: Iterable[Event]) -> None:
        """Send events that another process could not send any more. From the thread of the event loop."""
        self.waiting.append(list(events), later=True)
        self._wake.set()

    def is_moving(self) -> bool:
        """Whether the server has taken something within the limit."""
        return time.monotonic() - self._progress_s < wait_limit_s()

    def is_sent(self) -> bool:
        """Whether nothing waits here that would end with this process. Asked by other threads."""
        return not self._came and self.waiting.is_safe()

    # --- sending ---

    def _store(self) -> None:
        self._storing = False
        if events := self._came:
            ahead = len(self.under_way) + len(self.waiting) + len(events)
            self.waiting.append(events, later=ahead > self._room())
            # Afterwards, since another thread may ask meanwhile whether all is sent.
            self._came = []
            self._wake.set()

    def _room(self) -> int:
        return max(int(self._share * self._ahead / self._processes), _LEAST_AHEAD)

    async def _send_all(self) -> None:
        idle_s = _IDLE_S
        while True:
            try:
                if self._closing and await self._is_over():
                    return
                if self.waiting and len(self.under_way) < self._room():
                    await self._send_next()
                    idle_s = _IDLE_S
                elif self.waiting or (self.under_way and (self._closing or self._in_doubt())):
                    await self._ask()
                elif not await self._woken(idle_s if self.under_way else None):
                    # Nothing more to send: what has come of the last ones is asked less and less often.
                    idle_s = min(2 * idle_s, _LONGEST_IDLE_S)
                    await self._ask(pause=False)
            except Exception:
                logger.debug("The window of events goes on.", exc_info=True)
                await asyncio.sleep(_AWAY_S)

    async def _woken(self, limit_s: float | None) -> bool:
        try:
            await asyncio.wait_for(self._wake.wait(), limit_s)
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    async def _send_next(self) -> None:
        self._sends += 1
        if self._sends % _SENDS_PER_YIELD == 0:
            # Else nothing else on the loop has a turn while there is room.
            await asyncio.sleep(0)
        event = self.waiting.first()
        if await self._emit(event):
            task_run_id = _recorded_as(event)
            if task_run_id is not None:
                self.under_way.append(_Sent(event, task_run_id, self._connection()))
        self.waiting.done()

    async def _emit(self, event: Event) -> bool:
        """Whether the server has got it. False for one that cannot be sent at all."""
        while True:
            try:
                await self._client.emit(event)
            except (ValueError, TypeError):
                logger.error("Failed to send event %r", event, exc_info=True)
                return False
            except Exception:
                # Upstream has tried for some seconds. The server may come back.
                if self._closing and not self.is_moving():
                    raise
                await asyncio.sleep(_AWAY_S)
            else:
                self._progress_s = time.monotonic()
                return True

    def _connection(self) -> Any:
        connection = getattr(self._client, "_websocket", None)
        # One that is closed is like no other.
        return object() if connection is None or connection.close_code is not None else connection

    def _in_doubt(self) -> bool:
        """Whether the first one under way may be lost."""
        return self.under_way[0].missed > 0 or self.under_way[0].connection is not self._connection()

    # --- what the server has recorded ---

    async def _ask(self, pause: bool = True) -> None:
        """Find out how far the server has come, by one task run. Without an answer, wait a little."""
        index = await self._probe()
        self._asked += 1
        if self._asked % 2 == 0:
            # That one may have been dropped, and a later one not.
            last = len(self.under_way) - 1
            index = last if self._asked % 4 == 0 else random.randint(index, last)
        probe = self.under_way[index]
        try:
            reached = await self._is_recorded(probe)
        except Exception:
            # It restarts, say.
            await asyncio.sleep(_AWAY_S)
            return
        if reached:
            self._latency_s = time.monotonic() - probe.at_s
            await self._acknowledge(index + 1)
        elif time.monotonic() - max(self._acknowledged_s, self.under_way[0].at_s) > _GIVEN_UP_S:
            self._give_up()
        elif pause:
            await asyncio.sleep(min(max(self._latency_s / 8, 0.1), 2.0))

    async def _probe(self) -> int:
        """Which of those under way to ask for: all before it count as recorded as soon as it is."""
        connection = self._connection()
        same = [sent.connection is connection for sent in self.under_way]
        if not same[0]:
            # The connection was lost, perhaps with the server and all that it had. One that came by the new one tells.
            if True not in same:
                await self._mark()
            connection = self._connection()
            return next((i for i, sent in enumerate(self.under_way) if sent.connection is connection), len(same) - 1)
        if time.monotonic() - max(self._acknowledged_s, self._marked_s, self.under_way[-1].at_s) > _STALLED_S:
            self._marked_s = time.monotonic()
            await self._mark(anew=True)
            return len(self.under_way) - 1
        if not self.waiting:
            return len(self.under_way) - 1
        return min(len(self.under_way), max(self._room() // 4, 1)) - 1

    async def _mark(self, anew: bool = False) -> None:
        """Send one event more than there is room for. The last one again where there is no other.

        anew: under another id, since a server that runs on knows the id, whether it dropped the event or not.
        """
        if self.waiting:
            await self._send_next()
            return
        last = self.under_way[-1]
        if await self._emit(_anew(last.event) if anew else last.event):
            last.connection, last.at_s = self._connection(), time.monotonic()

    async def _is_recorded(self, sent: _Sent) -> bool:
        try:
            task_run = await asyncio.wait_for(self._api.read_task_run(sent.task_run_id), _ANSWER_S)
        except ObjectNotFound:
            return False
        return _has(task_run, sent.event.occurred)

    async def _acknowledge(self, count: int) -> None:
        """Look through the first ones under way. What the server does not have it will not have any more."""
        seen = [self.under_way[i] for i in range(min(count, len(self.under_way)))]
        last = {sent.task_run_id: sent.event.occurred for sent in seen}
        recorded: set[UUID] = set()
        ids = list(last)
        for begin in range(0, len(ids), _ASKED_AT_ONCE):
            some = ids[begin : begin + _ASKED_AT_ONCE]
            found = await asyncio.wait_for(
                self._api.read_task_runs(
                    task_run_filter=TaskRunFilter(id=TaskRunFilterId(any_=some)), limit=_ASKED_AT_ONCE
                ),
                3 * _ANSWER_S,
            )
            recorded |= {task_run.id for task_run in found if _has(task_run, last[task_run.id])}
        for _ in seen:
            self.under_way.popleft()
        missing = [sent for sent in seen if sent.task_run_id not in recorded]
        if len(missing) < len(seen):
            self._acknowledged_s = self._progress_s = time.monotonic()
            self._acknowledged += len(seen) - len(missing)
        # The recorder has two hands: what is missing may be in the other one. The second time it is not.
        again = [sent for sent in missing if sent.missed]
        later = [sent for sent in missing if not sent.missed]
        for sent in later:
            sent.missed += 1
        self.under_way.extendleft(reversed(later))
        dropped = any(sent.connection is self._connection() for sent in again)
        self._share = max(self._share / 2, 0.05) if dropped else min(self._share * 1.1, 1.0)
        for sent in again:
            await self._send_again(sent)
        if later and not self.waiting:
            await asyncio.sleep(_IDLE_S)

    async def _send_again(self, sent: _Sent) -> None:
        if sent.tries >= _TRIES:
            self.not_recorded.append(sent.task_run_id)
            return
        event = sent.event
        if sent.connection is self._connection():
            # A server takes an event that it has had lately for the same one, whether it dropped it or not.
            event = _anew(event)
        if await self._emit(event):
            self.under_way.append(_Sent(event, sent.task_run_id, self._connection(), tries=sent.tries + 1))

    def _give_up(self) -> None:
        """A server that records nothing, by its settings say, would else get nothing more."""
        self.not_recorded += dict.fromkeys(sent.task_run_id for sent in self.under_way)
        logger.warning(
            "The server has recorded nothing of %d task runs for %.0f s. What follows is sent all the same.",
            len(dict.fromkeys(self.not_recorded)),
            _GIVEN_UP_S,
        )
        self.under_way.clear()
        self._acknowledged_s = time.monotonic()

    # --- the end ---

    async def _is_over(self) -> bool:
        """Whether nothing is left to wait for, or it has been waited for long enough."""
        if not self.waiting and (not self.under_way or await self._has_all()):
            # The server has all of it, in its queue at least.
            return True
        if self.is_moving():
            if not self._said and time.monotonic() - self._closing_s > _TOLD_AFTER_S:
                self._said = True
                self._say()
            return False
        left = len(self.waiting)
        # Better too much at once than not at all. A server that the flow has given up takes nothing.
        with contextlib.suppress(Exception):
            while self.waiting and absence.since_s is None:
                await self._client.emit(self.waiting.first())
                self.waiting.done()
        sent = left - len(self.waiting)
        lost = self._lost()
        _tell(
            f"prefect-lean: the server has taken nothing for {wait_limit_s():.0f} s ({WAIT})."
            f" {sent} events of task runs were sent without waiting for it,"
            f" {left - sent} are lost."
            + (f" Not known to be recorded: task runs {', '.join(map(str, lost[:_NAMED]))}" if lost else "")
            + (f" and {len(lost) - _NAMED} others." if len(lost) > _NAMED else "." if lost else "")
        )
        return True

    def _lost(self) -> list[UUID]:
        """The task runs of which something is on its way, or waits and will not be sent. The latter is taken out."""
        found = dict.fromkeys(sent.task_run_id for sent in self.under_way)
        for _ in range(len(self.waiting)):
            if (task_run_id := _recorded_as(self.waiting.first())) is not None:
                found[task_run_id] = None
            self.waiting.done()
        return list(found)

    async def _has_all(self) -> bool:
        """Whether the server has what is under way: nothing was dropped, and no connection was lost."""
        connection = self._connection()
        if self._share < 1 or any(sent.connection is not connection for sent in self.under_way):
            return False
        try:
            await asyncio.wait_for(await connection.ping(), _ANSWER_S)
        except Exception:
            # What was sent by it may be lost with its server.
            for sent in self.under_way:
                sent.connection = None
            return False
        return True

    def _say(self) -> None:
        left = len(self.waiting) + len(self.under_way)
        about = ""
        if self._acknowledged:
            pace = self._acknowledged / (time.monotonic() - self._began_s)
            about = f", about {left / pace:.0f} s at its pace"
        _tell(
            f"prefect-lean: waiting until the server has taken the last {left} events of task runs{about}."
            f" {WAIT} is how long it may take nothing, now {wait_limit_s():.0f} s."
        )


def _recorded_as(event: Event) -> UUID | None:
    """The task run whose state an event tells. None for other events, which no recorder takes."""
    if event.resource.get("prefect.orchestration") != "client" or not event.event.startswith("prefect.task-run."):
        return None
    return UUID(event.resource.id.removeprefix("prefect.task-run."))


def _anew(event: Event) -> Event:
    return event.model_copy(update={"id": uuid4(), "follows": None})


def _has(task_run: Any, occurred: datetime) -> bool:
    return task_run.state is not None and task_run.state.timestamp >= occurred


def _tell(line: str) -> None:
    # Not by the log, which may be gone at the end of the interpreter.
    print(line, file=sys.stderr, flush=True)
