"""What a record carries of the server's side of a cell: what it was asked, and what it complained of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner_lab.records import validation
from runner_lab.records.validation import RecordError


@dataclass(frozen=True)
class Traffic:
    """From the call of the flow until the server was at rest; the lab's own questions are not counted.

    requests: HTTP requests by the first part of their route: `task_runs`, `logs`, ...
    events: event messages over websockets.
    logs: log lines; one request carries many.
    failed: requests that were answered with 500 or above.
    locked: entries of the server's log on a database that was locked, or on a deadlock.
    dropped: messages that the server's own queues were too full to take.
    errors: other entries of the server's log that name an exception.
    """

    requests: dict[str, int] = field(default_factory=dict)
    events: int = 0
    logs: int = 0
    failed: int = 0
    locked: int = 0
    dropped: int = 0
    errors: int = 0

    @property
    def total_requests(self) -> int:
        return sum(self.requests.values())


def parse(data: Any) -> Traffic | None:
    """
    Raises:
        RecordError: not what `dataclasses.asdict` makes of a `Traffic`.
    """
    if data is None:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("requests"), dict):
        raise RecordError("not a record: traffic must be an object with requests")
    found = Traffic(**data)
    counts = {name: getattr(found, name) for name in ("events", "logs", "failed", "locked", "dropped", "errors")}
    for name, value in {**counts, **found.requests}.items():
        validation.count(f"traffic {name}", value)
    return found
