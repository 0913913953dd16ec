"""What is recorded of a task run with `record="final"`: on a server, and event by event."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, runtime, task
from prefect.client.orchestration import get_client
from prefect.events.schemas.events import Event
from prefect.states import Cancelled
from prefect_lean.internals.recording import HELD_S

LEAN = ["threads-lean", "processes-lean", "dask-lean", "ray-lean"]
LIMIT_S = 120.0


@task(task_run_name="named-{x}", tags=["of-the-task"])
def named(x: int) -> int:
    return x + 1


@task
def fails() -> None:
    raise ValueError("no luck")


@task(retries=1)
def fails_once(folder: str) -> int:
    mark = Path(folder) / "once"
    if mark.exists():
        return 1
    mark.touch()
    raise ValueError("not yet")


@task
def waits(folder: str) -> str:
    deadline = time.monotonic() + LIMIT_S
    while not (Path(folder) / "go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return runtime.task_run.id or ""


@task
def dies() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def _states(task_run_id: Any) -> list[str]:
    with get_client(sync_client=True) as client:
        answer = client._client.get("/task_run_states/", params={"task_run_id": str(task_run_id)})
        states = sorted(answer.json(), key=lambda state: state["timestamp"])
    return [state["name"] for state in states]


@pytest.mark.slow
@pytest.mark.parametrize("arm", LEAN, indirect=True)
def test_final_state_has_all_that_the_api_shows(arm, recorded):
    @flow(task_runner=arm.make(record="final"))
    def records() -> Any:
        first = named.submit(1)
        second = named.submit(first)
        bad = fails.submit()
        bad.wait()
        return second.result(), [first.task_run_id, second.task_run_id, bad.task_run_id], runtime.flow_run.id

    result, (first, second, bad), flow_run_id = records()
    assert result == 3
    run = recorded(second, lambda run: run.state.is_final())
    assert run.name == "named-2"
    assert run.state_name == "Completed"
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.total_run_time.total_seconds() > 0
    assert run.run_count == 1
    assert str(run.flow_run_id) == flow_run_id
    assert "of-the-task" in run.tags
    assert [str(found.id) for found in run.task_inputs["x"]] == [str(first)]
    failed = recorded(bad, lambda run: run.state.is_final())
    assert "no luck" in failed.state.message
    for ended, final in ((run, "Completed"), (failed, "Failed")):
        # On a slow machine even these last so long that they are reported meanwhile.
        if (ended.end_time - ended.expected_start_time).total_seconds() < HELD_S:
            assert _states(ended.id) == [final]


@pytest.mark.slow
@pytest.mark.parametrize("arm", LEAN, indirect=True)
def test_all_states_unless_told_otherwise(arm, recorded):
    @flow(task_runner=arm.make())
    def records() -> Any:
        future = named.submit(1)
        future.wait()
        return future.task_run_id

    task_run_id = records()
    recorded(task_run_id, lambda run: run.state.is_final())
    assert _states(task_run_id) == ["Pending", "Running", "Completed"]


@pytest.mark.slow
@pytest.mark.parametrize("arm", LEAN, indirect=True)
def test_task_that_takes_long_or_retries_is_seen_meanwhile(arm, recorded, tmp_path):
    run_ids: list[Any] = []

    @flow(task_runner=arm.make(record="final"))
    def records() -> None:
        future, retried = waits.submit(str(tmp_path)), fails_once.submit(str(tmp_path))
        run_ids.extend([future.task_run_id, retried.task_run_id])
        try:
            assert recorded(future.task_run_id, lambda run: run.state.is_running()).start_time is not None
        finally:
            (tmp_path / "go").touch()
        assert retried.result(LIMIT_S) == 1
        future.wait(LIMIT_S)

    records()
    long, retried = run_ids
    recorded(long, lambda run: run.state.is_completed())
    assert _states(long) == ["Pending", "Running", "Completed"]
    assert recorded(retried, lambda run: run.state.is_completed()).run_count == 2
    assert _states(retried) == ["Pending", "Running", "Retrying", "Completed"]


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["processes-lean"], indirect=True)
def test_task_whose_worker_dies_is_recorded(arm, recorded):
    @flow(task_runner=arm.make(record="final"))
    def records() -> Any:
        future = dies.submit()
        future.wait()
        return future.task_run_id, runtime.flow_run.id

    task_run_id, flow_run_id = records()
    assert str(recorded(task_run_id, lambda run: run.state.is_crashed()).flow_run_id) == flow_run_id


def _event(run: str, name: str, kind: str | None = None, follows: Any = None) -> Event:
    resource = {"prefect.resource.id": run, "prefect.orchestration": "client"}
    return Event(
        event=f"prefect.task-run.{name}",
        resource=resource | {"prefect.state-type": kind or name.upper()},
        follows=follows,
    )


def _run() -> str:
    return f"prefect.task-run.{uuid4()}"


def test_last_state_alone_is_sent_of_a_task_that_ends_soon():
    from prefect_lean.internals.recording import Held

    held, run, other = Held(), _run(), _run()
    pending = _event(run, "Pending")
    running = _event(run, "Running", follows=pending.id)
    completed = _event(run, "Completed", follows=running.id)
    assert held.take(pending) == held.take(_event(other, "Pending")) == held.take(running) == []
    assert [event.event for _, event in held.take(completed)] == ["prefect.task-run.Completed"]
    assert completed.follows is None
    assert held
    held.take(_event(other, "Cached", "COMPLETED"))
    assert not held


@pytest.mark.parametrize(
    ("name", "kind"),
    [("AwaitingRetry", "SCHEDULED"), ("Retrying", "RUNNING"), ("NotReady", "PENDING"), ("Paused", "PAUSED")],
)
def test_what_does_not_lead_to_the_end_at_once_is_sent_with_all_before(name, kind):
    from prefect_lean.internals.recording import Held

    held, run = Held(), _run()
    held.take(_event(run, "Pending"))
    assert [event.event for _, event in held.take(_event(run, name, kind))] == [
        "prefect.task-run.Pending",
        f"prefect.task-run.{name}",
    ]
    if name != "NotReady":
        assert len(held.take(_event(run, "Running"))) == 1
    assert len(held.take(_event(run, "Completed"))) == 1


def test_what_has_been_held_for_long_is_due_once():
    from prefect_lean.internals.recording import Held

    held, run = Held(), _run()
    held.take(_event(run, "Pending"))
    running = _event(run, "Running")
    held.take(running)
    assert held.due(after_s=60) == []
    assert len(held.due(after_s=0)) == 2
    assert held.due(after_s=0) == []
    completed = _event(run, "Completed", follows=running.id)
    assert len(held.take(completed)) == 1
    assert completed.follows == running.id


def test_other_events_are_not_held():
    from prefect_lean.internals.recording import Held

    held = Held()
    event = Event(event="order.shipped", resource={"prefect.resource.id": "order.1"})
    assert [sent for _, sent in held.take(event)] == [event]
    assert not held


@pytest.mark.parametrize("name", ["LeanThreadPoolTaskRunner", "LeanProcessPoolTaskRunner"])
def test_argument_of_a_runner(name):
    import pickle

    import prefect_lean

    runner = getattr(prefect_lean, name)(record="final", max_workers=3)
    assert runner.duplicate().record == "final"
    assert pickle.loads(pickle.dumps(runner)).record == "final"
    assert getattr(prefect_lean, name)().record == "all"
    with pytest.raises(ValueError, match="'all' or 'final', not 'last'"):
        getattr(prefect_lean, name)(record="last")


def test_cancelled_is_an_end():
    from prefect_lean.internals.recording import Held

    held, run = Held(), _run()
    held.take(_event(run, "Pending"))
    assert len(held.take(_event(run, Cancelled().name or "", "CANCELLED"))) == 1
