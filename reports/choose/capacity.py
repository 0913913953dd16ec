"""What gives way first as a graph grows: the driver, the slots, the server's recorder, memory, a plan's limits.

All of it is computed from a run's cost model and, where there is one, from a run of the scale profile. What was
measured at such a size stands beside what the model says there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runner_lab.reports.analysis.quotas import QUOTAS
from runner_lab.reports.analysis.scale import ArmScale
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose import ranking
from runner_lab.reports.choose.choice import CannotChoose, candidates
from runner_lab.reports.choose.ranking import BEYOND, Request
from runner_lab.reports.model import costs
from runner_lab.reports.model.costs import Bottleneck
from runner_lab.reports.model.model import ArmModel

TASKS = (1_000, 10_000, 100_000, 1_000_000)
SLOTS = (10, 100, 1_000)
QUEUE = 10_000
"""Event messages that a queue of Prefect's server holds by default; it drops what comes then."""
EVENTS = 3
"""Event messages of a task run that succeeds at once: Pending, Running, Completed."""


@dataclass(frozen=True)
class CapacityPoint:
    """One number of tasks on one number of slots.

    arm:        the runner that is named there.
    seconds:    its predicted time.
    limit:      what decides that time.
    recorded_s: seconds until the server has taken all task runs down, where that is later.
    estimate:   beyond twice what the run measured.
    """

    tasks: int
    slots: int
    arm: str
    seconds: float
    limit: Bottleneck
    recorded_s: float | None
    estimate: bool


@dataclass(frozen=True)
class Ceiling:
    """What one runner's places let through. `None`: not measured.

    driver_per_s:  tasks a second that the flow's own process hands out.
    slots_fed:     slots that it keeps busy with tasks of the length that was asked about.
    batch:         items to put into a task so that it keeps the most slots busy; 1 where none are needed.
    flow_runs:     flow runs beside each other that do the same without batches.
    driver_bytes:  that the driver's memory grows by for a task.
    plan:          the smallest plan of Prefect Cloud that takes a task's requests and messages at that pace; empty
                   where none does.
    loses:         tasks from which the server's queues overflow, with its default settings; None for runners that wait
                   for it, and for those too slow.
    """

    arm: str
    driver_per_s: float
    slots_fed: float
    batch: int
    flow_runs: int
    driver_bytes: float | None
    plan: str | None
    loses: int | None


@dataclass(frozen=True)
class Measured:
    """A graph of empty tasks that was measured, beside what the model says of it."""

    arm: str
    tasks: int
    measured_s: float
    predicted_s: float | None
    recorded: str
    recorded_per_s: float | None


@dataclass(frozen=True)
class Capacity:
    """`points` by tasks and slots; `ceilings` an arm each, for the most slots.

    recorder_per_s: task runs a second that the server takes down when it is behind; `None` where it kept up.
    """

    run_id: str
    seconds: float
    kind: str
    points: tuple[CapacityPoint, ...]
    ceilings: tuple[Ceiling, ...]
    measured: tuple[Measured, ...]
    recorder_per_s: float | None


def capacity(summary: Summary, seconds: float, kind: str, scale: Summary | None = None) -> Capacity:
    """For tasks of `seconds` on a machine, or a cluster, with a core for each slot.

    Args:
        scale: a run of the scale profile, for memory, requests and what was measured.

    Raises:
        CannotChoose: the run's cells carry no model of a runner with slots.
    """
    models = [found for found in candidates(summary, cold=False, kind=kind) if found.arm.has_slots]
    if not models:
        raise CannotChoose(f"run {summary.run.run_id} cannot answer: too little was measured of any runner with slots")
    wide = {arm.arm: arm for arm in scale.scale} if scale else {}
    recorder = _recorder(summary, tuple(wide.values()))
    return Capacity(
        summary.run.run_id,
        seconds,
        kind,
        tuple(_point(models, tasks, slots, seconds, kind, recorder) for tasks in TASKS for slots in SLOTS),
        tuple(_ceiling(found, seconds, kind, max(SLOTS), recorder, wide.get(found.arm.name)) for found in models),
        tuple(_measured(models, tuple(wide.values()))),
        recorder,
    )


