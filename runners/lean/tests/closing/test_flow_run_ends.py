"""How the runners end. There is no cluster: what they lean on is faked."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.exceptions import Pause
from prefect.states import Completed


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
    from prefect_lean import LeanProcessPoolTaskRunner, runner

    monkeypatch.setattr(runner, "flow_run_ended_badly", lambda *attempt: False)
    assert LeanProcessPoolTaskRunner()._ended_badly(exception) is bad


def test_api_that_cannot_be_asked(monkeypatch):
    from prefect_lean import crash

    monkeypatch.setattr(crash, "get_client", lambda **kwargs: Unreachable())
    assert crash.flow_run_ended_badly(uuid4()) is False


def test_crash_is_a_crash_also_where_the_api_is_away(monkeypatch, submitted):
    from prefect_lean import crash, internals

    def too_large(**kwargs: Any) -> None:
        raise RuntimeError("the event cannot be sent")

    monkeypatch.setattr(crash, "get_client", lambda **kwargs: Unreachable())
    monkeypatch.setattr(internals, "emit_task_run_state_change_event", too_large)
    assert submitted().crashed("worker 7 died").is_crashed()


def test_crash_is_recorded_where_the_task_was_submitted(monkeypatch, submitted):
    """Also by the thread of a pool, which has no settings but those of the process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect_lean import crash

    asked: list[Any] = []

    class Client:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc_info: object) -> None: ...

        def set_task_run_state(self, *args: Any, **kwargs: Any) -> None:
            asked.append(PREFECT_API_URL.value())

    monkeypatch.setattr(crash, "get_client", lambda **kwargs: Client())
    with temporary_settings({PREFECT_API_URL: "http://elsewhere/api"}):
        told = submitted()
    thread = threading.Thread(target=told.crashed, args=("process 7 died",))
    thread.start()
    thread.join()
    assert asked == ["http://elsewhere/api"]


# --- threads and processes --------------------------------------------------------------------------------------


def test_threads_that_end_while_they_are_cancelled():
    """A task that is over takes its cancel event out, also while upstream sets them one by one."""
    from prefect_lean import LeanThreadPoolTaskRunner

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
    from prefect_lean import LeanProcessPoolTaskRunner

    closed: list[bool] = []

    def ask(self: Any, exception: Any) -> bool:
        raise failure

    monkeypatch.setattr(LeanProcessPoolTaskRunner, "_ended_badly", ask)
    runner = LeanProcessPoolTaskRunner()
    runner.__enter__()
    runner._pool = SimpleNamespace(close=closed.append)  # type: ignore[assignment]
    runner._unfinished.add(Future())
    with pytest.raises(failure):
        runner.__exit__(None, None, None)
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
    from prefect_lean import LeanDaskTaskRunner
    from prefect_lean.dask import LeanDaskFuture

    death = KilledWorker("key", SimpleNamespace(address="tcp://worker"), 0)  # type: ignore[arg-type]
    dead, alive = (LeanDaskFuture(submitted(), found) for found in (DaskFuture("error", death), DaskFuture()))
    runner = LeanDaskTaskRunner(address="tcp://scheduler")
    with runner:
        runner._submitted.update({future.task_run_id: future for future in (dead, alive)})
    assert recorded == [dead.task_run_id]
    assert dead.state.is_crashed()


def test_dask_cancels_before_it_records(submitted, monkeypatch):
    """What waits could begin while the API is told of what has died."""
    from prefect_lean import LeanDaskTaskRunner
    from prefect_lean.dask import LeanDaskFuture

    done: list[str] = []
    waits = LeanDaskFuture(submitted(), DaskFuture())
    runner = LeanDaskTaskRunner(address="tcp://scheduler")
    with runner:
        runner._client = SimpleNamespace(cancel=lambda futures, reason: done.append("cancelled"), close=lambda: None)
        runner._submitted[waits.task_run_id] = waits
        monkeypatch.setattr(runner, "_settle", lambda: done.append("recorded"))
    assert done == ["cancelled", "recorded"]


def test_dask_cluster_ends_though_its_scheduler_does_not_answer(submitted):
    from prefect_lean import LeanDaskTaskRunner
    from prefect_lean.dask import LeanDaskFuture

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
    from prefect_lean import LeanDaskTaskRunner

    class FakeCluster:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc_info: object) -> None: ...

    class DaskClient(FakeCluster):
        dashboard_link = None

    def get_client() -> Any:
        if found:
            return SimpleNamespace(cluster=FakeCluster())
        raise ValueError("no client")

    made: list[Any] = []

    def client(*args: Any, **kwargs: Any) -> Any:
        made.append(DaskClient())
        return made[-1]

    monkeypatch.setattr(distributed, "get_client", get_client)
    monkeypatch.setattr(task_runners, "PrefectDaskClient", client)
    with LeanDaskTaskRunner(cluster_class=FakeCluster) as runner:
        assert not runner._owns_cluster
        assert runner.client is runner.client
        assert runner._owns_cluster is not found
    assert len(made) == 1
