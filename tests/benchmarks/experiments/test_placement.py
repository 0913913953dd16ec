"""`runner-lab placement`: real places, and tasks that say from inside where they are."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner_lab import lab
from runner_lab.benchmarks.experiments import places
from runner_lab.benchmarks.experiments.frame.experiment import Scene
from runner_lab.benchmarks.experiments.placement import DRIVER, NOWHERE, WAYS, Way, experiment
from runner_lab.benchmarks.experiments.suites import PLACEMENT
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster

PAGE = Path(__file__).parents[3] / "docs" / "dedicated-infrastructure.md"

# In a process of its own: this one may be the driver of the suite's Ray node already.
RAY = """
import json, sys
from dataclasses import replace
from pathlib import Path
from runner_lab.benchmarks.experiments import places
from runner_lab.benchmarks.experiments.frame.experiment import Scene
from runner_lab.benchmarks.experiments.placement import WAYS, try_way
from runner_lab.runners import catalog

scratch = Path(sys.argv[1])
with places.ray_nodes(scratch) as cluster:
    for way in WAYS:
        if way.id in sys.argv[2:]:
            facts = {}
            arm = catalog.load().arms["lean-ray"]
            try_way(Scene(arm, scratch, "", {}, cluster, facts.update), replace(way, rounds=1))
            print(json.dumps(facts))
