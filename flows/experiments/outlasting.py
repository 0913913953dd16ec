"""Flows that are still at it when something ends: their own process, or the server."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow, runtime, task

from runner_lab.flows.experiments.noted import ENOUGH, attempt, mark, note


@task
def stay(folder: str, number: int, seconds: float) -> int:
    """Run for so long, and leave a tick meanwhile: a file that is touched."""
    mark(folder, "stay")
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        (Path(folder) / f"tick-{number}").touch()
        time.sleep(0.2)
    mark(folder, "stayed")
    return number


@flow
def stays(folder: str, tasks: int, seconds: float) -> None:
    """More tasks than slots, each of them long."""
    futures = [stay.submit(folder, number, seconds) for number in range(tasks)]
    note(folder, flow_run_id=str(runtime.flow_run.id), task_run_ids=[str(future.task_run_id) for future in futures])
    for future in futures:
        future.wait()


@task
def step(folder: str, number: int) -> int:
    mark(folder, "step")
    time.sleep(0.5)
    return number


@flow
def goes_on(folder: str, longest_s: float) -> int:
    """Two tasks after two tasks, until it is told that it is enough."""
    note(folder, flow_run_id=str(runtime.flow_run.id))
    end_s = time.monotonic() + longest_s
    done = 0
    while time.monotonic() < end_s and not (Path(folder) / ENOUGH).exists():
        for future in [step.submit(folder, done + place) for place in range(2)]:
            future.result()
        done += 2
        note(folder, done=done)
    return done


@task
def brief(number: int) -> int:
    return number


@flow
def small(folder: str, tasks: int) -> None:
    """A few tasks."""
    note(folder, flow_run_id=str(runtime.flow_run.id))
    futures = [brief.submit(number) for number in range(tasks)]
    told = [attempt(future.result)[0] for future in futures]
    note(folder, completed=told.count("returns"))
