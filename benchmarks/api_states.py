"""What the server has of a run in the end: it is told late, so it is asked until a state is final, or none comes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import httpx

NEVER = "never recorded"
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_POLL_S = 0.2


def state(api_url: str, kind: Literal["flow_runs", "task_runs"], run_id: str, limit_s: float = 60.0) -> str:
    """Name of the state that the server has of a run: a final one, or the one it is in after `limit_s` seconds.

    `NotReady`, of a task whose upstream failed, is Pending to the server and counts as final.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    return states(api_url, kind, {"run": run_id}, limit_s)["run"]


def states(
    api_url: str, kind: Literal["flow_runs", "task_runs"], run_ids: Mapping[str, str], limit_s: float = 60.0
) -> dict[str, str]:
    """The same for several runs, by the names given to them, all within one `limit_s`."""
    deadline = time.monotonic() + limit_s
    with httpx.Client(base_url=api_url, timeout=60) as client:
        while True:
            found = {name: _state(client, kind, run_id) for name, run_id in run_ids.items()}
            if all(over for _, over in found.values()) or time.monotonic() > deadline:
                return {name: told for name, (told, _) in found.items()}
            time.sleep(_POLL_S)


def run_count(api_url: str, task_run_id: str) -> int | None:
    """How often the task ran, by the server's account; None where it has no such task run."""
    with httpx.Client(base_url=api_url, timeout=60) as client:
        return _run(client, "task_runs", task_run_id).get("run_count")


def _state(client: httpx.Client, kind: str, run_id: str) -> tuple[str, bool]:
    found = _run(client, kind, run_id).get("state") or {}
    name = found.get("name", NEVER)
    return name, found.get("type") in _FINAL or name == "NotReady"


def _run(client: httpx.Client, kind: str, run_id: str) -> dict[str, Any]:
    answer = client.get(f"/{kind}/{run_id}")
    return {} if answer.status_code == 404 else answer.raise_for_status().json()
