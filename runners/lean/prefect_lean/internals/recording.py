"""What of a task run is recorded, and by how many processes at a time."""

from __future__ import annotations

import threading
import time
from contextvars import Context, ContextVar, copy_context
from typing import NamedTuple

from prefect.events.schemas.events import Event

# A task that takes longer is seen on a dashboard while it runs.
HELD_S = 3.0

_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Recording(NamedTuple):
    """How the tasks of a runner are recorded. Travels with each call as a plain tuple."""

    states: str = "all"
    """`all`, or `final`: of a task that ends soon, its last state only."""
    processes: int = 1
    """That send events of this flow run."""
    folder: str | None = None
    """Where a process leaves events that it could not send before its end, for the driver to find."""


ALL = Recording()

recording_here: ContextVar[Recording] = ContextVar("lean_recording", default=ALL)


class Held:
    """The first events of task runs that have not ended yet, and may never be sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[float, list[tuple[Context, Event]]]] = {}
        self._reported: set[str] = set()
        """Task runs of which the first events have been sent."""

    def __bool__(self) -> bool:
        return bool(self._runs)

    def take(self, event: Event) -> list[tuple[Context, Event]]:
        """What is to be sent now, each in its context."""
        run, name = event.resource.id, event.event.removeprefix("prefect.task-run.")
        kind = event.resource.get("prefect.state-type")
        item = (copy_context(), event)
        if event.resource.get("prefect.orchestration") != "client" or kind is None:
            return [item]
        with self._lock:
            if kind in _FINAL:
                if run in self._reported:
                    self._reported.discard(run)
                elif self._runs.pop(run, None) is not None:
                    # An automation would wait for the one that it follows.
                    event.follows = None
                return [item]
            if run in self._reported:
                return [item]
            if name in ("Pending", "Running"):
                self._runs.setdefault(run, (time.monotonic(), []))[1].append(item)
                return []
            # It retries, pauses or waits for something, or is over without a final state.
            _, held = self._runs.pop(run, (0.0, []))
            if name != "NotReady":
                self._reported.add(run)
            return [*held, item]

    def due(self, after_s: float = HELD_S) -> list[tuple[Context, Event]]:
        """What has been held for so long."""
        now = time.monotonic()
        with self._lock:
            runs = [run for run, (since_s, _) in self._runs.items() if now - since_s >= after_s]
            self._reported.update(runs)
            return [item for run in runs for item in self._runs.pop(run)[1]]
