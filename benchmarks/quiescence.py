"""A cell ends when the server has recorded its task runs: it works off their events long after the flow returned."""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx

_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_POLL_S = 0.2


@dataclass(frozen=True)
class Recorded:
    """Task runs of one flow run on the server.

    final: in a final state.
    completed: of these, in state Completed (a cached one is).
    lag_s: from the call until all were there, or until the deadline.
    """

    final: int
    completed: int
    lag_s: float


def wait_recorded(api_url: str, flow_run_id: str, expected: int, limit_s: float) -> Recorded:
    """Ask the server until it has `expected` task runs in a final state, at most `limit_s` seconds.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    begun = time.monotonic()
    with httpx.Client(base_url=api_url, timeout=60) as client:
        while True:
            final = _count(client, flow_run_id, _FINAL)
            lag_s = time.monotonic() - begun
            if final >= expected or lag_s > limit_s:
                return Recorded(final, _count(client, flow_run_id, ("COMPLETED",)), lag_s)
            time.sleep(_POLL_S)


def _count(client: httpx.Client, flow_run_id: str, states: tuple[str, ...]) -> int:
    answer = client.post(
        "/task_runs/count",
        json={
            "flow_runs": {"id": {"any_": [flow_run_id]}},
            "task_runs": {"state": {"type": {"any_": list(states)}}},
        },
    )
    answer.raise_for_status()
    return int(answer.json())
