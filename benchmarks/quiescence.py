"""A cell ends when the server has recorded its task runs: it works off their events long after the flow returned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from runners.counted import UNCOUNTED

_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_POLL_S = 0.2
_STILL_S = 1.0
"""Where nobody knows how many task runs there will be, they are all there when none has come for so long."""
_PAGE = 200
_SLOWEST_S = 0.5
"""A task: a server that records fewer than two task runs a second is given up, however many still come."""
_POLLING = 0.02
"""Share of the time waited that lies between two questions: to count thousands of task runs is work for the server."""


@dataclass(frozen=True)
class Recorded:
    """Task runs of one flow run on the server.

    final: in a final state.
    completed: of these, in state Completed (a cached one is).
    lag_s: from the call until all were there, or until the last of them came.
    """

    final: int
    completed: int
    lag_s: float


def wait_recorded(api_url: str, flow_run_id: str, expected: int, limit_s: float) -> Recorded:
    """Ask the server until it has `expected` task runs in a final state, or none has come for `limit_s` seconds.

    So the more tasks the longer it may take in all: after a wide graph a server works for minutes.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    begun = changed = time.monotonic()
    before = -1
    with _client(api_url) as client:
        while True:
            final = _count(client, [flow_run_id], _FINAL)
            now = time.monotonic()
            if final != before:
                before, changed = final, now
            if final >= expected or now - changed > limit_s or now - begun > limit_s + expected * _SLOWEST_S:
                return Recorded(final, _count(client, [flow_run_id], ("COMPLETED",)), changed - begun)
            time.sleep(max(_POLL_S, _POLLING * (now - begun)))


@dataclass(frozen=True)
class Settled:
    """The flow run of a user's flow, and the task runs of it and its sub-flows, when no more came.

    states: task runs by final state: `Completed`, `Cached`, `Failed`, `Crashed`, `Cancelled`, `NotReady` (an upstream
        failed, so it will never run) and `not ended`; those there are none of are left out.
    subflow_tasks: how many of them belong to sub-flows.
    lag_s: from the call until the last of them came.
    flow_state, flow_message: of the flow run itself.
    """

    states: dict[str, int]
    subflow_tasks: int
    lag_s: float
    flow_state: str
    flow_message: str

    @property
    def ended(self) -> int:
        return sum(self.states.values()) - self.states.get("not ended", 0)


def wait_settled(api_url: str, flow_run_id: str, least: int, limit_s: float) -> Settled:
    """Ask the server until at least `least` task runs have ended, none is left and none has come for a second.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    begun = changed = time.monotonic()
    before: tuple[int, int] | None = None
    with _client(api_url) as client:
        while True:
            runs = _family(client, flow_run_id)
            every, ended = _count(client, runs), _count(client, runs, _FINAL) + _not_ready(client, runs)
            now = time.monotonic()
            if (every, ended) != before:
                before, changed = (every, ended), now
            still = now - changed >= _STILL_S and every == ended >= least
            if still or now - begun > limit_s:
                break
            time.sleep(_POLL_S)
        states = {state.capitalize(): _count(client, runs, (state,)) for state in _FINAL}
        cached = _count(client, runs, name="Cached")
        states = {
            **{**states, "Completed": states["Completed"] - cached},
            **{"Cached": cached, "NotReady": _not_ready(client, runs), "not ended": every - ended},
        }
        state = client.get(f"/flow_runs/{flow_run_id}").raise_for_status().json().get("state") or {}
        return Settled(
            states={name: count for name, count in states.items() if count},
            subflow_tasks=every - _count(client, [flow_run_id]),
            lag_s=changed - begun,
            flow_state=str(state.get("type") or "never recorded").capitalize(),
            flow_message=" ".join(str(state.get("message") or "").split()),
        )


def _client(api_url: str) -> httpx.Client:
    return httpx.Client(base_url=api_url, timeout=60, headers={UNCOUNTED: "1"})


def _family(client: httpx.Client, flow_run_id: str) -> list[str]:
    """The flow run and all that it started, down to the last sub-flow."""
    family, parents = [flow_run_id], [flow_run_id]
    while parents:
        children: list[str] = []
        while True:
            body = {
                "flow_runs": {"parent_flow_run_id": {"any_": parents}},
                "limit": _PAGE,
                "offset": len(children),
                "sort": "ID_DESC",
            }
            page = [run["id"] for run in client.post("/flow_runs/filter", json=body).raise_for_status().json()]
            children += page
            if len(page) < _PAGE:
                break
        family += children
        parents = children
    return family


def _not_ready(client: httpx.Client, flow_run_ids: Sequence[str]) -> int:
    return _count(client, flow_run_ids, name="NotReady")


def _count(
    client: httpx.Client, flow_run_ids: Sequence[str], states: Sequence[str] = (), name: str | None = None
) -> int:
    """Task runs of these flow runs: all, or those in states of these types, or of this name."""
    wanted = {"type": {"any_": list(states)}} if states else {"name": {"any_": [name]}} if name else None
    answer = client.post(
        "/task_runs/count",
        json={
            "flow_runs": {"id": {"any_": list(flow_run_ids)}},
            **({"task_runs": {"state": wanted}} if wanted else {}),
        },
    )
    answer.raise_for_status()
    return int(answer.json())


def send_rest() -> None:
    """Send what Prefect's background threads still hold: at exit they would complain that the server is gone."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)
