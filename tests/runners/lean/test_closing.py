"""How the runners end. There is no cluster: what they lean on is faked."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import task
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import Pause
from prefect.states import Completed, State


@task
def nothing() -> None: ...


@pytest.fixture(autouse=True)
def no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of a pool, whose events another sends: there is no server to send them to."""
    monkeypatch.setattr(EventsWorker, "_client_override", (NullEventsClient, ()))


@pytest.fixture
def submitted() -> Any:
    from runners.lean.crash import Submitted

    return lambda: Submitted.of(nothing, uuid4(), object())


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """The task runs that were recorded."""
    from runners.lean.crash import Submitted

    found: list[UUID] = []

    def record(self: Any, state: State, wait_s: float) -> State:
        found.append(self.task_run_id)
        return state

    monkeypatch.setattr(Submitted, "_record", record)
    return found


class Unreachable:
    def __enter__(self) -> Any:
        raise httpx.ConnectError("the server starts anew")

    def __exit__(self, *exc_info: object) -> None: ...


# --- how a flow run ended ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exception", "bad"),
    [(None, False), (Pause, False), (GeneratorExit, False), (ValueError, True), (KeyboardInterrupt, True)],
)
def test_flow_run_that_ended_badly(exception, bad, monkeypatch):
    from runners.lean import LeanProcessPoolTaskRunner, runner

    monkeypatch.setattr(runner, "flow_run_ended_badly", lambda flow_run_id: False)
    assert LeanProcessPoolTaskRunner()._ended_badly(exception) is bad


def test_api_that_cannot_be_asked(monkeypatch):
    from runners.lean import crash

    monkeypatch.setattr(crash, "get_client", lambda **kwargs: Unreachable())
    assert crash.flow_run_ended_badly(uuid4()) is False


def test_crash_is_a_crash_also_where_the_api_is_away(monkeypatch, submitted):
    from runners.lean import crash, internals

    def too_large(**kwargs: Any) -> None:
        raise RuntimeError("the event cannot be sent")

    monkeypatch.setattr(crash, "get_client", lambda **kwargs: Unreachable())
    monkeypatch.setattr(internals, "emit_task_run_state_change_event", too_large)
    assert submitted().crashed("worker 7 died").is_crashed()


