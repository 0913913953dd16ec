"""Clusters that others have started, from an environment without this project: the lab runs its graph there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from runner_lab.benchmarks.experiments.bare_environment import bare_python
from runner_lab.benchmarks.experiments.far_clusters import FORKS_IN_PEACE
from runner_lab.benchmarks.measuring.remote_cluster import judge_slots, own_address, sent_by_value, slots_of
from runner_lab.benchmarks.session.plan import applies
from runner_lab.benchmarks.session.session import Options, Session
from runner_lab.benchmarks.session.workload import LabGraphs
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster, ClusterSettings
from runner_lab.runners.engines.dask import ENGINE, Dask
from runner_lab.runners.isolation.environment import free_port
from runner_lab.runners.isolation.supervised import supervised
from runner_lab.runners.isolation.waiting import wait_for
from runner_lab.runners.spec import ArmError

# In a process of its own, as it is for a user: this one may be the driver of the suite's Ray node already.
MEASURE = """
import json, sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from runner_lab.benchmarks.measuring import quiescence
from runner_lab.benchmarks.measuring.lab_graphs import measure_graph
from runner_lab.benchmarks.measuring.measure import Site, blank_record, measure
from runner_lab.benchmarks.session.plan import PlannedCell, Stage
from runner_lab.records.graph import GraphSpec
from runner_lab.lab.health import reach
from runner_lab.runners import catalog
from runner_lab.runners.isolation.waiting import wait_for
from runner_lab.runners.server import existing_server

api_url, config, scratch, limit_s, *names = sys.argv[1:]
found = catalog.load(Path(config))
arms = found.select(names, 2)
engine, settings = found.engine(arms[0]), found.settings(arms[0])
for arm in arms:
    engine.check(arm, settings)
with engine.cluster(2, settings, Path(scratch)) as cluster:
    wait_for("the second slot", lambda: engine.slots(cluster) == 2, float(limit_s))
    site = Site(existing_server(api_url), engine, cluster, Path(scratch), float(limit_s), float(limit_s))

    @contextmanager
    def ready(cell):
        yield site

    for arm in arms:
        for graph in (GraphSpec(width=2), GraphSpec("retrying", width=1, failures=1), GraphSpec("cached", width=1)):
            if not arm.bare or graph.variant == "plain":
                cell = PlannedCell("overhead", graph, arm, 0, Stage(arm.engine, 2))
                print(json.dumps(asdict(measure(cell, 0, ready, blank_record(cell, "run", {}), measure_graph))))
