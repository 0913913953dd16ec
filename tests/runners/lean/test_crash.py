"""A worker that dies, and a flow run that ends badly: what is said of their task runs, and what is left."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.exceptions import CrashedRun

pytestmark = pytest.mark.slow

LEAN_REMOTE = ["processes-lean", "dask-lean", "ray-lean"]


@task
def die(folder: str, deaths: int) -> int:
    """Kill the worker the first `deaths` times, then return how often the body ran."""
    import signal

    runs = len(list(Path(folder).iterdir())) + 1
    (Path(folder) / str(runs)).touch()
    # The start of the task run is on its way to the API before the worker dies.
    time.sleep(0.5)
    if runs <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return runs


@task
def increment(x: int) -> int:
    return x + 1


@pytest.mark.parametrize("arm", LEAN_REMOTE, indirect=True)
def test_dead_worker(arm, tmp_path, recorded):
    runner = type(arm.make()).__name__
    run_ids: list[Any] = []

    @flow(task_runner=arm.make(crash_reruns=0))
    def dies(folder: str) -> Any:
        doomed = die.submit(folder, 9)
        others = [increment.submit(i) for i in range(4)]
        after = increment.submit(doomed)
        run_ids.extend([doomed.task_run_id, after.task_run_id])
        doomed.wait(120)
        assert doomed.state.is_crashed()
        with pytest.raises(CrashedRun, match=runner):
            doomed.result()
        assert [other.result(120) for other in others] == [1, 2, 3, 4]
        after.wait(120)
        assert not after.state.is_completed()
        return doomed, after

    state = dies(str(tmp_path), return_state=True)
    assert not state.is_completed()
    assert len(list(tmp_path.iterdir())) == 1
    doomed_run, after_run = run_ids
    crashed = recorded(doomed_run, lambda run: run.state.is_crashed())
    assert runner in crashed.state.message
    assert any(word in crashed.state.message for word in ("process", "worker"))
    recorded(after_run, lambda run: run.state.name == "NotReady")


@pytest.mark.parametrize("arm", LEAN_REMOTE, indirect=True)
def test_rerun_after_a_death(arm, tmp_path, recorded):
    @flow(task_runner=arm.make(crash_reruns=1))
    def survives(folder: str) -> tuple[int, Any]:
        future = die.submit(folder, 1)
        return future.result(120), future.task_run_id

    runs, task_run_id = survives(str(tmp_path))
    assert runs == 2
    recorded(task_run_id, lambda run: run.state.is_completed())


@pytest.mark.parametrize("arm", [*LEAN_REMOTE, "threads-lean"], indirect=True)
def test_failed_flow_starts_no_more_tasks(arm, tmp_path):
    @task
    def note(folder: str, name: int) -> None:
        (Path(folder) / str(name)).touch()
        time.sleep(1)

    @flow(task_runner=arm.make())
    def fails(folder: str) -> None:
        note.map([folder] * 12, list(range(12)))
        while not list(Path(folder).iterdir()):
            time.sleep(0.05)
        raise ValueError("the flow fails")

    assert fails(str(tmp_path), return_state=True).is_failed()
    # Long enough for all of them, had they not been cancelled. What a worker had in hand by then may still have begun.
    time.sleep(8)
    assert len(list(tmp_path.iterdir())) <= 6


@pytest.mark.parametrize("arm", ["processes-lean"], indirect=True)
def test_failed_flow_stops_its_own_processes(arm, tmp_path, recorded):
    import psutil

    @task
    def stay(folder: str) -> None:
        (Path(folder) / str(os.getpid())).touch()
        time.sleep(600)

    run_ids = []

    @flow(task_runner=arm.make())
    def fails(folder: str) -> None:
        run_ids.append(stay.submit(folder).task_run_id)
        while not list(Path(folder).iterdir()):
            time.sleep(0.05)
        time.sleep(0.5)
        raise ValueError("the flow fails")

    assert fails(str(tmp_path), return_state=True).is_failed()
    (pid,) = (int(path.name) for path in tmp_path.iterdir())
    assert not psutil.pid_exists(pid)
    recorded(run_ids[0], lambda run: run.state.is_crashed() and "stopped" in run.state.message)


def test_failed_flow_leaves_no_dask_cluster(lab_server, tmp_path):
    import psutil

    from runners.lean import LeanDaskTaskRunner

    @task
    def stay(folder: str) -> None:
        (Path(folder) / str(os.getpid())).touch()
        time.sleep(600)

    cluster = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}

    @flow(task_runner=LeanDaskTaskRunner(cluster_kwargs=cluster))
    def fails(folder: str) -> None:
        stay.submit(folder)
        while not list(Path(folder).iterdir()):
            time.sleep(0.05)
        raise ValueError("the flow fails")

    assert fails(str(tmp_path), return_state=True).is_failed()
    (pid,) = (int(path.name) for path in tmp_path.iterdir())
    assert not psutil.pid_exists(pid)
