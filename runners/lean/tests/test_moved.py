"""What the lean runners do where Prefect is not as tested: each saving is lost by itself, with a warning."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from prefect_lean.internals import savings
from prefect_lean.internals.savings import Saving

NAMES = ("calls", "context", "settings", "flow-run", "clients", "events", "bursts", "related", "window", "final")
NAMES += ("mended", "futures", "pool", "blocks")
CHANGED = "prefect.somewhere:something"


def of(package: ModuleType, name: str) -> Saving:
    """A saving of the driver's package, or of the one that is shipped."""
    (saving,) = [found for found in vars(package.savings).values() if getattr(found, "name", None) == name]
    return saving  # type: ignore[no-any-return]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something that a saving leans on be another than was tested."""

    def lose(name: str, *packages: ModuleType) -> None:
        for package in packages or (importlib.import_module("prefect_lean.internals"),):
            monkeypatch.setattr(of(package, name), "_gone", (CHANGED,))
            for other in NAMES:
                monkeypatch.setattr(of(package, other), "_warned", threading.Event())

    return lose


@task
def nothing() -> None: ...


@task
def add(one: int, other: int) -> int:
    return one + other


def test_installed_prefect_is_as_tested():
    from prefect_lean.internals.source import source_digest

    lost = {name: of(importlib.import_module("prefect_lean.internals"), name).moved for name in NAMES}
    # For the one who adds a release to `pins`.
    assert not any(lost.values()), {name: source_digest(name) for names in lost.values() for name in names}


def test_installed_integrations_are_as_tested():
    from prefect_lean import LeanDaskTaskRunner, LeanRayTaskRunner

    assert LeanDaskTaskRunner._sending.moved == LeanRayTaskRunner._sending.moved == ()


def test_each_saving_is_lost_by_itself(lose):
    lost_with = {
        "calls": {"calls", "pool"},
        "context": {"context", "settings", "flow-run", "clients", "blocks"},
        "events": {"events", "related", "window", "final"},
    }
    internals = importlib.import_module("prefect_lean.internals")
    available = {name for name in NAMES if of(internals, name).on()}
    for name in available:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setattr(of(internals, name), "_gone", (CHANGED,))
            left = {other for other in NAMES if of(internals, other).on()}
        assert available - left - {"bursts"} == lost_with.get(name, {name}) - {"bursts"}


def test_lost_saving_is_said_once_with_what_it_costs(lose):
    lose("settings")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert not savings.SETTINGS.on()
        assert not savings.SETTINGS.on()
    (warning,) = said
    assert CHANGED in str(warning.message)
    assert "'settings' is lost: every submit dumps them" in str(warning.message)


def test_releases_differ_in_their_digests(monkeypatch):
    from prefect_lean.internals.source import source_digest

    name = "prefect.context:ContextModel"
    assert savings.moved({name: {"of another release": "3.6.0", source_digest(name): "3.7.0 to 3.9.1"}}) == ()
    assert savings.moved({name: {"of another release": "3.6.0"}}) == (name,)
    assert savings.moved({"prefect.context:no_such_thing": {"x": "3.9.1"}}) == ("prefect.context:no_such_thing",)


def test_saving_that_is_not_wanted(monkeypatch):
    monkeypatch.setenv(savings.WITHOUT, "x,y")
    x, z = Saving("x", "", pins={}), Saving("z", "", pins={})
    assert not x.on()
    assert z.on()
    assert not Saving("needs x", "", pins={}, needs=(x,)).on()


def test_arguments_of_a_function_have_a_digest(monkeypatch):
    from prefect import task_engine
    from prefect_lean.internals import source_digest

    before = source_digest("prefect.task_engine:run_task_sync()")
    monkeypatch.setattr(task_engine, "run_task_sync", lambda task, parameters: None)
    assert source_digest("prefect.task_engine:run_task_sync()") not in (before, "missing")


def test_internals_are_held_against_their_digests_without_a_parser(monkeypatch):
    """CPython 3.11 fails where two threads parse at once, and a worker that starts has no time for it."""
    from prefect_lean.internals.pins import PINS

    monkeypatch.setattr("ast.parse", lambda *args, **kwargs: pytest.fail("the source was parsed"))
    assert [savings.moved(pins) for name, pins in PINS.items() if name != "bursts"] == [()] * (len(PINS) - 1)


