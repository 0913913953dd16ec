"""For runners that end without a cluster: task runs as they were submitted, and what was recorded of them.

Prefect is not imported here but in the fixtures: pytest loads this before the suite has set its environment.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest


@pytest.fixture(autouse=True)
def no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of a pool, whose events another sends: there is no server to send them to."""
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker

    monkeypatch.setattr(EventsWorker, "_client_override", (NullEventsClient, ()))


@pytest.fixture
def submitted() -> Any:
    from prefect import task
    from prefect_lean.crash import Submitted

    @task
    def nothing() -> None: ...

    return lambda: Submitted.of(nothing, uuid4(), object())


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The task runs that were recorded."""
    from prefect_lean.crash import Submitted

    found: list[UUID] = []

    def record(self: Any, state: Any, wait_s: float) -> Any:
        found.append(self.task_run_id)
        return state

    monkeypatch.setattr(Submitted, "_record", record)
    return found
