"""A cell ends when the server has recorded its task runs: it works off their events long after the flow returned."""

from __future__ import annotations

import time
from dataclasses import dataclass

from runner_lab.benchmarks.measuring.server_runs import FINAL, POLL_S, ServerRuns

_STILL_S = 1.0
"""Where nobody knows how many task runs there will be, they are all there when none has come for so long."""
_SLOWEST_S = 0.5
"""A task: a server that records fewer than two task runs a second is given up, however many still come."""
_POLLING = 0.02
"""Share of the time waited that lies between two questions: to count thousands of task runs is work for the server."""
_REST_S, _REST_POLL_S = 2.0, 0.5
_AWAY_S = 10.0
"""Of a server that does not even answer nobody need wait for the rest."""


@dataclass(frozen=True)
class Recorded:
    """Task runs of one flow run on the server.

    final: in a final state.
    completed: of these, in state Completed (a cached one is).
    lag_s: from the moment that was named until all were there, or until the last of them came.
    """

    final: int
    completed: int
    lag_s: float


def wait_recorded(
    api_url: str, flow_run_id: str, expected: int, limit_s: float, since_s: float | None = None
) -> Recorded:
    """Ask the server until it has `expected` task runs in a final state, or none has come for `limit_s` seconds.

    So the more tasks the longer it may take in all: after a wide graph a server works for minutes.

    Args:
        since_s: what the lag counts from (`time.monotonic`): the return of the flow; the call by default.

    Raises:
        UnansweredError: the server does not answer for `limit_s` seconds.
    """
    begun = changed = time.monotonic()
    before = -1
    with ServerRuns(api_url, limit_s) as runs:
        while True:
            final = runs.count([flow_run_id], FINAL)
            now = time.monotonic()
            if final != before:
                before, changed = final, now
            if final >= expected or now - changed > limit_s or now - begun > limit_s + expected * _SLOWEST_S:
                lag_s = changed - (begun if since_s is None else since_s)
                return Recorded(final, runs.count([flow_run_id], ("COMPLETED",)), lag_s)
            time.sleep(max(POLL_S, _POLLING * (now - begun)))


@dataclass(frozen=True)
class Settled:
    """The flow run of a user's flow, and the task runs of it and its sub-flows, when no more came.

    states: task runs by final state: `Completed`, `Cached`, `Failed`, `Crashed`, `Cancelled`, `NotReady` (an upstream
        failed, so it will never run) and `not ended`; those there are none of are left out.
    subflow_tasks: how many of them belong to sub-flows.
    lag_s: from the moment that was named until the last of them came.
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


def wait_settled(api_url: str, flow_run_id: str, least: int, limit_s: float, since_s: float | None = None) -> Settled:
    """Ask the server until at least `least` task runs have ended, none is left and none has come for a second.

    Args:
        since_s: what the lag counts from (`time.monotonic`): the return of the flow; the call by default.

    Raises:
        UnansweredError: the server does not answer for `limit_s` seconds.
    """
    begun = changed = time.monotonic()
    before: tuple[int, int] | None = None
    with ServerRuns(api_url, limit_s) as runs:
        while True:
            family = runs.family(flow_run_id)
            not_ready = runs.count(family, name="NotReady")
            every, ended = runs.count(family), runs.count(family, FINAL) + not_ready
            now = time.monotonic()
            if (every, ended) != before:
                before, changed = (every, ended), now
            still = now - changed >= _STILL_S and every == ended >= least
            if still or now - begun > limit_s:
                break
            time.sleep(POLL_S)
        states = {state.capitalize(): runs.count(family, (state,)) for state in FINAL}
        cached = runs.count(family, name="Cached")
        states = {
            **{**states, "Completed": states["Completed"] - cached},
            **{"Cached": cached, "NotReady": not_ready, "not ended": every - ended},
        }
        state = runs.run("flow_runs", flow_run_id).get("state") or {}
        return Settled(
            states={name: count for name, count in states.items() if count},
            subflow_tasks=every - runs.count([flow_run_id]),
            lag_s=changed - (begun if since_s is None else since_s),
            flow_state=str(state.get("type") or "never recorded").capitalize(),
            flow_message=" ".join(str(state.get("message") or "").split()),
        )


def wait_still(api_url: str, limit_s: float) -> None:
    """Wait until no task run has come or ended for two seconds, whosever it is, or for `limit_s` seconds.

    Of a flow that failed nobody knows what it has left on its way to the server.

    Raises:
        UnansweredError: the server does not answer for ten seconds.
    """
    begun = changed = time.monotonic()
    before: tuple[int, int] | None = None
    with ServerRuns(api_url, min(_AWAY_S, limit_s)) as runs:
        while True:
            counts = runs.count(), runs.count(states=FINAL)
            now = time.monotonic()
            if counts != before:
                before, changed = counts, now
            if now - changed >= _REST_S or now - begun > limit_s:
                return
            time.sleep(_REST_POLL_S)


def send_rest() -> None:
    """Send what Prefect's background threads still hold: at exit they would complain that the server is gone."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)
