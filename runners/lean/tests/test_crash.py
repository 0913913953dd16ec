"""A worker that dies, and a flow run that ends badly: what is said of their task runs, and what is left."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, runtime, task
from prefect.exceptions import CrashedRun

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
LEAN_REMOTE = ["processes-lean", "dask-lean", "ray-lean"]


@task
def die(folder: str, deaths: int) -> int:
    """Kill the worker the first `deaths` times, then return how often the body ran."""
    import signal

    runs = len(list(Path(folder).iterdir())) + 1
    (Path(folder) / str(runs)).touch()
    if runs <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return runs


@task
def increment(x: int) -> int:
    return x + 1


@pytest.fixture
def restored(arm: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    """Afterwards, a cluster that others use has all its workers again."""
    cluster = request.getfixturevalue("dask_cluster") if arm.engine == "dask" else None
    yield
    if cluster:
        from distributed import Client

        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=LIMIT_S)


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("arm", LEAN_REMOTE, indirect=True)
def test_worker_dead_before_it_could_say_anything(arm, recorded):
    """The task run is nevertheless one of its flow run."""

    def dies() -> Any:
        future = increment.submit(Deadly())
        future.wait()
        return future.task_run_id, future.state.is_crashed(), runtime.flow_run.id

    task_run_id, crashed, flow_run_id = arm.flow(dies, crash_reruns=0)()
    assert crashed
    assert str(recorded(task_run_id, lambda run: run.state.is_crashed()).flow_run_id) == flow_run_id


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("arm", LEAN_REMOTE, indirect=True)
def test_dead_worker(arm, tmp_path, recorded):
    runner = type(arm.make()).__name__
    run_ids: list[Any] = []
    # What Dask had handed to the worker dies with it: the scheduler does not know which task had begun.
    beside = 0 if arm.engine == "dask" else 4

    @flow(task_runner=arm.make(crash_reruns=0))
    def dies(folder: str) -> Any:
        doomed = die.submit(folder, 9)
        others = [increment.submit(i) for i in range(beside)]
        after = increment.submit(doomed)
        run_ids.extend([doomed.task_run_id, after.task_run_id])
        doomed.wait(LIMIT_S)
        assert doomed.state.is_crashed()
        others += [increment.submit(i) for i in range(beside, 4)]
        with pytest.raises(CrashedRun, match=runner):
            doomed.result()
        assert [other.result(LIMIT_S) for other in others] == [1, 2, 3, 4]
        after.wait(LIMIT_S)
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


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("arm", LEAN_REMOTE, indirect=True)
def test_rerun_after_a_death(arm, tmp_path, recorded):
    @flow(task_runner=arm.make(crash_reruns=1))
    def survives(folder: str) -> tuple[int, Any]:
        future = die.submit(folder, 1)
        return future.result(LIMIT_S), future.task_run_id

    runs, task_run_id = survives(str(tmp_path))
    assert runs == 2
    recorded(task_run_id, lambda run: run.state.is_completed())


@task
def note(folder: str, name: int) -> None:
    """Say that it has begun, and hold its slot until the gate is open."""
    (Path(folder) / f"begun-{name}").touch()
    while not (Path(folder) / "open").exists():
        time.sleep(0.02)


def begun(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("begun-*")}


@pytest.mark.parametrize("arm", ["threads-lean", *LEAN_REMOTE, "ray-stock"], indirect=True)
def test_failed_flow_starts_no_more_tasks(arm, tmp_path, until, recorded):
    """Two tasks hold both slots when the flow run fails: none of the others begins, whatever becomes of those two."""
    futures: list[Any] = []
    before: set[str] = set()

    def fails() -> None:
        futures.extend(note.submit(str(tmp_path), name) for name in range(8))
        before.update(until(lambda: len(begun(tmp_path)) == 2 and begun(tmp_path)))
        if arm.engine == "threads":
            # The runner cancels what waits and then waits for what runs: only then may the two end.
            futures[-1].wrapped_future.add_done_callback(lambda _: (tmp_path / "open").touch())
        raise ValueError("the flow fails")

    assert arm.flow(fails)(return_state=True).is_failed()
    withdrawn(arm, "note-", until)
    (tmp_path / "open").touch()
    settled(arm, futures)
    # The stock runner for Ray cancels nothing.
    assert begun(tmp_path) == ({f"begun-{name}" for name in range(8)} if arm.name == "ray-stock" else before)
    if arm.name == "processes-lean":
        # It stops what runs, and says so.
        for name in before:
            task_run_id = futures[int(name.removeprefix("begun-"))].task_run_id
            recorded(task_run_id, lambda run: run.state.is_crashed())


@pytest.mark.parametrize("arm", LEAN_REMOTE, indirect=True)
def test_failed_attempt_of_a_flow_starts_no_more_tasks(arm, tmp_path, until, recorded):
    """The flow run is Running again by then, for the next attempt."""
    futures: list[Any] = []
    before: set[str] = set()
    # What is not stopped ends all the same.
    opens = threading.Timer(LIMIT_S / 4, (tmp_path / "open").touch)

    def fails_once() -> int:
        if runtime.flow_run.run_count > 1:
            return len(futures)
        opens.start()
        futures.extend(note.submit(str(tmp_path), name) for name in range(8))
        before.update(until(lambda: len(begun(tmp_path)) == 2 and begun(tmp_path)))
        raise ValueError("the first attempt fails")

    try:
        assert arm.flow(fails_once).with_options(retries=1)() == 8
    finally:
        opens.cancel()
    withdrawn(arm, "note-", until)
    (tmp_path / "open").touch()
    settled(arm, futures)
    assert begun(tmp_path) == before
    if arm.engine != "dask":
        for name in before:
            task_run_id = futures[int(name.removeprefix("begun-"))].task_run_id
            recorded(task_run_id, lambda run: run.state.is_crashed())


def withdrawn(arm: Any, prefix: str, until: Any) -> None:
    """Return once a scheduler that goes on has passed the cancellation on to its workers."""
    if arm.engine != "dask":
        return
    from distributed import Client

    def on_scheduler(dask_scheduler: Any) -> list[str]:
        return [key for key in dask_scheduler.tasks if key.startswith(prefix)]

    def on_worker(dask_worker: Any) -> list[str]:
        tasks = dask_worker.state.tasks.items()
        return [key for key, found in tasks if key.startswith(prefix) and found.state != "cancelled"]

    with Client(arm.make().address, set_as_default=False) as client:
        until(lambda: not client.run_on_scheduler(on_scheduler) and not any(client.run(on_worker).values()))


def settled(arm: Any, futures: list[Any]) -> None:
    """Return once no task of a runner that has closed can begin any more."""
    if arm.engine == "ray":
        import ray

        references = [future.wrapped_future for future in futures]
        assert len(ray.wait(references, num_returns=len(references), timeout=LIMIT_S)[0]) == len(references)
    if arm.engine in ("dask", "ray"):
        # What is submitted later comes after them.
        arm.run(lambda: [future.result(LIMIT_S) for future in increment.map(list(range(8)))])


@pytest.mark.parametrize("arm", ["ray-lean"], indirect=True)
def test_ended_flow_starts_none_of_the_tasks_it_has_let_go(arm, tmp_path, until):
    """The flow keeps no future: nothing but the runner knows of the tasks that wait."""
    before: set[str] = set()

    def fails() -> None:
        for name in range(8):
            note.submit(str(tmp_path), name)
        before.update(until(lambda: len(begun(tmp_path)) == 2 and begun(tmp_path)))
        raise ValueError("the flow fails")

    assert arm.flow(fails)(return_state=True).is_failed()
    (tmp_path / "open").touch()
    settled(arm, [])
    assert begun(tmp_path) == before


@pytest.mark.parametrize("arm", ["dask-lean", "ray-lean"], indirect=True)
def test_cancelled_before_its_body_begins(arm, tmp_path, until):
    """A worker that has a task in hand, still unpacking it when the flow run ends, does not begin the body."""
    folder = str(tmp_path)

    def unpack(folder: str) -> str:
        (Path(folder) / "unpacking").touch()
        while not (Path(folder) / "open").exists():
            # Ray interrupts what it cancels: as lost here as in the import of a module.
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.02)
        return folder

    class Parcel:
        def __reduce__(self) -> Any:
            return unpack, (folder,)

    @task
    def opened(parcel: Any, folder: str) -> None:
        (Path(folder) / "begun").touch()

    kept: list[Any] = []

    def fails() -> None:
        kept.append(opened.submit(Parcel(), folder))
        until((tmp_path / "unpacking").exists)
        raise ValueError("the flow fails")

    assert arm.flow(fails)(return_state=True).is_failed()
    withdrawn(arm, "opened-", until)
    (tmp_path / "open").touch()
    settled(arm, kept)
    assert not (tmp_path / "begun").exists()
