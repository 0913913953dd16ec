"""One environment of the suite's own, and one server, one Dask cluster and one Ray node that all tests share.

Everything is started when the first test asks for it, and a guard ends what a killed session leaves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from runner_lab.flows.graph.ledger import Execution, Ledger
from runner_lab.flows.graph.wiring import Nodes, Outcome, wire
from runner_lab.records.graph import GraphSpec
from runner_lab.runners import catalog, server
from runner_lab.runners.engine import Cluster, ClusterSettings
from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation import guard
from runner_lab.runners.server import Server
from runner_lab.runners.spec import RunnerSpec

# No test fails because the machine was slow, and a busy one is slow at drawing examples as well. The same examples each
# time: what fails has been broken by the change at hand.
hypothesis.settings.register_profile(
    "lab", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("lab")

WORKERS = 2
LIMIT_S = 300.0
"""For what would otherwise hang for ever; nothing is judged by how long it takes."""

HANGS_S = 900.0
"""What has not ended by then never will. It ends the process that it is in, and the others go on with the rest."""

PROCESSES = 3
"""That share a run of the whole suite: much of it waits for a server or a cluster to come up or to come to rest."""

TOGETHER = ("runners/lean/tests/", "tests/runners/", "tests/reports/")
"""The first two need a Ray node and flow runs under each runner, the last a report with all charts."""

_IDLE = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False", "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s"}
"""The shared cluster stays up for all of the suite, and each of its workers took 5 % of a core at rest."""

_STACK = pytest.StashKey[ExitStack]()
_SCRATCH = pytest.StashKey[Path]()
_PORT = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole suite, without its longest tests, between processes unless told otherwise.

    Not by `addopts`: benchmarks are measured in one process.
    """
    # The processes that share it come here as well, with what was typed: they must not share their part again.
    shared = hasattr(config, "workerinput")
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and not config.option.markexpr:
        config.option.markexpr = "not long"
    if whole and not shared and getattr(config.option, "numprocesses", 0) is None and not config.option.usepdb:
        config.option.numprocesses, config.option.dist = PROCESSES, "loadfile"
        config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """File by file, but for the folders that share what is dear to make: one process takes all of such a folder."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return next((folder for folder in TOGETHER if file.startswith(folder)), file)

        def remove_node(self, node: Any) -> str | None:
            # Of what a process that has ended was at, its successor would run all again: for ever, if it hangs.
            left = [(unit, one) for unit in self.assigned_work[node].values() for one, done in unit.items() if not done]
            if not left:
                return super().remove_node(node)
            unit, ended = left[0]
            unit[ended] = True
            super().remove_node(node)
            return ended

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A limit for each test, and the longest first: at the end, one process would else be left alone with it."""
    # Not by an option, which benchmarks would have as well: they may take hours.
    if config.pluginmanager.hasplugin("timeout"):
        for item in items:
            # Not by an alarm: where there is one, Prefect ends a flow that is out of time by other means.
            item.add_marker(pytest.mark.timeout(HANGS_S, method="thread"))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    folders = [*TOGETHER, ""]
    items.sort(key=lambda item: ([*map(item.nodeid.startswith, folders)].index(True), item.path not in slow))


def pytest_configure(config: pytest.Config) -> None:
    # The pytest that a test starts is nobody's worker.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        os.environ.pop(name, None)
    # A shell's background jobs ignore Ctrl-C, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Before any test module is imported: Prefect reads its settings once, at its import.
    stack = config.stash[_STACK] = ExitStack()
    config.stash[_SCRATCH] = scratch = stack.enter_context(guard.guarded())
    config.stash[_PORT] = port = isolation.free_port()
    variables = isolation.environment(scratch / "home", f"http://127.0.0.1:{port}/api") | _IDLE
    stack.enter_context(isolation.isolated(variables))
    os.environ[server.NEW_DATABASE] = str(scratch / "new.db")


def pytest_unconfigure(config: pytest.Config) -> None:
    if stack := config.stash.get(_STACK, None):
        stack.close()