@pytest.fixture
def without() -> Iterator[Callable[[str], ModuleType]]:
    """The shipped package, as it is where a module of it imports a name that Prefect does not have."""
    before, finders = set(sys.modules), list(sys.meta_path)

    def without(module: str) -> ModuleType:
        from prefect_lean import shipping

        _, sources = shipping._sources()
        files = json.loads(zlib.decompress(sources))
        files[f"internals/{module}.py"] = "from prefect import gone"
        name = f"_lean_worker_without_{module}"
        shipping._installer()(name, zlib.compress(json.dumps(files).encode()))
        return importlib.import_module(f"{name}.worker")

    yield without
    # Whoever goes through all shipped packages, as the probe does, must not meet these.
    sys.meta_path[:] = finders
    for name in [name for name in set(sys.modules) - before if name.startswith("_lean_worker_without_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("module", "name"),
    [("clients", "clients"), ("events", "events"), ("incoming", "context"), ("outgoing", "calls")],
)
def test_name_that_is_gone_from_prefect(without, module, name):
    """It is imported before anything can be compared: that counts as moved too."""
    worker = without(module)
    with pytest.warns(RuntimeWarning, match="gone"):
        assert not of(worker.internals, name).on()
    left = {"clients", "events", "context", "calls"} - {name} - ({"clients"} if name == "context" else set())
    assert all(of(worker.internals, other).on() for other in left)


def test_processes_take_the_stock_path(lose, monkeypatch):
    from prefect_lean import LeanProcessPoolTaskRunner

    lose("pool")
    stock: list[Any] = []
    monkeypatch.setattr(ProcessPoolTaskRunner, "submit", lambda self, *args: stock.append(args))
    with pytest.warns(RuntimeWarning, match="'pool' is lost"):
        runner = LeanProcessPoolTaskRunner(max_workers=1).__enter__()
    thread = runner._message_forwarding_thread
    assert thread is not None
    assert thread.is_alive()
    runner.submit(nothing, {})
    runner.submit(nothing, {})
    runner.__exit__(None, None, None)
    assert len(stock) == 2
    # What the stock runner starts, it ends.
    assert not thread.is_alive()
    assert runner._subprocess_message_queue is None
    assert runner._executor is None


def test_process_pool_that_has_moved_costs_the_others_nothing(lose):
    from prefect_lean import LeanDaskTaskRunner, LeanRayTaskRunner

    lose("pool")
    assert LeanDaskTaskRunner._sending.on()
    assert LeanRayTaskRunner._sending.on()


def test_threads_hand_out_the_stock_futures(lose):
    from prefect.futures import PrefectConcurrentFuture
    from prefect_lean import LeanThreadPoolTaskRunner

    lose("futures")
    runner = LeanThreadPoolTaskRunner(max_workers=1)
    done: Future[Any] = Future()
    done.set_result(None)
    runner._started, runner._executor = True, type("Executor", (), {"submit": lambda *args, **kwargs: done})()
    with pytest.warns(RuntimeWarning, match="'futures' is lost"):
        assert type(runner.submit(nothing, {})) is PrefectConcurrentFuture


def test_integration_that_has_moved():
    from prefect_lean.runner import LeanRemoteRunner

    class Stock:
        def submit(self, *args: Any) -> str:
            return "stock"

    class Runner(LeanRemoteRunner, Stock):
        _started = True
        _sending = Saving("dask", "at its cost.", pins={"prefect.gone:gone": {}}, package="prefect-dask 0.4")

    with pytest.warns(RuntimeWarning, match=r"prefect-dask 0\.4 .* 'dask' is lost: at its cost"):
        assert Runner().submit(nothing, {}) == "stock"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* is lost")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("pool", "futures", "calls")])
@pytest.mark.parametrize("where", ["driver", "worker", "both"])
def test_task_without_a_saving(lose, lab_server, name, where):
    """Packed and run in this process, as driver and worker of releases that may differ."""
    from prefect_lean import internals, shipping
    from prefect_lean.context import Context

    shipped = shipping.package().internals
    lose(name, *{"driver": [internals], "worker": [shipped], "both": [internals, shipped]}[where])

    @task
    def about_the_flow(shift: int) -> tuple[Any, ...]:
        from prefect.context import FlowRunContext, TagsContext
        from prefect.runtime import flow_run
        from prefect.settings.context import get_current_settings

        context = FlowRunContext.get()
        assert context is not None
        tags = TagsContext.get().current_tags
        return (
            context.parameters["x"] + shift,
            flow_run.name,
            sorted(tags),
            get_current_settings().tasks.default_retries,
        )

    @flow(flow_run_name="wide")
    def host(x: int) -> Any:
        from prefect import tags
        from prefect.settings import PREFECT_TASKS_DEFAULT_RETRIES, temporary_settings

        results = []
        for retries in (1, 2):
            with tags("a", "b"), temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: retries}):
                package = Context(future_type=Future).pack(about_the_flow, uuid4(), {"shift": retries}, None, None)
                results.append(shipping.runner()(package.call, package.shared).result())
        return results

    assert host(40) == [(41, "wide", ["a", "b"], 1), (42, "wide", ["a", "b"], 2)]


SCRIPT = """
import sys
from prefect import flow, task
from prefect_lean import LeanProcessPoolTaskRunner, LeanThreadPoolTaskRunner

@task
def add(one, other):
    return one + other

@flow
def sums():
    first = [add.submit(number, 1) for number in range(3)]
    return add.submit(first[0], add.submit(first[1], first[2])).result()

if __name__ == "__main__":
    for runner in (LeanThreadPoolTaskRunner, LeanProcessPoolTaskRunner):
        assert sums.with_options(task_runner=runner(max_workers=2))() == 6
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["calls,futures", "context", "settings,flow-run,clients,events"])
def test_flow_without_a_saving(lab_server, tmp_path, name):
    """In driver and workers alike."""
    script = tmp_path / "sums.py"
    script.write_text(SCRIPT)
    environ = os.environ | {savings.WITHOUT: name}
    ran = subprocess.run([sys.executable, script], env=environ, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
