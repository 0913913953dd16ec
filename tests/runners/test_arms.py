"""Every arm runs the graph for real, with the right result, on the one server."""

from __future__ import annotations

import os

import psutil
import pytest

from runner_lab.benchmarks.measuring.quiescence import wait_recorded
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.runners import catalog
from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation import guard

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lab_server")]

WORKERS = 2
LIMIT_S = 300.0

ARMS = catalog.load().arms
REMOTE_ARMS = [name for name, spec in ARMS.items() if spec.engine in ("processes", "dask", "ray") and not spec.bare]


@pytest.fixture
def own_servers(lab_server):
    """Prefect servers that processes of this suite have started beside the suite's own."""

    def found() -> list[psutil.Process]:
        own = psutil.Process(lab_server.pid)
        family = {own, *own.children(recursive=True)}
        return [
            process
            for process in guard.marked(os.environ[isolation.MARK])
            if process not in family
            and any("prefect" in word for word in process.cmdline())
            and {"server", "uvicorn"} & set(process.cmdline())
        ]

    return found


@pytest.mark.parametrize("name", ARMS)
def test_runs_the_graph(name, arms, cluster_for, run_graph, lab_server, own_servers):
    (arm,) = arms.select([name], WORKERS)
    graph = GraphSpec(width=3, payload_bytes=1000)

    ran = run_graph(graph, arm, cluster_for(arm))

    assert ran.outcome.result == graph.result
    assert len(ran.entries) == graph.executions
    assert set(ran.outcome.seen_s) == {0, 1, 2}
    pids = {entry.pid for entry in ran.entries}
    if arm.engine in ("none", "asyncio", "threads"):
        assert pids == {os.getpid()}
    else:
        assert os.getpid() not in pids
    if arm.engine in ("processes", "dask"):
        # Ray starts further workers while one waits for its upstream.
        assert len(pids) <= WORKERS
    if arm.bare:
        assert ran.outcome.flow_run_id is None
    else:
        recorded = wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks, LIMIT_S)
        assert (recorded.final, recorded.completed) == (graph.tasks, graph.tasks)
    assert own_servers() == []


@pytest.mark.parametrize(
    ("name", "graph"),
    [
        *((name, GraphSpec("cached", width=2)) for name in REMOTE_ARMS),
        *((name, GraphSpec("retrying", width=2, failures=1)) for name in REMOTE_ARMS if name != "processes"),
    ],
    ids=lambda value: getattr(value, "variant", value),
)
def test_runs_the_other_variants_in_other_processes(name, graph, arms, cluster_for, run_graph):
    (arm,) = arms.select([name], WORKERS)
    cluster = cluster_for(arm)

    first = run_graph(graph, arm, cluster)
    second = run_graph(graph, arm, cluster, ledger=first.ledger) if graph.variant == "cached" else None

    assert first.outcome.result == graph.result
    assert len(first.entries) == graph.executions
    if second:
        assert second.outcome.result == graph.result
        assert second.entries == []


@pytest.mark.parametrize("name", [name for name, spec in ARMS.items() if spec.class_path])
def test_runs_asynchronous_tasks(name, arms, cluster_for, run_graph, lab_server):
    """Each in an event loop of its slot's thread, so that slots are as many as with other tasks."""
    (arm,) = arms.select([name], WORKERS)
    graph = GraphSpec("map", width=4, work=Work("sleep", 0.3), payload_bytes=1000, asynchronous=True)

    ran = run_graph(graph, arm, cluster_for(arm))

    assert ran.outcome.result == graph.result
    assert len(ran.entries) == graph.executions
    assert set(ran.outcome.seen_s) == set(range(4))
    assert min(entry.end_s - entry.start_s for entry in ran.entries) >= 0.3
    assert (os.getpid() in {entry.pid for entry in ran.entries}) is (arm.engine == "threads")
    recorded = wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks, LIMIT_S)
    assert (recorded.final, recorded.completed) == (graph.tasks, graph.tasks)


@pytest.mark.parametrize(
    "graph",
    [GraphSpec("cached", width=2, asynchronous=True), GraphSpec("retrying", width=2, failures=1, asynchronous=True)],
)
@pytest.mark.parametrize("name", ["threads", "lean-threads", "dask", "lean-dask"])
def test_asynchronous_tasks_are_cached_and_retried(name, graph, arms, cluster_for, run_graph):
    (arm,) = arms.select([name], WORKERS)
    cluster = cluster_for(arm)

    first = run_graph(graph, arm, cluster)
    second = run_graph(graph, arm, cluster, ledger=first.ledger) if graph.variant == "cached" else None

    assert first.outcome.result == graph.result
    assert len(first.entries) == graph.executions
    if second:
        assert second.outcome.result == graph.result
        assert second.entries == []


@pytest.mark.parametrize(("kind", "at_once"), [("sleep", 6), ("spin", 1), ("crunch", 1)])
def test_an_event_loop_lets_all_tasks_wait_at_once_and_one_compute(kind, at_once, arms, run_graph):
    ran = run_graph(GraphSpec("map", width=6, work=Work(kind, 1.0 if kind == "sleep" else 0.05)), arms.arms["gather"])

    most = max(sum(other.start_s <= entry.start_s < other.end_s for other in ran.entries) for entry in ran.entries)
    assert most == at_once


def test_threads_never_run_more_bodies_at_once_than_the_workers(arms, run_graph):
    (arm,) = arms.select(["threads"], WORKERS)
    ran = run_graph(GraphSpec(width=6, work=Work("sleep", 0.1)), arm)

    hellos = [entry for entry in ran.entries if entry.name == "hello"]
    most = max(sum(other.start_s <= entry.start_s < other.end_s for other in hellos) for entry in hellos)
    assert most <= WORKERS


def test_cold_arms_start_and_stop_a_cluster_of_their_own(arms, run_graph, descendants):
    (arm,) = arms.select(["dask"], WORKERS)
    graph = GraphSpec(width=2)
    before = descendants()

    ran = run_graph(graph, arm, cluster=None)

    assert ran.outcome.result == graph.result
    assert {entry.pid for entry in ran.entries}.isdisjoint({process.pid for process in before})
    assert {process.pid for process in descendants()}.isdisjoint({entry.pid for entry in ran.entries})
