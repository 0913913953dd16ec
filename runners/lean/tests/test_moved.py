"""What the lean runners do with another Prefect than the one they were made for: as the stock ones, with a warning."""

from __future__ import annotations

import importlib
import json
import zlib
from typing import Any

import pytest
from prefect import task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner


@task
def nothing() -> None: ...


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect_lean import internals

    monkeypatch.setattr(internals, "MOVED", ("prefect.context:hydrated_context",))
    internals.tested._warned.clear()


@pytest.mark.usefixtures("moved")
def test_processes_take_the_stock_path(monkeypatch):
    from prefect_lean import LeanProcessPoolTaskRunner

    stock: list[Any] = []
    monkeypatch.setattr(ProcessPoolTaskRunner, "submit", lambda self, *args: stock.append(args))
    with LeanProcessPoolTaskRunner(max_workers=1) as runner:
        thread = runner._message_forwarding_thread
        assert thread is not None
        assert thread.is_alive()
        with pytest.warns(RuntimeWarning, match="hydrated_context"):
            runner.submit(nothing, {})
        runner.submit(nothing, {})
    assert len(stock) == 2
    # What the stock runner starts, it ends.
    assert not thread.is_alive()
    assert runner._subprocess_message_queue is None
    assert runner._executor is None


@pytest.mark.usefixtures("moved")
def test_threads_take_the_stock_path(monkeypatch):
    from prefect_lean import LeanThreadPoolTaskRunner

    monkeypatch.setattr(ThreadPoolTaskRunner, "submit", lambda self, *args: "stock")
    with pytest.warns(RuntimeWarning, match="hydrated_context"), LeanThreadPoolTaskRunner(max_workers=1) as runner:
        assert runner.submit(nothing, {}) == "stock"


def test_integration_that_has_moved(monkeypatch):
    from prefect_lean import internals
    from prefect_lean.runner import LeanRemoteRunner

    class Stock:
        def submit(self, *args: Any) -> str:
            return "stock"

    class Runner(LeanRemoteRunner, Stock):
        _started = True
        _integration_moved = ("prefect_dask.task_runners:DaskTaskRunner.__exit__",)

    internals.tested._warned.clear()
    with pytest.warns(RuntimeWarning, match="prefect_dask"):
        assert Runner().submit(nothing, {}) == "stock"


def test_integrations_are_those_that_were_tested():
    from prefect_lean import LeanDaskTaskRunner, LeanRayTaskRunner

    assert LeanDaskTaskRunner._integration_moved == LeanRayTaskRunner._integration_moved == ()


@pytest.mark.parametrize("module", ["clients", "events", "incoming", "outgoing"])
def test_name_that_is_gone_from_prefect(module):
    """It is imported before anything can be compared: that counts as moved too."""
    from prefect_lean import shipping

    _, sources = shipping._sources()
    files = json.loads(zlib.decompress(sources))
    files[f"internals/{module}.py"] = "from prefect import gone"
    name = f"_lean_worker_without_{module}"
    shipping._installer()(name, zlib.compress(json.dumps(files).encode()))
    worker = importlib.import_module(f"{name}.worker")
    assert "gone" in worker.internals.MOVED[-1]
    with pytest.warns(RuntimeWarning, match="gone"):
        worker.internals.warn_moved()


def test_arguments_of_a_function_have_a_digest(monkeypatch):
    from prefect import task_engine
    from prefect_lean.internals import source_digest

    before = source_digest("prefect.task_engine:run_task_sync()")
    monkeypatch.setattr(task_engine, "run_task_sync", lambda task, parameters: None)
    assert source_digest("prefect.task_engine:run_task_sync()") not in (before, "missing")
