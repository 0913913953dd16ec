"""What a driver makes of a submit, and a worker of that: in one process, without an engine."""

from __future__ import annotations

import pickle
from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest
from prefect import allow_failure, task
from prefect.settings import PREFECT_TASKS_DEFAULT_RETRIES, temporary_settings
from prefect.states import Completed, State


@task
def nothing() -> None: ...


def received(wait_for: Any) -> Any:
    """`wait_for` as it comes out in a worker, where all futures have ended well."""
    from prefect_lean.context import Context
    from prefect_lean.shipping import package

    packed = Context(future_type=Future).pack(nothing, uuid4(), {}, wait_for, None)
    worker = package().worker
    worker._loading.upstream = [Completed() for _ in packed.upstream]
    try:
        return pickle.loads(packed.call)["wait_for"]
    finally:
        worker._loading.upstream = ()


def future() -> Any:
    from prefect_lean.futures import LeanConcurrentFuture

    return LeanConcurrentFuture(task_run_id=uuid4(), wrapped_future=Future())


@pytest.mark.parametrize(
    "of",
    [
        lambda one: [one],
        lambda one: (one,),
        lambda one: {one},
        lambda one: (found for found in [one]),
        lambda one: {"a": one}.values(),
    ],
)
def test_wait_for_many(of):
    (state,) = received(of(future()))
    assert isinstance(state, State)


def test_wait_for_what_is_no_list():
    assert isinstance(received(future()), State)
    assert isinstance(received(Completed()), State)
    assert isinstance(received({"a": future()})["a"], State)
    assert isinstance(received(allow_failure(future())).unwrap(), State)


def test_settings_of_another_thread_do_not_come_in_between(monkeypatch):
    """What one thread has found to be up to date is what it sends, whatever another keeps there meanwhile."""
    from prefect_lean import internals
    from prefect_lean.context import Context

    class Part:
        def __init__(self, data: bytes, then: Any = None) -> None:
            self.data, self._then = data, then

        def serves(self, _: Any) -> bool:
            context._settings = self._then
            return True

    context = Context(future_type=Future)
    context._settings = Part(b"mine", then=Part(b"another's"))  # type: ignore[assignment]
    parts = pickle.loads(context.shared())
    assert parts["settings"] == (internals.digest(b"mine"), b"mine")


def test_settings_changed_within_a_container_are_sent(monkeypatch):
    from prefect.context import SettingsContext
    from prefect_lean.internals import SettingsPart

    with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 1}):
        context = SettingsContext.get()
        assert context is not None
        part = SettingsPart(context)
        assert part.serves(context)
        monkeypatch.setitem(context.settings.client.custom_headers, "X-Team", "blue")
        assert not part.serves(context)


def revived(runner: Any) -> Any:
    from prefect_lean.context import _dumps

    return pickle.loads(_dumps(runner))


def test_runner_of_a_script_is_its_base_in_a_worker():
    """A class of the driver's `__main__`, or of a function, is not to be found there."""
    from prefect_lean import LeanProcessPoolTaskRunner

    class Mine(LeanProcessPoolTaskRunner):
        def __init__(self, max_workers: int = 3) -> None:
            super().__init__(max_workers=max_workers)

    runner = Mine()
    runner.crash_reruns = 2
    twin = revived(runner)
    assert type(twin) is LeanProcessPoolTaskRunner
    assert (twin._max_workers, twin.crash_reruns) == (3, 2)
    twin = runner.duplicate()
    assert type(twin) is Mine
    assert (twin._max_workers, twin.crash_reruns) == (3, 2)


def test_runner_without_this_project_is_the_stock_one():
    from prefect.task_runners import ProcessPoolTaskRunner
    from prefect_lean.shipping import package

    origins = [("no_such_module", "Mine"), ("prefect.task_runners", "ProcessPoolTaskRunner")]
    runner = package().worker.revive_runner(origins, {"max_workers": 3, "crash_reruns": 2})
    assert type(runner) is ProcessPoolTaskRunner
    assert runner._max_workers == 3


def test_client_that_the_server_refuses_is_closed(monkeypatch):
    from prefect.client.orchestration import SyncPrefectClient
    from prefect_lean.internals import thread_client

    refused: list[Any] = []

    def refuse(self: Any) -> None:
        refused.append(self)
        raise RuntimeError("another version")

    monkeypatch.setattr(SyncPrefectClient, "raise_for_api_version_mismatch_once", refuse)
    with pytest.raises(RuntimeError, match="another version"), thread_client("of this test"):
        pass
    assert refused[0]._client.is_closed