def test_crash_is_recorded_where_the_task_was_submitted(monkeypatch):
    """Also by the thread of a pool, which has no settings but those of the process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from runners.lean import crash

    asked: list[Any] = []

    class Client:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc_info: object) -> None: ...

        def set_task_run_state(self, *args: Any, **kwargs: Any) -> None:
            asked.append(PREFECT_API_URL.value())

    monkeypatch.setattr(crash, "get_client", lambda **kwargs: Client())
    with temporary_settings({PREFECT_API_URL: "http://elsewhere/api"}):
        told = crash.Submitted.of(nothing, uuid4(), object())
    thread = threading.Thread(target=told.crashed, args=("process 7 died",))
    thread.start()
    thread.join()
    assert asked == ["http://elsewhere/api"]


# --- threads and processes --------------------------------------------------------------------------------------


def test_threads_that_end_while_they_are_cancelled():
    """A task that is over takes its cancel event out, also while upstream sets them one by one."""
    from runners.lean import LeanThreadPoolTaskRunner

    class Ends(threading.Event):
        def set(self) -> None:
            super().set()
            runner._forget(other, None, None)

    first, other = uuid4(), uuid4()
    with LeanThreadPoolTaskRunner(max_workers=1) as runner:
        runner._cancel_events.update({first: Ends(), other: threading.Event()})
        runner.cancel_all()
        assert runner._executor is None


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_processes_end_whatever_becomes_of_the_question(failure, monkeypatch):
    from runners.lean import LeanProcessPoolTaskRunner

    closed: list[bool] = []

    def ask(self: Any, exception: Any) -> bool:
        raise failure

    monkeypatch.setattr(LeanProcessPoolTaskRunner, "_ended_badly", ask)
    runner = LeanProcessPoolTaskRunner()
    with pytest.raises(failure), runner:
        runner._pool = SimpleNamespace(at_work=lambda: True, close=closed.append)  # type: ignore[assignment]
    assert closed == [True]
    assert not runner._started


# --- Dask -------------------------------------------------------------------------------------------------------


class DaskFuture:
    """In place of a future of Dask."""

    def __init__(self, status: str = "pending", death: Exception | None = None) -> None:
        self.key, self.status, self._death = "key", status, death

    def done(self) -> bool:
        return self.status != "pending"

    def result(self, timeout: float | None = None) -> Any:
        if self._death is not None:
            raise self._death
        return Completed()


def test_dask_records_a_death_that_nobody_asked_for(submitted, recorded):
    from distributed.scheduler import KilledWorker

    from runners.lean import LeanDaskTaskRunner
    from runners.lean.dask import LeanDaskFuture

    death = KilledWorker("key", SimpleNamespace(address="tcp://worker"), 0)  # type: ignore[arg-type]
    dead, alive = (LeanDaskFuture(submitted(), found) for found in (DaskFuture("error", death), DaskFuture()))
    runner = LeanDaskTaskRunner(address="tcp://scheduler")
    with runner:
        runner._submitted.update({future.task_run_id: future for future in (dead, alive)})
    assert recorded == [dead.task_run_id]
    assert dead.state.is_crashed()


def test_dask_cancels_before_it_records(submitted, monkeypatch):
    """What waits could begin while the API is told of what has died."""
    from runners.lean import LeanDaskTaskRunner
    from runners.lean.dask import LeanDaskFuture

    done: list[str] = []
    waits = LeanDaskFuture(submitted(), DaskFuture())
    runner = LeanDaskTaskRunner(address="tcp://scheduler")
    with runner:
        runner._client = SimpleNamespace(cancel=lambda futures, reason: done.append("cancelled"), close=lambda: None)
        runner._submitted[waits.task_run_id] = waits
        monkeypatch.setattr(runner, "_settle", lambda: done.append("recorded"))
    assert done == ["cancelled", "recorded"]


def test_dask_cluster_ends_though_its_scheduler_does_not_answer(submitted):
    from runners.lean import LeanDaskTaskRunner
    from runners.lean.dask import LeanDaskFuture

    def cancel(futures: Any, reason: str) -> None:
        raise OSError("the scheduler is gone")

    ended: list[bool] = []
    future = LeanDaskFuture(submitted(), DaskFuture())
    runner = LeanDaskTaskRunner().__enter__()
    runner._client = SimpleNamespace(cancel=cancel)
    runner._submitted[future.task_run_id] = future
    runner._exit_stack.callback(ended.append, True)
    with pytest.raises(OSError, match="gone"):
        runner.__exit__(None, None, None)
    assert ended == [True]
    assert not runner._started


@pytest.mark.parametrize("found", [True, False])
def test_dask_cluster_is_its_own_only_if_it_made_it(found, monkeypatch):
    """The stock runner takes the cluster of the client that it finds: of the task it runs in, or of the user."""
    import distributed
    from prefect_dask import task_runners

    from runners.lean import LeanDaskTaskRunner

    class Cluster:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc_info: object) -> None: ...

    class Client(Cluster):
        dashboard_link = None

    def get_client() -> Any:
        if found:
            return SimpleNamespace(cluster=Cluster())
        raise ValueError("no client")

    made: list[Any] = []
    monkeypatch.setattr(distributed, "get_client", get_client)
    monkeypatch.setattr(task_runners, "PrefectDaskClient", lambda *args, **kwargs: made.append(Client()) or made[-1])
    with LeanDaskTaskRunner(cluster_class=Cluster) as runner:
        assert not runner._owns_cluster
        assert runner.client is runner.client
        assert runner._owns_cluster is not found
    assert len(made) == 1


# --- Ray --------------------------------------------------------------------------------------------------------


class Ray:
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
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    import ray as real

    from runners.lean import let_go
    from runners.lean import ray as lean

    fake = Ray()
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
    from runners.lean.ray import LeanRayFuture

    needed = frozenset(map(str.encode, needs))
    future = LeanRayFuture(submitted(), Reference(reference), runner._let_go, needed)
    runner._submitted[future.task_run_id] = future
    return future


def test_ray_records_deaths_that_nobody_asked_for(ray, submitted, recorded):
    """Of kept futures and of those let go, and without a look at what has ended well."""
    from ray.exceptions import WorkerCrashedError

    from runners.lean import LeanRayTaskRunner

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
    from ray.exceptions import RayTaskError, WorkerCrashedError

    from runners.lean import LeanRayTaskRunner

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
    from prefect_ray.task_runners import PrefectRayFuture

    from runners.lean import LeanRayTaskRunner

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
    from runners.lean import LeanRayTaskRunner

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
    from runners.lean import LeanRayTaskRunner, runner

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "flow_run_ended_badly", lambda flow_run_id: True)
    monkeypatch.setattr("runners.lean.ray._CANCEL_ROUNDS", 1)
    with LeanRayTaskRunner() as made:
        ray_future(made, submitted, "waits").__del__()
        with monkeypatch.context() as patched:
            patched.setattr("ray.wait", interrupted)
            with pytest.raises(KeyboardInterrupt):
                made._let_go.unfinished()
    assert ray.cancelled == ["waits"]


def test_ray_future_let_go_of_meanwhile_is_cancelled_once(ray, submitted, monkeypatch):
    from runners.lean import LeanRayTaskRunner, runner

    monkeypatch.setattr(runner, "flow_run_ended_badly", lambda flow_run_id: True)
    monkeypatch.setattr("runners.lean.ray._CANCEL_ROUNDS", 1)
    with LeanRayTaskRunner() as made:
        kept = ray_future(made, submitted, "waits")
        kept.__del__()
    assert ray.cancelled == ["waits"]


def test_ray_closes_though_it_cannot_ask(ray, submitted, monkeypatch):
    from runners.lean import LeanRayTaskRunner

    def gone(self: Any) -> Any:
        raise ConnectionError("the cluster is gone")

    monkeypatch.setattr(LeanRayTaskRunner, "_unfinished", gone)
    made = LeanRayTaskRunner()
    with pytest.raises(ConnectionError), made:
        pass
    assert not made._started


def test_ray_waits_once(ray, submitted):
    """A wait that comes to its limit does not begin again."""
    from runners.lean import LeanRayTaskRunner

    with LeanRayTaskRunner() as runner:
        future = ray_future(runner, submitted, "waits")
        future.wait(timeout=1.0)
        assert ray.fetched == ["waits"]
        future._final_state = Completed()
