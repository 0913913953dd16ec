"""Phases and latencies of a pass, from the driver's clock and those of the bodies, where these are one.

Each host has a monotonic clock of its own, which counts from its own start. What one body took is told by its host's
clock alone, and what passed in the driver by the driver's; a reading of the one is never subtracted from the other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner_lab.flows.graph.ledger import Execution, host_id
from runner_lab.flows.graph.wiring import Outcome
from runner_lab.records.record import Latencies, Phases

_MOST_LATENCIES = 512


def elsewhere(entries: Iterable[Execution]) -> tuple[str, ...]:
    """Names of the other hosts that bodies ran on."""
    here = host_id()
    return tuple(sorted({entry.hostname for entry in entries if entry.host != here}))


def phases(called_s: float, outcome: Outcome, returned_s: float, entries: Sequence[Execution]) -> Phases:
    """Phases of a pass; no startup where a body ran on another host, since the first body may be one of those."""
    one_clock = bool(entries) and not elsewhere(entries)
    # A copy: a late callback may still add to it.
    seen_s = list(outcome.seen_s.values())
    return Phases(
        startup_s=min(entry.start_s for entry in entries) - called_s if one_clock else None,
        first_result_s=min(seen_s) - called_s if seen_s else None,
        # A chain waits between its submits: they have no phase of their own.
        submit_s=None if outcome.returns_s else outcome.submitted_s - outcome.begun_s,
        makespan_s=outcome.done_s - outcome.begun_s,
        shutdown_s=returned_s - outcome.done_s,
        total_s=returned_s - called_s,
    )


def latencies(outcome: Outcome, entries: Sequence[Execution]) -> Latencies:
    """Latencies of the tasks; of queue and seen none at all where a body ran on another host.

    Those of the tasks that did run here would be no sample of all: what is near is reached sooner.
    """
    hellos = [entry for entry in entries if entry.name == "hello"]
    body_s = _thinned(entry.end_s - entry.start_s for entry in hellos)
    if elsewhere(entries):
        return Latencies(body_s=body_s)
    started: dict[int, float] = {}
    for entry in hellos:
        started[entry.lane] = min(entry.start_s, started.get(entry.lane, entry.start_s))
    seen = dict(outcome.seen_s)
    last = "greet" if any(entry.name == "greet" for entry in entries) else "hello"
    return Latencies(
        queue_s=_thinned(start - outcome.submits_s[lane] for lane, start in started.items()),
        body_s=body_s,
        seen_s=_thinned(seen[e.lane] - e.end_s for e in entries if e.name == last and e.lane in seen),
    )


def _thinned(values: Iterable[float]) -> tuple[float, ...]:
    """Ascending, and at most 512 of them, evenly spaced by rank."""
    ordered = sorted(values)
    count = len(ordered)
    if count > _MOST_LATENCIES:
        ordered = [ordered[round(i * (count - 1) / (_MOST_LATENCIES - 1))] for i in range(_MOST_LATENCIES)]
    return tuple(round(value, 6) for value in ordered)