def _point(
    models: Sequence[ArmModel], tasks: int, slots: int, seconds: float, kind: str, recorder: float | None
) -> CapacityPoint:
    request = Request(tasks, seconds, kind, workers=slots, cores=max(slots, models[0].cores or 1))
    found = ranking.named(models, request)
    time_s = ranking.time_s(found, request)
    recorded_s = tasks / recorder if recorder else 0.0
    reach = found.reach
    beyond = tasks > BEYOND * reach.tasks or slots > BEYOND * max(reach.worker_counts, default=1)
    limit = costs.bottleneck(found.costs, request.workload(), slots, request.cores)
    return CapacityPoint(
        tasks, slots, found.arm.label, time_s, limit, recorded_s if recorded_s > time_s else None, beyond
    )


def _ceiling(
    found: ArmModel, seconds: float, kind: str, slots: int, recorder: float | None, wide: ArmScale | None
) -> Ceiling:
    more = float(found.costs.prefect_factor(1.0, seconds))
    driver_s = max(more * found.costs.driver_s, 1e-6)
    held_s = more * found.costs.slot_s + seconds
    # Of bodies that hold the GIL of the flow's process, one goes on at a time, and no batch changes that.
    one_by_one = kind in found.costs.serial_kinds
    serial_s = driver_s + (seconds if one_by_one else 0.0)
    fed = held_s / serial_s
    size = next((s for s in reversed(wide.sizes) if s.requests is not None), None) if wide else None
    largest = next((s for s in reversed(wide.sizes) if s.driver_bytes_per_task is not None), None) if wide else None
    # The items of a batch lengthen the body, and the driver's part stays.
    batch = 1
    if seconds and not one_by_one:
        batch = math.ceil(max((slots * driver_s - held_s) / seconds + 1.0, 1.0))
    pace = 1.0 / serial_s
    plan = None
    if size is not None and size.requests is not None:
        messages = (size.events or 0.0) + (size.logs or 0.0)
        rooms = [(q.plan, q.tasks_a_minute(size.requests, messages)) for q in QUOTAS]
        plan = next((name for name, room in rooms if room is None or room >= 60 * pace), "")
    loses = None
    if recorder and not found.arm.lean and pace > recorder:
        # What is not taken down yet waits in the queue: the share of the tasks by which the pace is ahead.
        loses = round(QUEUE / EVENTS / (1 - recorder / pace))
    return Ceiling(
        found.arm.label,
        pace,
        fed,
        batch,
        max(1, math.ceil(slots / fed)),
        largest.driver_bytes_per_task if largest else None,
        plan,
        loses,
    )


def _recorder(summary: Summary, wide: Sequence[ArmScale]) -> float | None:
    """Of the widest graphs where there are any, else of the cells that the server was behind in.

    What sends fewer states of a task than all is recorded faster, and says nothing of the others. The most that was
    seen: here the server has a machine of its own, and there it shared one with the flow.
    """
    rates = [
        size.recorded_per_s.value
        for arm in wide
        for size in arm.measured[-1:]
        if size.recorded_per_s is not None and size.lag_s is not None and size.lag_s > 1.0
        if size.events is None or round(size.events) >= EVENTS
    ]
    if not rates:
        rates = [found.costs.server_tasks_per_s for found in summary.model.arms if found.costs.server_tasks_per_s]
    return max(rates, default=None)


def _measured(models: Sequence[ArmModel], wide: Sequence[ArmScale]) -> list[Measured]:
    by_name = {found.arm.name: found for found in models}
    return [
        Measured(
            arm.arm,
            size.tasks,
            size.makespan_s.value,
            None
            if arm.arm not in by_name
            else ranking.time_s(by_name[arm.arm], Request(size.tasks, 0.0, "none", workers=by_name[arm.arm].workers)),
            f"{size.recorded}/{size.expected_recorded}" if size.recorded is not None else "",
            size.recorded_per_s.value if size.recorded_per_s else None,
        )
        for arm in wide
        for size in arm.measured
        if size.makespan_s is not None and size.tasks >= TASKS[0]
    ]