quiescence.send_rest()
# As `doctor` asks it.
print("reached", json.dumps(reach.from_workers({engine.name: settings.address}, api_url)))
"""
LIMIT_S = 300.0
RAY = {"RAY_AUTH_MODE": "token", **FORKS_IN_PEACE}
"""A cluster that wants a token, as one does that is started where there is one."""


@pytest.fixture(scope="module")
def python(scratch: Path) -> str:
    return str(bare_python(scratch / "bare"))


@pytest.fixture
def elsewhere(scratch: Path, lab_server: Any, tmp_path: Path) -> Iterator[Any]:
    """Start a command as on another machine: in a folder of its own, and nothing leads to this project or the API."""
    here = ("PYTHONPATH", "PREFECT_API_URL", "RAY_ADDRESS", "DASK_SCHEDULER_ADDRESS")
    environ = {name: value for name, value in os.environ.items() if name not in here} | RAY
    with ExitStack() as stack:
        yield lambda *command: stack.enter_context(supervised(command, tmp_path / "cluster.log", environ, tmp_path))


def wait_for_port(port: int) -> None:
    def listened_at() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    wait_for(f"an answer at port {port}", listened_at, LIMIT_S)


def measured(lab_server: Any, scratch: Path, tmp_path: Path, config: str, *arms: str) -> dict[tuple[str, str], Any]:
    (tmp_path / "runners.toml").write_text(config)
    arguments = [lab_server.api_url, str(tmp_path / "runners.toml"), str(scratch), str(LIMIT_S), *arms]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **RAY},
    )
    assert done.returncode == 0, f"{done.stderr}\n{(tmp_path / 'cluster.log').read_text()}"
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (reached,) = (
        json.loads(line.removeprefix("reached")) for line in done.stdout.splitlines() if line[:7] == "reached"
    )
    assert [set(found.values()) for found in reached.values()] == [{"ok"}]
    assert {(r["arm"], r["status"], r["error"]) for r in records} == {(arm, "ok", None) for arm in arms}
    return {(record["arm"], record["graph"]["variant"]): record for record in records}


def assert_whole(records: dict[tuple[str, str], Any], arms: set[str], bare: str) -> None:
    assert records.keys() == {(arm, variant) for arm in arms for variant in ("plain", "retrying", "cached")} | {
        (bare, "plain")
    }
    for record in records.values():
        assert record["executions"] == record["expected_executions"]
        assert record["recorded"] == (None if record["bare"] else record["expected_recorded"])
        # These workers are processes of this host, so its clock tells all of it.
        assert record["hosts"] == []
        ran = 0 if record["graph"]["variant"] == "cached" else record["graph"]["width"]
        assert len(record["latencies"]["queue_s"]) == ran
        assert record["background_cpu"] is None


@pytest.mark.slow
def test_dask_workers_need_nothing_of_this_project(python, elsewhere, lab_server, scratch, tmp_path):
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    elsewhere(python, "-m", "dask", "scheduler", "--host", address, "--no-dashboard")
    elsewhere(python, "-m", "dask", "worker", address, "--nthreads", "2", "--no-dashboard", "--no-nanny")

    wait_for_port(port)
    config = f'dask.address = "{address}"\ndask.timeout_s = {LIMIT_S}'
    arms = ("dask", "lean-dask", "bare-dask")
    assert_whole(measured(lab_server, scratch, tmp_path, config, *arms), {"dask", "lean-dask"}, "bare-dask")


@pytest.mark.long
@pytest.mark.slow
def test_ray_nodes_need_nothing_of_this_project(python, elsewhere, lab_server, scratch, tmp_path):
    port, client = free_port(), free_port()
    start = (python, "-m", "ray.scripts.scripts", "start", "--block", "--head", "--node-ip-address", "127.0.0.1")
    ports = ("--port", str(port), "--ray-client-server-port", str(client))
    ports += ("--min-worker-port", "0", "--max-worker-port", "0")
    elsewhere(*start, *ports, "--num-cpus", "2", "--include-dashboard", "false", "--temp-dir", str(scratch / "far-ray"))

    wait_for_port(client)
    arms = ("ray", "lean-ray", "bare-ray")
    config = f'ray.address = "ray://127.0.0.1:{client}"\nray.timeout_s = {LIMIT_S}'
    assert_whole(measured(lab_server, scratch, tmp_path, config, *arms), {"ray", "lean-ray"}, "bare-ray")


def test_an_attached_cluster_is_not_started_cold_and_not_probed(tmp_path):
    (tmp_path / "runners.toml").write_text(
        'dask.address = "tcp://h:1"\n[arms.far]\nclass = "prefect_ray.RayTaskRunner"\noptions.address = "ray://h:1"'
    )
    found = catalog.load(tmp_path / "runners.toml")
    attached = {name: found.engine(arm).attached(arm, found.settings(arm)) for name, arm in found.arms.items()}

    on_dask = dict.fromkeys(("dask", "lean-dask", "bare-dask"), "tcp://h:1")
    assert {name: address for name, address in attached.items() if address} == {**on_dask, "far": "ray://h:1"}
    dask = found.arms["dask"]
    assert applies(GraphSpec(width=2), dask, cold=True) is True
    assert applies(GraphSpec(width=2), dask, cold=True, attached=True) is False
    assert applies(GraphSpec("chain", width=5), dask, cold=False, attached=True) is False
    assert applies(GraphSpec(width=2), dask, cold=False, attached=True) is True


def test_a_cluster_that_is_gone_is_an_error_of_its_cells_only(arms):
    with pytest.raises(OSError, match="refused"):
        own_address(f"tcp://127.0.0.1:{free_port()}")
    assert arms.engines["dask"].attached(arms.arms["dask"], ClusterSettings()) is None


@pytest.mark.parametrize(
    ("slots", "workers", "given", "message"),
    [
        (4, 2, False, "has 4 worker slots, and the run counts with 2: give --workers 4"),
        (2, 8, False, "has 2 worker slots, and the run counts with 8: give --workers 2"),
        (4, 2, True, "has 4 worker slots, and the run counts with 2: give --workers 4"),
        (0, 2, False, "has 0 worker slots, and the run counts with 2: start its workers, or give --workers N"),
    ],
)
def test_a_run_that_counts_with_other_workers_than_the_cluster_has_is_refused(slots, workers, given, message):
    with pytest.raises(ArmError, match=r"^[^\n]+$") as refused:
        judge_slots("dask", "tcp://h:1", slots, workers, given)
    assert str(refused.value) == f"arm 'dask': the cluster at tcp://h:1 {message}"


def test_a_cluster_that_may_grow_is_taken_at_the_users_word():
    warning = judge_slots("dask", "tcp://h:1", 2, 8, given=True)

    assert warning == (
        "arm 'dask': the cluster at tcp://h:1 has 2 worker slots, and the run counts with 8: unless it grows with its "
        "work, its overhead and efficiency are wrong"
    )
    assert judge_slots("dask", "tcp://h:1", 2, 2, given=False) is None
    assert judge_slots("dask", "tcp://h:1", None, 2, given=False) is None


def test_a_cluster_that_lets_nobody_in_is_told_by_its_cells():
    settings = ClusterSettings(address=f"tcp://127.0.0.1:{free_port()}", timeout_s=0.1)

    assert slots_of(ENGINE, settings, 2, Path()) is None


def test_nothing_is_measured_on_an_attached_cluster_with_other_workers(tmp_path, monkeypatch):
    @contextmanager
    def cluster(self, workers, settings, scratch):
        yield Cluster(settings.address, local=False)

    monkeypatch.setattr(Dask, "cluster", cluster)
    monkeypatch.setattr(Dask, "slots", lambda self, cluster: 3)
    monkeypatch.setattr(Session, "_start_server", lambda self, home: pytest.fail("it was to be measured"))
    # A session may be made though the suite has imported Prefect.
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        (tmp_path / "runners.toml").write_text(f'dask.address = "{address}"')
        session = Session(LabGraphs(), Options(runners="bare-dask", workers=2))
        try:
            with pytest.raises(ArmError) as refused:
                session.start()
        finally:
            session.release()

    assert str(refused.value).startswith(f"arm 'bare-dask': the cluster at {address} has 3 worker slots")
    assert not (tmp_path / "results").exists()


def test_a_graph_arrives_where_nothing_of_this_project_is():
    graph = GraphSpec("retrying", 3, Work("spin", 0.1), payload_bytes=10, failures=2)
    program = (
        "import pickle, sys; sys.modules['runner_lab'] = None\n"
        "graph = pickle.loads(sys.stdin.buffer.read()); print(graph, graph.tasks, graph.result, sep='\\n')"
    )
    with sent_by_value():
        pickled = cloudpickle.dumps(graph)

    done = subprocess.run([sys.executable, "-c", program], input=pickled, capture_output=True)
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [repr(graph), str(graph.tasks), graph.result]