@pytest.fixture(scope="session")
def scratch(request: pytest.FixtureRequest) -> Path:
    """A folder with a short path, removed at the end, also of a killed session."""
    return request.config.stash[_SCRATCH]


@pytest.fixture(scope="session")
def lab_server(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Server]:
    """The Prefect server of the whole suite, which this process's environment points at."""
    port = request.config.stash[_PORT]
    with server.lab_server(scratch / "home", port=port, limit_s=LIMIT_S, dashboard=True) as started:
        # For the servers of all tests that start one of their own.
        home, copy = scratch / "home" / "prefect.db", os.environ[server.NEW_DATABASE]
        with closing(sqlite3.connect(home)) as source, closing(sqlite3.connect(copy)) as new:
            source.backup(new)
        yield started
        # What Prefect's background threads still hold: at exit they would complain that the server is gone.
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        EventsWorker.drain_all(timeout=10)
        APILogWorker.drain_all(timeout=10)


@pytest.fixture(scope="session")
def arms() -> catalog.Catalog:
    """The lab's own arms."""
    return catalog.load()


@pytest.fixture(scope="session")
def dask_cluster(arms: catalog.Catalog, lab_server: Server, scratch: Path) -> Iterator[Cluster]:
    with arms.engines["dask"].cluster(WORKERS, ClusterSettings(), scratch) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_node(arms: catalog.Catalog, lab_server: Server, scratch: Path) -> Iterator[Cluster]:
    with arms.engines["ray"].cluster(WORKERS, ClusterSettings(), scratch) as cluster:
        yield cluster


@pytest.fixture
def cluster_for(request: pytest.FixtureRequest, arms: catalog.Catalog) -> Callable[[RunnerSpec], Cluster]:
    """The shared cluster of an arm's engine, started when it is the first to ask."""
    fixtures = {"dask": "dask_cluster", "ray": "ray_node"}

    def cluster(spec: RunnerSpec) -> Cluster:
        return request.getfixturevalue(fixtures[spec.engine]) if spec.engine in fixtures else Cluster()

    return cluster


@dataclass(frozen=True)
class Ran:
    """One pass over a graph, and the executions its bodies counted."""

    outcome: Outcome
    entries: list[Execution]
    ledger: Path


@pytest.fixture
def run_graph(arms: catalog.Catalog, scratch: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Run a graph once under an arm, as a measured cell does, in a new ledger unless one is given."""

    def run(graph: GraphSpec, arm: RunnerSpec, cluster: Cluster | None = None, ledger: Path | None = None) -> Ran:
        ledger = ledger or tmp_path / f"ledger-{len(list(tmp_path.iterdir()))}"
        ledger.mkdir(exist_ok=True)
        before = len(Ledger(ledger).entries())
        engine = arms.engine(arm)
        if arm.bare:
            assert cluster is not None
            with engine.bare(arm, cluster, LIMIT_S) as submitter:
                outcome = wire(graph, str(ledger), Nodes(), submitter)
        else:
            from runner_lab.flows.graph.fanout import fanout, fanout_awaited

            flow = (fanout_awaited if arm.event_loop else fanout).with_options(timeout_seconds=LIMIT_S)
            if arm.class_path:
                flow = flow.with_options(task_runner=engine.task_runner(arm, cluster, scratch))
            if arm.event_loop:
                outcome = asyncio.run(flow(graph, str(ledger)))
            else:
                outcome = flow(graph, str(ledger), direct=arm.direct)
        return Ran(outcome, Ledger(ledger).entries()[before:], ledger)

    return run


@pytest.fixture
def users_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a user's shell: a home of their own, nothing of this suite's Prefect, Dask or Ray."""
    home = tmp_path / "user-home"
    home.mkdir()
    variables = isolation.without_foreign(os.environ)
    variables.pop(isolation.MARK, None)
    return {**variables, "HOME": str(home), "PYTHONPATH": str(tmp_path)}


@pytest.fixture
def descendants() -> Callable[[], set[psutil.Process]]:
    """The living processes that this one started, and what those did."""
    return lambda: {
        process
        for process in psutil.Process().children(recursive=True)
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    }
