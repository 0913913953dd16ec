"""A cell ends when the server has recorded its task runs: it works off their events long after the flow returned."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from runner_lab.benchmarks.measuring.server_runs import FINAL, POLL_S, ServerRuns

_STILL_S = 1.0
"""Where nobody knows how many task runs there will be, they are all there when none has come for so long."""
_SLOWEST_S = 0.5
"""A task: a server that records fewer than two task runs a second is given up, however many still come."""
_POLLING = 0.02
"""Share of the time waited that lies between two questions: to count thousands of task runs is work for the server."""
_NO_MORE_S = 5.0
"""Task runs that the driver began and the server does not know may never have come into being, as when an upstream took
them along: where the whole server has been still for so long, they do not come."""
_REST_S, _REST_POLL_S = 2.0, 0.5
_AWAY_S = 10.0
"""Of a server that does not even answer nobody need wait for the rest."""

T = TypeVar("T")


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
    begun_s = time.monotonic() if since_s is None else since_s
    longest_s = limit_s + expected * _SLOWEST_S

    def over(final: int, same_s: float, waited_s: float) -> bool:
        return final >= expected or same_s > limit_s or waited_s > longest_s

    with ServerRuns(api_url, limit_s) as runs:
        final, changed_s = _watch(lambda: runs.count([flow_run_id], FINAL), over)
        return Recorded(final, runs.count([flow_run_id], ("COMPLETED",)), changed_s - begun_s)


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

    Where fewer have come and all of them have ended, it is enough that nothing has come to the server for five seconds.

    Args:
        since_s: what the lag counts from (`time.monotonic`): the return of the flow; the call by default.

    Raises:
        UnansweredError: the server does not answer for `limit_s` seconds.
    """
    begun_s = time.monotonic() if since_s is None else since_s

    def over(found: tuple[list[str], int, int, int, int], same_s: float, waited_s: float) -> bool:
        _, not_ready, every, ended, _ = found
        enough_s = _STILL_S if every >= least else _NO_MORE_S
        return (same_s >= enough_s and every == ended + not_ready) or waited_s > limit_s

    with ServerRuns(api_url, limit_s) as runs:

        def ask() -> tuple[list[str], int, int, int, int]:
            family = runs.family(flow_run_id)
            not_ready, every, ended = (
                runs.count(family, name="NotReady"),
                runs.count(family),
                runs.count(family, FINAL),
            )
            # Where some are missing, whatever comes to the server may be followed by them.
            elsewhere = runs.count() if every == ended + not_ready < least else 0
            return family, not_ready, every, ended, elsewhere

        (family, not_ready, every, ended, _), changed_s = _watch(ask, over)
        states = {state.capitalize(): runs.count(family, (state,)) for state in FINAL}
        cached = runs.count(family, name="Cached")
        states = {
            **{**states, "Completed": states["Completed"] - cached},
            **{"Cached": cached, "NotReady": not_ready, "not ended": every - ended - not_ready},
        }
        state = runs.run("flow_runs", flow_run_id).get("state") or {}
        return Settled(
            states={name: count for name, count in states.items() if count},
            subflow_tasks=every - runs.count([flow_run_id]),
            lag_s=changed_s - begun_s,
            flow_state=str(state.get("type") or "never recorded").capitalize(),
            flow_message=" ".join(str(state.get("message") or "").split()),
        )


def wait_still(api_url: str, limit_s: float) -> None:
    """Wait until no task run has come or ended for two seconds, whosever it is, or for `limit_s` seconds.

    Of a flow that failed nobody knows what it has left on its way to the server.

    Raises:
        UnansweredError: the server does not answer for ten seconds.
    """
    with ServerRuns(api_url, min(_AWAY_S, limit_s)) as runs:
        _watch(
            lambda: (runs.count(), runs.count(states=FINAL)),
            lambda counts, same_s, waited_s: same_s >= _REST_S or waited_s > limit_s,
            _REST_POLL_S,
        )


def _watch(ask: Callable[[], T], over: Callable[[T, float, float], bool], poll_s: float = POLL_S) -> tuple[T, float]:
    """Ask until it is over.

    Args:
        over: told an answer, for how many seconds it has been the same, and for how many it has been asked.
        poll_s: seconds between two questions; more once that is little beside the time waited.

    Returns:
        The last answer, and when it came first (`time.monotonic`).
    """
    begun_s = changed_s = time.monotonic()
    before: T | None = None
    while True:
        answer = ask()
        now_s = time.monotonic()
        if answer != before:
            before, changed_s = answer, now_s
        if over(answer, now_s - changed_s, now_s - begun_s):
            return answer, changed_s
        time.sleep(max(poll_s, _POLLING * (now_s - begun_s)))


def send_rest() -> None:
    """Send what Prefect's background threads still hold: at exit they would complain that the server is gone."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)
