"""Where a task's time goes: from the probe's spans to seconds a stage, on the driver's own clock readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from runner_lab.flows.graph.wiring import Outcome
from runner_lab.records.task_stages import ABSORBERS, STAGES, TaskStages
from runner_lab.runners.probe.schedule import Schedule
from runner_lab.runners.probe.spans import Span

SECTION = 5
"""Tasks of a chain with the probe off, then as many with it on, and so on; see `runners.probe.schedule.Schedule`.

Chains are an odd number of sections long: they end with the probe off, and a drift is on both sides alike.
"""


@dataclass(frozen=True)
class TaskWindow:
    """One task as the driver saw it: before its submit, after it, and when it had the result."""

    submit_s: float
    returned_s: float
    seen_s: float


def task_stages_of(outcome: Outcome, schedule: Schedule) -> TaskStages | None:
    """What the tasks of a chain cost, stage by stage; None where the probe saw no task whole.

    A task of which the probe saw no beginning, in a worker that it had just reached, is left out.
    """
    recording = schedule.recording()
    probed: list[float] = []
    unprobed: list[float] = []
    stages: list[dict[str, float]] = []
    for lane, (submit_s, returned_s) in enumerate(zip(outcome.submits_s, outcome.returns_s, strict=True)):
        window = TaskWindow(submit_s, returned_s, outcome.seen_s[lane])
        if not schedule.judged(lane):
            continue
        if not schedule.on(lane):
            unprobed.append(window.seen_s - window.submit_s)
        elif (split := account(window, recording.spans, recording.driver)) is not None:
            probed.append(window.seen_s - window.submit_s)
            stages.append(split)
    if not stages:
        return None
    unknown = {absorber for stage in recording.moved for absorber in ABSORBERS[stage]}
    means = {stage: sum(split[stage] for split in stages) / len(stages) for stage in STAGES if stage not in unknown}
    return TaskStages(means, tuple(probed), tuple(unprobed))


def account(window: TaskWindow, spans: Sequence[Span], driver: int) -> dict[str, float] | None:
    """Seconds of one task by stage: each instant from submit to result belongs to one stage, so they add up to it.

    Where spans overlap, the instant is the innermost one's: body, client, hydrate, then the engine that runs the task.
    Until the engine has it, what the driver does goes before what nobody does. None: no task ran within the window.
    """
    begun, ended = window.submit_s, window.seen_s
    within = [span for span in spans if begun <= span.begin_s and span.end_s <= ended]
    task = max((s for s in within if s.stage == "task"), key=lambda s: s.end_s - s.begin_s, default=None)
    if task is None:
        return None
    own = [s for s in within if (s.pid, s.thread) == (task.pid, task.thread)]
    layers: list[tuple[str, list[tuple[float, float]]]] = [
        ("body", [(s.begin_s, s.end_s) for s in own if s.stage == "body"]),
        (
            "client",
            [(max(s.begin_s, begun), s.end_s) for s in own if s.stage == "client" and s.begin_s >= task.begin_s],
        ),
        ("hydrate", [(s.begin_s, s.end_s) for s in own if s.stage == "hydrate"]),
        ("engine", [(task.begin_s, task.end_s)]),
        (
            "hydrate",
            [(s.begin_s, min(s.end_s, task.begin_s)) for s in within if s.stage == "unpickle" and s.pid == task.pid],
        ),
        ("serialize", [(s.begin_s, s.end_s) for s in within if s.stage == "serialize" and s.pid == driver]),
        ("submit", [(begun, min(window.returned_s, task.begin_s))]),
        ("queue", [(begun, task.begin_s)]),
        ("result", [(task.end_s, ended)]),
    ]
    edges = sorted(
        {begun, ended, *(edge for _, found in layers for ends in found for edge in ends if begun < edge < ended)}
    )
    seconds = dict.fromkeys(STAGES, 0.0)
    for low, high in pairwise(edges):
        stage = next(name for name, found in layers if any(a <= low < b for a, b in found))
        seconds[stage] += high - low
    return seconds
