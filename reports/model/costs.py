"""What a runner costs: the terms of the cost model, and the time of a workload made from them.

`docs/method.md` has the model with its units; `reports.model.model` fits the terms to a run and judges them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

CPU_KINDS = ("spin", "crunch")

Bottleneck = Literal["submit", "workers", "gil", "machine"]


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

    submit_s:     driver, seconds a task: submits follow one another, so nothing is faster than tasks x submit_s.
    slot_s:       worker, seconds a task holds its slot beyond its body.
    cpu_s:        core-seconds a task uses beyond its body, in driver and workers.
    server_cpu_s: core-seconds a task uses on Prefect's server, which works them off behind the flow.
    fixed_s:      seconds a flow run pays however few its tasks; a stock process pool starts its pool there.
    fixed_cpu_s:  core-seconds a flow run uses however few its tasks, in driver and workers.
    payload_s:    seconds a byte handed from task to task adds.
    gil_share:    share of a CPU body that keeps all other bodies waiting, by kind: 1 under the GIL, 0 free of it.
    cold_s:       seconds that a start from nothing adds, and its end: cluster, pool, first imports, shutdown.
    server_tasks_per_s: task runs a second the server took down when it was behind; `None` where it kept up.
    """

    submit_s: float
    slot_s: float
    cpu_s: float
    server_cpu_s: float
    fixed_s: float
    fixed_cpu_s: float
    payload_s: float | None
    gil_share: dict[str, float]
    cold_s: float | None
    server_tasks_per_s: float | None

    def with_fitted(self, values: Any, names: tuple[str, ...]) -> Costs:
        """The same with the fitted terms `names` set; a kind of CPU work is named by itself."""
        given = dict(zip(names, map(float, values), strict=True))
        share = {kind: given.pop(kind) for kind in CPU_KINDS if kind in given}
        return replace(self, gil_share=self.gil_share | share, **given)


@dataclass(frozen=True)
class Places:
    """Seconds that each of three places is busy, all of which have to be done with their part: arrays or numbers."""

    submit: Any
    workers: Any
    machine: Any


def busy(costs: Costs, tasks: Any, working: Any, body_s: Any, kind: str, workers: Any, cores: int | None) -> Places:
    """How long the driver submits, the slots are held, and the machine's cores compute; arrays are welcome.

    Bodies come in waves of `workers`; the share of a CPU body under the GIL comes one after another.
    """
    tasks, working, body_s = (np.asarray(value, dtype=float) for value in (tasks, working, body_s))
    alone = costs.gil_share.get(kind, 0.0)
    bodies = body_s * (alone * working + (1 - alone) * np.ceil(working / workers))
    slots = costs.slot_s * np.maximum(tasks / workers, np.minimum(tasks, 1.0)) + bodies
    computing = costs.cpu_s * tasks + (body_s * working if kind in CPU_KINDS else 0.0)
    machine = computing / cores if cores else 0.0 * computing
    return Places(costs.submit_s * tasks, slots, machine)


def makespan_s(
    costs: Costs,
    tasks: Any,
    working: Any,
    body_s: Any,
    kind: str,
    payload_bytes: Any,
    workers: Any,
    cores: int | None,
) -> Any:
    """First submit to last result, seconds: what is fixed, the busiest of the three places, and the payload."""
    places = busy(costs, tasks, working, body_s, kind, workers, cores)
    busiest = np.maximum(np.maximum(places.submit, places.workers), places.machine)
    return costs.fixed_s + busiest + (costs.payload_s or 0.0) * np.asarray(payload_bytes, dtype=float)


def bottleneck(costs: Costs, work: Workload, workers: int, cores: int | None) -> Bottleneck:
    """The place that decides the makespan of a workload."""
    places = busy(costs, work.tasks, work.working, work.body_s, work.kind, workers, cores)
    if places.submit >= max(places.workers, places.machine):
        return "submit"
    held = costs.gil_share.get(work.kind, 0.0) * work.working * work.body_s
    if held > 0.5 * max(places.workers, places.machine):
        return "gil"
    return "workers" if places.workers >= places.machine else "machine"


def cpu_seconds(costs: Costs, work: Workload) -> float:
    """Core-seconds of a workload in driver, workers and server, its bodies' own CPU work among them."""
    bodies = work.working * work.body_s if work.kind in CPU_KINDS else 0.0
    return costs.fixed_cpu_s + (costs.cpu_s + costs.server_cpu_s) * work.tasks + bodies
