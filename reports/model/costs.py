"""What a runner costs: the terms of the cost model, and the time of a workload made from them.

Physics before fit: which slots share a GIL is known of the engine; waves of n over W slots, the driver's serial part
and the machine's cores are forms that need no fitting. `docs/method.md` has the model with its units;
`reports.model.fitting` finds the terms that are not known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from runner_lab.reports.model.distance import ApiTrips

CPU_KINDS = ("spin", "crunch")
GIL_KINDS = ("spin",)
"""CPU work that holds the GIL: where slots share a process, one body runs at a time."""
UNLIMITED = 10**9
"""Slots of an event loop: one for every task."""
OVERLAP = 6.0
"""Power of the mean that joins driver and slots: where they are equally busy they hinder each other, and take 12 %
longer."""
STIRRED_S = 0.005
"""A body of so many seconds or more leaves Prefect's part of the next task cold caches and sleeping threads."""
OFF = 0.1
"""How far a predicted time may be off either way, relative, where it is rounded up to the next heartbeat."""

Bottleneck = Literal["submit", "workers", "gil", "machine", "loop", "body"]


@dataclass(frozen=True)
class Workload:
    """What is to be run, as far as a runner's time depends on it.

    tasks:         task runs.
    working:       how many of them have a body that takes time; the others are empty.
    body_s:        seconds of such a body: wall seconds of `sleep`, CPU seconds of `spin` and `crunch`.
    kind:          `none`, `sleep`, `spin` or `crunch`.
    payload_bytes: bytes handed from task to task, over the whole workload.
    """

    tasks: int
    working: int
    body_s: float
    kind: str = "none"
    payload_bytes: float = 0.0

    @classmethod
    def of_items(cls, items: int, seconds: float, kind: str, payload_bytes: float = 0.0, batch: int = 1) -> Workload:
        """Independent items of a user's, `batch` of them to a task, each handing on `payload_bytes`."""
        tasks = -(-items // batch)
        return cls(tasks, tasks, seconds * items / tasks, kind if seconds else "none", payload_bytes * items)


@dataclass(frozen=True)
class Costs:
    """The terms of one arm. `None`: the run has no cell that tells.

    driver_s:     seconds a task that the flow's own process takes, one task after another: submit, hand-over, result.
                  Where the slots are in that process, all that Prefect does for a task under its GIL.
    slot_s:       seconds a task holds its slot beyond its body.
    cpu_s:        core-seconds a task uses beyond its body, in driver and workers.
    stirred:      times as much all three are where bodies take a while (`STIRRED_S`).
    server_cpu_s: core-seconds a task uses on Prefect's server, on at most one core, while the flow runs and after it.
    server_fixed_cpu_s: core-seconds a flow run uses there however few its tasks.
    fixed_s:      seconds a flow run pays however few its tasks; a stock process pool starts its pool there.
    fixed_cpu_s:  core-seconds a flow run uses however few its tasks, in driver and workers.
    payload_s:    seconds a byte handed from task to task adds.
    shares_gil:   the slots share one process, and so its GIL.
    starts_slots: each slot is a process that has to start; more of them than cores take longer.
    pool_in_run:  that start is part of every flow run, warm or cold, and so of `fixed_s`.
    measured_slots: of the run, which `fixed_s` and `cold_s` are for.
    event_loop:   all tasks run in one thread's event loop: a slot for each, and whatever computes takes turns.
    cold_s:       seconds that a start from nothing adds until the last result: cluster, pool, first imports.
    outside_s:    seconds of a flow run from a cold start before its first heartbeat and after its last.
    heartbeat_s:  a flow run returns when the thread of its heartbeats wakes, so many seconds after its start or a
                  multiple; 0 where it does not wait for that.
    api_latency_s: round trip to Prefect's API with which all of this was measured.
    api_trips:    round trips that a task and a flow run wait for.
    server_tasks_per_s: task runs a second the server took down when it was behind; `None` where it kept up.
    """

    driver_s: float
    slot_s: float
    cpu_s: float
    server_cpu_s: float
    fixed_s: float
    fixed_cpu_s: float
    payload_s: float | None
    shares_gil: bool
    cold_s: float | None
    server_tasks_per_s: float | None
    starts_slots: bool = False
    pool_in_run: bool = False
    measured_slots: int = 1
    event_loop: bool = False
    api_latency_s: float = 0.0
    api_trips: ApiTrips | None = None
    stirred: float = 1.0
    server_fixed_cpu_s: float = 0.0
    outside_s: float = 0.0
    heartbeat_s: float = 0.0

    @property
    def serial_kinds(self) -> tuple[str, ...]:
        """Kinds of work of which one body runs at a time, however many slots there are."""
        if self.event_loop:
            return CPU_KINDS
        return GIL_KINDS if self.shares_gil else ()

    def with_fitted(self, values: Any, names: tuple[str, ...]) -> Costs:
        """The same with the fitted terms `names` set."""
        terms: dict[str, Any] = dict(zip(names, map(float, values), strict=True))
        return replace(self, **terms)

    def away(self, api_latency_s: float) -> Costs:
        """The same with the API that round trip away; as it was where the run has not measured what that does."""
        if self.api_trips is None:
            return self
        farther_s = api_latency_s - self.api_latency_s
        start_s = None if self.cold_s is None else max(self.cold_s + self.api_trips.flow_run * farther_s, 0.0)
        slot_s = max(self.slot_s + self.api_trips.task * farther_s, 0.0)
        return replace(self, slot_s=slot_s, cold_s=start_s, api_latency_s=api_latency_s)

    def prefect_factor(self, working: Any, body_s: Any) -> Any:
        """Times that Prefect's part of a task takes what it takes where bodies are empty.

        Args:
            working: the share of the tasks that have a body.
        """
        return 1.0 + (self.stirred - 1.0) * np.minimum(body_s / STIRRED_S, 1.0) * working

    def start_factor(self, slots: Any, cores: int | None) -> Any:
        """How much longer the slots' processes take to start than as many as were measured: imports are CPU work."""
        if not self.starts_slots:
            return 1.0
        at_once = float(cores or self.measured_slots)
        return np.maximum(slots, at_once) / max(self.measured_slots, at_once)


@dataclass(frozen=True)
class Places:
    """Seconds that each place is busy, all of which have to be done with their part: arrays or numbers.

    serial: what comes one after another: the driver's part of every task, and bodies that share a GIL.
    last:   the last task alone, which is in all three.
    """

    serial: Any
    workers: Any
    machine: Any
    last: Any


def busy(costs: Costs, tasks: Any, working: Any, body_s: Any, kind: str, slots: Any, cores: int | None) -> Places:
    """How long the driver is busy, the slots are held, and the machine's cores compute; arrays are welcome."""
    tasks, working, body_s = (np.asarray(value, dtype=float) for value in (tasks, working, body_s))
    some = np.minimum(tasks, 1.0)
    more = costs.prefect_factor(working / np.maximum(tasks, 1.0), body_s)
    # The last task submitted still has to run.
    last = (body_s * np.minimum(working, 1.0) + more * costs.slot_s) * some
    serial = more * costs.driver_s * np.maximum(tasks - 1.0, 0.0) + last
    if kind in costs.serial_kinds:
        # With one slot it is the slot where bodies come one after another, and no second place for them.
        serial = np.where(np.asarray(slots) == 1, serial, more * costs.driver_s * tasks + body_s * working)
    held = more * costs.slot_s * np.maximum(tasks / slots, some) + body_s * np.ceil(working / slots)
    if not cores:
        return Places(serial, held, 0.0 * serial, last)
    computing = more * costs.cpu_s * tasks + (body_s * working if kind in CPU_KINDS else 0.0)
    serving = costs.server_fixed_cpu_s * some + costs.server_cpu_s * tasks
    # The server computes beside the flow, on one core at most; what it has not done by then it does afterwards.
    together = (computing + serving) / cores
    ahead = computing / (cores - 1) if cores > 1 else 2.0 * computing
    return Places(serial, held, np.minimum(together, ahead), last)


def makespan_s(
    costs: Costs,
    tasks: Any,
    working: Any,
    body_s: Any,
    kind: str,
    payload_bytes: Any,
    slots: Any,
    cores: int | None,
) -> Any:
    """First submit to last result, seconds: what is fixed, the busiest of the three places, and the payload."""
    places = busy(costs, tasks, working, body_s, kind, slots, cores)
    # The last task has its body to itself, whatever the places hindered each other before.
    before = [np.maximum(place - places.last, 0.0) for place in (places.serial, places.workers)]
    scale = np.maximum(np.maximum.reduce(before), 1e-12)
    joined = scale * sum((place / scale) ** OVERLAP for place in before) ** (1 / OVERLAP)
    # What computes holds a slot or the driver meanwhile: the machine is no third place for it, but may be slower.
    joined = places.last + np.maximum(joined, places.machine - places.last)
    fixed = costs.fixed_s * (costs.start_factor(slots, cores) if costs.pool_in_run else 1.0)
    return fixed + joined + (costs.payload_s or 0.0) * np.asarray(payload_bytes, dtype=float)


def cold_start_s(costs: Costs, slots: Any, cores: int | None) -> Any:
    """Seconds that a start from nothing adds until the last result, with so many slots; 0 where none was measured."""
    return (costs.cold_s or 0.0) * (1.0 if costs.pool_in_run else costs.start_factor(slots, cores))


def at_heartbeat_s(costs: Costs, seconds: Any) -> Any:
    """When a flow run returns that has its last result after so many seconds from a cold start."""
    if not costs.heartbeat_s:
        return np.asarray(seconds, dtype=float) + costs.outside_s
    return costs.heartbeat_s * np.ceil(np.asarray(seconds, dtype=float) / costs.heartbeat_s) + costs.outside_s


def usually_at_heartbeat_s(costs: Costs, seconds: Any) -> Any:
    """The same on average over what the seconds may be, which are known to a tenth: a time without steps."""
    if not costs.heartbeat_s:
        return at_heartbeat_s(costs, seconds)
    beats = np.maximum(np.asarray(seconds, dtype=float) / costs.heartbeat_s, 1e-9)
    low, high = beats * (1 - OFF), beats * (1 + OFF)
    return costs.heartbeat_s * (_ceilings(high) - _ceilings(low)) / (high - low) + costs.outside_s


def _ceilings(end: Any) -> Any:
    """The integral of `ceil` from 0."""
    whole = np.floor(end)
    return whole * (whole + 1) / 2 + (end - whole) * (whole + 1)


def bottleneck(costs: Costs, work: Workload, slots: int, cores: int | None) -> Bottleneck:
    """The place that decides the makespan of a workload."""
    places = busy(costs, work.tasks, work.working, work.body_s, work.kind, slots, cores)
    if costs.event_loop:
        waits = work.kind not in CPU_KINDS and work.body_s > costs.driver_s * work.tasks
        return "body" if waits else "loop"
    gil = work.kind in costs.serial_kinds and slots > 1
    if gil and work.body_s * work.working > 0.5 * max(places.workers, places.machine):
        return "gil"
    if places.serial > max(places.workers, places.machine) and costs.driver_s * work.tasks > work.body_s:
        return "submit"
    return "workers" if places.workers >= places.machine else "machine"


def cpu_seconds(costs: Costs, work: Workload) -> float:
    """Core-seconds of a workload in driver, workers and server, its bodies' own CPU work among them."""
    bodies = work.working * work.body_s if work.kind in CPU_KINDS else 0.0
    own = float(costs.prefect_factor(work.working / max(work.tasks, 1), work.body_s)) * costs.cpu_s
    return costs.fixed_cpu_s + costs.server_fixed_cpu_s + (own + costs.server_cpu_s) * work.tasks + bodies
