"""Dask and Ray clusters that run already, or are of another class than the lab's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner_lab.benchmarks.measuring.measure import error_line
from runner_lab.records.graph import GraphSpec
from runner_lab.runners import catalog
from runner_lab.runners.engine import ClusterSettings
from runner_lab.runners.isolation.waiting import wait_for
from runner_lab.runners.spec import ArmError
from tests.suite import LIMIT_S

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lab_server")]

ATTACH = """
import sys, tempfile
from pathlib import Path
from runner_lab.records.graph import GraphSpec
from runner_lab.flows.graph.wiring import Nodes, wire
from runner_lab.runners import catalog
from runner_lab.runners.engine import ClusterSettings

found = catalog.load()
arm, engine = found.arms["bare-ray"], found.engines["ray"]
settings = ClusterSettings(address=sys.argv[1])
found.engine(arm).check(arm, settings)
with engine.cluster(2, settings, Path(sys.argv[2])) as cluster, engine.bare(arm, cluster, 300.0) as submitter:
    outcome = wire(GraphSpec(width=2), sys.argv[2], Nodes(), submitter)
print(cluster.address, cluster.local, outcome.result, sep="|")
"""


@pytest.fixture
def dask_address(tmp_path: Path) -> Iterator[str]:
    """A scheduler and a worker, each a process of its own, as a user would have started them."""
    place = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    where = ["--scheduler-file", str(place), "--no-dashboard"]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", *where], **quiet
    )
    worker = None
    try:
        wait_for("the scheduler's address", lambda: place.exists() or scheduler.poll() is not None, LIMIT_S)
        assert scheduler.poll() is None
        worker = subprocess.Popen(
            [sys.executable, "-m", "dask", "worker", "--host", "127.0.0.1", "--nthreads", "2", *where], **quiet
        )
        yield json.loads(place.read_text())["address"]
    finally:
        for process in filter(None, (worker, scheduler)):
            process.terminate()
            process.wait()


def test_dask_by_address_runs_on_that_cluster_and_leaves_it_running(dask_address, tmp_path, run_graph):
    import distributed

    (tmp_path / "runners.toml").write_text(f'dask.address = "{dask_address}"')
    found = catalog.load(tmp_path / "runners.toml")
    graph = GraphSpec(width=2)
    pids = set()
    for name in ("dask", "bare-dask"):
        (arm,) = found.select([name], 2)
        found.check(arm)
        with found.engine(arm).cluster(2, found.settings(arm), tmp_path) as cluster:
            ran = run_graph(graph, arm, cluster)
            assert found.engine(arm).slots(cluster) == 2
        assert (cluster.address, cluster.local) == (dask_address, False)
        assert ran.outcome.result == graph.result
        pids |= {entry.pid for entry in ran.entries}

    with distributed.Client(dask_address, set_as_default=False) as client:
        assert set(client.run(os.getpid).values()) == pids


def test_an_arm_with_an_address_of_its_own_runs_there(dask_address, tmp_path, run_graph):
    (tmp_path / "runners.toml").write_text(
        f'[arms.far]\nclass = "prefect_dask.DaskTaskRunner"\noptions.address = "{dask_address}"'
    )
    found = catalog.load(tmp_path / "runners.toml")
    (arm,) = found.select(["far"], 2)
    found.check(arm)
    graph = GraphSpec(width=2)

    assert found.engine(arm).shares(arm) is False
    assert run_graph(graph, arm, cluster=None).outcome.result == graph.result


def test_dask_cluster_class_is_started_with_its_keywords_and_stopped(arms, run_graph, tmp_path, descendants):
    (arm,) = arms.select(["dask"], 2)
    settings = ClusterSettings(
        cluster_class="distributed.LocalCluster",
        cluster_kwargs={"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None},
    )
    engine, graph = arms.engine(arm), GraphSpec(width=2)
    engine.check(arm, settings)
    before = descendants()

    with engine.cluster(2, settings, tmp_path) as cluster:
        ran = run_graph(graph, arm, cluster)

    assert ran.outcome.result == graph.result
    # With `processes=False` it lives in this process: so it is that cluster, and not one of the lab's.
    assert {entry.pid for entry in ran.entries} == {os.getpid()}
    assert descendants() <= before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cluster_class": "no_such_module.C"}, "dask.cluster_class: 'no_such_module.C' cannot be imported"),
        ({"cluster_class": "distributed.Absent"}, "dask.cluster_class: 'distributed.Absent' cannot be imported"),
        ({"cluster_class": "distributed.__version__"}, "dask.cluster_class: 'distributed.__version__' is not a class"),
        (
            {"cluster_class": "distributed.Semaphore", "cluster_kwargs": {"colour": 1}},
            "dask.cluster_kwargs: distributed.Semaphore got an unexpected keyword argument 'colour'",
        ),
    ],
)
def test_a_cluster_class_that_cannot_be_used_is_refused_before_it_is_started(arms, settings, message):
    with pytest.raises(ArmError) as refused:
        arms.engines["dask"].check(arms.arms["dask"], ClusterSettings(**settings))
    assert str(refused.value).startswith(f"arm 'dask': {message}")


def test_a_dask_worker_that_dies_comes_back_however_long_that_takes(arms, scratch):
    """Dask's own limit is made so short that the process that comes back is always late."""
    import dask
    from distributed import Client

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "100 ms"}),
        arms.engines["dask"].cluster(1, ClusterSettings(), scratch) as cluster,
        Client(cluster.address, set_as_default=False) as client,
    ):
        [before] = client.run(os.getpid).values()
        os.kill(before, signal.SIGKILL)

        def after() -> int | None:
            return next((pid for pid in client.run(os.getpid, on_error="ignore").values() if pid != before), None)

        assert wait_for("the worker's return", after, LIMIT_S) != before


def test_ray_by_address_runs_on_that_node(ray_node, scratch, tmp_path):
    """In a process of its own, since this one is the driver of the node already."""
    ledger = scratch / "attached"
    ledger.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ATTACH, ray_node.address, str(ledger)], capture_output=True, text=True, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{ray_node.address}|False|{GraphSpec(width=2).result}"


def test_what_keeps_a_cluster_from_starting_comes_out_as_one_line(arms, tmp_path):
    settings = ClusterSettings(cluster_class="distributed.LocalCluster", cluster_kwargs={"n_workers": "many"})

    with (
        pytest.raises(Exception) as raised,  # noqa: PT011
        arms.engines["dask"].cluster(2, settings, tmp_path),
    ):
        pass
    assert "\n" not in error_line(raised.value)
