"""Profiles of flows that nobody has run: their task runs and what the flow does, from a few figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runner_lab.records.flow_profile import FlowProfile, Step, TaskProfile
from runner_lab.reports.model.simulation import Handling

FREE = Handling(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, in_process=False)
"""A runner that costs nothing, its slots in processes of their own."""
THREADS = replace(FREE, in_process=True)


def waits(seconds: float, **other: Any) -> TaskProfile:
    return TaskProfile("wait", wait_s=seconds, end_s=seconds, attempts=1, lane=0, **other)


def computes(seconds: float, gil: float = 1.0, **other: Any) -> TaskProfile:
    return TaskProfile(
        "compute", cpu_s=seconds, gil_s=gil * seconds, end_s=seconds, attempts=1, lane=0, **{"width": 1.0, **other}
    )


def submits(runs: Sequence[TaskProfile], *, own_s: float = 0.0) -> tuple[Step, ...]:
    """One after another, with code of the flow's own before each, and a wait for all of them."""
    steps: list[Step] = []
    for place in range(len(runs)):
        steps += [Step("own", cpu_s=own_s)] if own_s else []
        steps.append(Step("submit", (place,), where="flow.py:1"))
    return (*steps, Step("wait", tuple(range(len(runs)))))


def profile(runs: Sequence[TaskProfile], steps: Sequence[Step] | None = None, **other: Any) -> FlowProfile:
    known = {
        **{"name": "etl", "runner": "ThreadPoolTaskRunner", "engine": "threads", "slots": 0, "cores": 2},
        **{"wall_s": 10.0, "fn_s": 9.9, "asynchronous": False, **other},
    }
    return FlowProfile(steps=tuple(submits(runs) if steps is None else steps), runs=tuple(runs), **known)