"""
ARMS = {arm.name: arm for arm in PLACEMENT.arms()} | dict(catalog.load().arms)


def way(id: str) -> Way:
    found = next(way for way in WAYS if way.id == id)
    return replace(found, rounds=min(found.rounds, 1))


def tried(way: Way, arm: str, cluster: Cluster, folder: Path) -> tuple[dict[str, Any], str]:
    """Facts of a way under an arm, and the sign of what they mean."""
    facts: dict[str, Any] = {}
    one = experiment(way)
    one.measure(Scene(ARMS[arm], folder, "", {}, cluster, facts.update))
    return json.loads(json.dumps(facts)), one.judge(ARMS[arm], facts).symbol


def landed(facts: dict[str, Any]) -> set[tuple[str, str]]:
    return {(visit["asked"], name) for visit in facts["visits"] for name in visit["landed"]}


AS_ASKED = {("left", "left"), ("right", "right")}


def test_a_first_node_whose_start_fails_is_not_left_up(monkeypatch, tmp_path):
    def init(**options):
        raise RuntimeError("the driver is not let in")

    calls = []
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: calls.append("shutdown")))

    with pytest.raises(RuntimeError, match="not let in"), places.ray_nodes(tmp_path):
        pass
    assert calls == ["shutdown"]


@pytest.fixture(scope="module")
def dask_places(lab_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with places.dask_workers(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.parametrize(
    ("id", "arm"),
    [
        ("dask-resources", "dask"),
        ("dask-resources", "lean-dask"),
        ("dask-resources-map", "dask"),
        ("dask-workers", "lean-dask"),
    ],
)
def test_an_annotated_task_runs_on_the_dask_worker_it_asks_for(id, arm, dask_places, tmp_path):
    facts, symbol = tried(way(id), arm, dask_places, tmp_path)

    assert landed(facts) == AS_ASKED
    assert symbol == "ok"
    assert all(set(place["resources"]) == {visit["asked"]} for visit in facts["visits"] for place in visit["places"])
    assert len({place["pid"] for visit in facts["visits"] for place in visit["places"]} - {os.getpid()}) == 2


@pytest.mark.slow
def test_a_direct_call_is_not_placed(dask_places, tmp_path):
    facts, symbol = tried(way("dask-direct-call"), "dask", dask_places, tmp_path)

    assert landed(facts) == {("left", DRIVER), ("right", DRIVER)}
    assert symbol == "warn"


@pytest.mark.slow
def test_what_asks_for_nothing_and_what_is_only_throttled_is_not_proven(dask_places, tmp_path):
    assert tried(way("dask-nothing-asked"), "lean-dask", dask_places, tmp_path)[1] == "warn"
    assert tried(replace(way("dask-tag-limit"), rounds=0), "lean-dask", dask_places, tmp_path)[1] == "warn"


@pytest.mark.slow
def test_a_resource_that_no_worker_has_is_waited_for_in_vain(dask_places, tmp_path):
    facts, symbol = tried(way("dask-absent"), "lean-dask", dask_places, tmp_path)

    assert landed(facts) == {("absent", NOWHERE)}
    assert (symbol, facts["placement_ms"]) == ("bad", None)


@pytest.mark.long
@pytest.mark.slow
def test_remote_options_choose_among_two_ray_nodes(lab_server, scratch):
    folder = scratch / "two-nodes"
    folder.mkdir()
    ids = ["ray-resources", "ray-label", "ray-node", "ray-gpus", "ray-direct-call"]
    done = subprocess.run([sys.executable, "-c", RAY, str(folder), *ids], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = dict(zip(ids, map(json.loads, done.stdout.splitlines()), strict=True))
    assert all(landed(found[id]) == AS_ASKED for id in ("ray-resources", "ray-label", "ray-node"))
    assert landed(found["ray-gpus"]) == {("right", "right")}
    assert landed(found["ray-direct-call"]) == {("left", DRIVER), ("right", DRIVER)}


@pytest.mark.slow
def test_a_background_task_runs_in_the_process_that_serves_it(lab_server, tmp_path):
    with places.served_tasks(tmp_path) as cluster:
        delayed, delayed_symbol = tried(way("task-delay"), "threads", cluster, tmp_path)
        submitted, submitted_symbol = tried(way("prefect-task-runner"), "prefect", cluster, tmp_path)

    assert landed(delayed) == landed(submitted) == AS_ASKED
    assert delayed_symbol == submitted_symbol == "ok"
    assert {place["pid"] for visit in delayed["visits"] for place in visit["places"]} == {
        place["pid"] for visit in submitted["visits"] for place in visit["places"]
    }


def test_each_way_is_a_flow_with_places_to_land():
    from prefect import Flow

    from runner_lab.flows.experiments import placement

    for way in WAYS:
        assert isinstance(getattr(placement, way.flow), Flow)
        assert way.group in places.GROUPS
        assert set(way.arms) <= set(ARMS)


def test_the_page_shows_the_code_that_runs():
    from runner_lab.flows.experiments import placement

    source = inspect.getsource(placement)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shown = [function for block in blocks for function in block.strip().split("\n\n\n")]
    assert len(shown) > 15
    assert [function for function in shown if f"\n{function}\n" not in source] == []


def test_what_cannot_be_tried_is_one_line(tmp_path, capsys):
    (tmp_path / "placement.json").write_text("{}")
    unreadable = f"{tmp_path}/placement.json holds no findings: schema version None, and this lab reads 1 and 2"
    for arguments, message in (
        (("--only", "dask,colour"), "--only colour: there are dask-nothing-asked, "),
        (("--out", str(tmp_path)), unreadable),
    ):
        with pytest.raises(SystemExit) as ended:
            lab.main(["placement", *arguments])
        assert ended.value.code == 2
        assert " ".join(capsys.readouterr().err.split()).startswith(f"runner-lab: {message}")


VISIT = {"asked": "left", "landed": ["left"], "seconds": 0.1, "places": []}
PLACED = {"as_asked": 1, "of_visits": 1, "placement_ms": 12.34, "timed": 1, "visits": [VISIT]}
ELSEWHERE = {**PLACED, "as_asked": 0, "visits": [{**VISIT, "landed": [DRIVER]}]}


@pytest.mark.parametrize(
    ("id", "facts", "symbol", "words"),
    [
        ("dask-resources", PLACED, "ok", "1 of 1 as asked, 12.3 ms each"),
        ("dask-resources", ELSEWHERE, "bad", f"0 of 1 as asked, 12.3 ms each: asked for left, landed in {DRIVER}"),
        ("dask-direct-call", ELSEWHERE, "warn", f"0 of 1 as asked, 12.3 ms each: asked for left, landed in {DRIVER}"),
        (
            "dask-absent",
            {**ELSEWHERE, "placement_ms": None, "visits": [{**VISIT, "asked": "absent", "landed": [NOWHERE]}]},
            "bad",
            f"0 of 1 as asked: asked for absent, landed in {NOWHERE}",
        ),
        ("ray-label", {"raised": "ValueError: no such label"}, "bad", "raises ValueError: no such label"),
    ],
)
def test_where_tasks_landed_is_judged(id, facts, symbol, words):
    judged = experiment(way(id)).judge(ARMS["dask"], facts)

    assert (judged.symbol, judged.words) == (symbol, words)
    assert bool(judged.remedy) == (symbol != "ok")
