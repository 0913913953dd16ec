"""How the runner for Ray ends, and what it says then of tasks that nobody asked about. There is no Ray: it is faked."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from prefect.states import Completed


class FakeRay:
    """In place of Ray: references are names, `ended` has the results of those that have ended."""

    def __init__(self) -> None:
        self.ended: dict[str, Any] = {}
        self.fetched: list[str] = []
        self.cancelled: list[str] = []
        self.valued: set[str] = set()
        """Those of `ended` that are exceptions and have a size."""

    def wait(self, references: list[str], **options: Any) -> tuple[list[str], list[str]]:
        assert len(set(references)) == len(references), "Ray refuses one that is there twice"
        ended = [reference for reference in references if reference in self.ended]
        return ended, [reference for reference in references if reference not in self.ended]

    def get(self, reference: str, timeout: float | None = None) -> Any:
        from ray.exceptions import GetTimeoutError

        self.fetched.append(reference)
        result = self.ended.get(reference, GetTimeoutError())
        if isinstance(result, Exception):
            raise result
        return result

    def sizes(self, references: list[str]) -> dict[str, Any]:
        died = {name for name in references if isinstance(self.ended[name], Exception) and name not in self.valued}
        return {reference: {"object_size": None if reference in died else 8} for reference in references}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    import ray as real
    from prefect_lean import let_go
    from prefect_lean import ray as lean

    fake = FakeRay()
    monkeypatch.setattr(real, "is_initialized", lambda: True)
    for name in ("wait", "get"):
        monkeypatch.setattr(real, name, getattr(fake, name))
    monkeypatch.setattr(real, "cancel", fake.cancelled.append)
    monkeypatch.setattr(let_go, "get_local_object_locations", fake.sizes)
    monkeypatch.setattr(lean, "_worker_of", lambda reference: "Ray worker 7")
    return fake


class Reference(str):
    def binary(self) -> bytes:
        return self.encode()


def ray_future(runner: Any, submitted: Any, reference: str, *needs: str) -> Any:
    from prefect_lean.ray import LeanRayFuture

    needed = frozenset(map(str.encode, needs))
    future = LeanRayFuture(submitted(), Reference(reference), runner._let_go, needed)
    runner._submitted[future.task_run_id] = future
    return future


def test_ray_records_deaths_that_nobody_asked_for(ray, submitted, recorded):
    """Of kept futures and of those let go, and without a look at what has ended well."""
    from prefect_lean import LeanRayTaskRunner
    from ray.exceptions import WorkerCrashedError

    ray.ended = {"dead": WorkerCrashedError(), "well": Completed(), "dead and let go": WorkerCrashedError()}
    with LeanRayTaskRunner() as runner:
        dead, well, let_go = (ray_future(runner, submitted, reference) for reference in ray.ended)
        task_run_ids = [dead.task_run_id, let_go.task_run_id]
        del let_go
        gc.collect()
        for _ in range(40):
            runner._let_go.tick()
        assert not runner._let_go.tasks
    assert recorded == task_run_ids
    assert "well" not in ray.fetched
    assert dead.state.is_crashed()
    assert well._final_state is None


@pytest.mark.parametrize("asked", [True, False])
def test_ray_records_what_needed_a_task_that_has_died(ray, submitted, recorded, asked):
    """Ray hands its error on as a value of theirs: by their size they ended well."""
    from prefect_lean import LeanRayTaskRunner
    from ray.exceptions import RayTaskError, WorkerCrashedError

    died = WorkerCrashedError()
    handed_on = RayTaskError("needs", "", died).as_instanceof_cause()
    ray.ended = {"dead": died, "needs": handed_on, "needs that": handed_on, "well": Completed()}
    ray.valued = {"needs", "needs that"}
    with LeanRayTaskRunner() as runner:
        dead = ray_future(runner, submitted, "dead")
        needs = ray_future(runner, submitted, "needs", "dead", "well")
        needs_that = ray_future(runner, submitted, "needs that", "needs")
        well = ray_future(runner, submitted, "well")
        if asked:
            dead.wait()
    assert recorded == [dead.task_run_id, needs.task_run_id, needs_that.task_run_id]
    assert (needs.state.name, needs_that.state.name) == ("NotReady", "NotReady")
    assert well._final_state is None


def test_ray_is_not_asked_once_it_is_gone(ray, submitted, monkeypatch):
    """It would start another one to answer."""
    from prefect_lean import LeanRayTaskRunner
    from prefect_ray.task_runners import PrefectRayFuture

    monkeypatch.setattr(PrefectRayFuture, "state", property(lambda self: Completed()))
    made = LeanRayTaskRunner()
    with made:
        made._owns_ray = True
        future = ray_future(made, submitted, "well")
    monkeypatch.setattr("ray.wait", lambda *args, **kwargs: pytest.fail("it was asked"))
    assert future.state.is_completed()
    assert future.done()


@pytest.mark.parametrize("another", [True, False])
def test_ray_that_the_flow_has_ended_itself(ray, submitted, monkeypatch, another):
    from prefect_lean import LeanRayTaskRunner

    def unknown(references: Any, **options: Any) -> Any:
        assert another, "asked, Ray would start anew"
        raise ValueError("owner is unknown")

    with LeanRayTaskRunner() as made:
        kept = [ray_future(made, submitted, "kept")]
        ray_future(made, submitted, "let go").__del__()
        monkeypatch.setattr("ray.is_initialized", lambda: another)
        monkeypatch.setattr("ray.wait", unknown)
    assert not made._started
    assert ray.cancelled == []
    assert kept[0]._final_state is None


def test_ray_tasks_are_kept_though_a_look_at_them_is_interrupted(ray, submitted, monkeypatch):
    from prefect_lean import LeanRayTaskRunner, runner

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "flow_run_ended_badly", lambda *attempt: True)
    monkeypatch.setattr("prefect_lean.ray._CANCEL_ROUNDS", 1)
    with LeanRayTaskRunner() as made:
        ray_future(made, submitted, "waits").__del__()
        with monkeypatch.context() as patched:
            patched.setattr("ray.wait", interrupted)
            with pytest.raises(KeyboardInterrupt):
                made._let_go.unfinished()
    assert ray.cancelled == ["waits"]


def test_ray_future_let_go_of_meanwhile_is_cancelled_once(ray, submitted, monkeypatch):
    from prefect_lean import LeanRayTaskRunner, runner

    monkeypatch.setattr(runner, "flow_run_ended_badly", lambda *attempt: True)
    monkeypatch.setattr("prefect_lean.ray._CANCEL_ROUNDS", 1)
    with LeanRayTaskRunner() as made:
        kept = ray_future(made, submitted, "waits")
        kept.__del__()
    assert ray.cancelled == ["waits"]


def test_ray_closes_though_it_cannot_ask(ray, submitted, monkeypatch):
    from prefect_lean import LeanRayTaskRunner

    def gone(self: Any) -> Any:
        raise ConnectionError("the cluster is gone")

    monkeypatch.setattr(LeanRayTaskRunner, "_unfinished", gone)
    made = LeanRayTaskRunner()
    with pytest.raises(ConnectionError), made:
        pass
    assert not made._started


def test_ray_waits_once(ray, submitted):
    """A wait that comes to its limit does not begin again."""
    from prefect_lean import LeanRayTaskRunner

    with LeanRayTaskRunner() as runner:
        future = ray_future(runner, submitted, "waits")
        future.wait(timeout=1.0)
        assert ray.fetched == ["waits"]
        future._final_state = Completed()
