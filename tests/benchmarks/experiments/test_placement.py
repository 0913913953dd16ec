"""`runner-lab placement`: real places, and tasks that say from inside where they are."""

from __future__ import annotations

import inspect
import io
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
from rich.console import Console

from runner_lab import lab
from runner_lab.benchmarks.experiments import places
from runner_lab.benchmarks.experiments.placement import DRIVER, FILE, NOWHERE, try_way
from runner_lab.benchmarks.experiments.ways import WAYS, Way
from runner_lab.reports.findings import placement as findings
from runner_lab.runners.engine import Cluster

PAGE = Path(__file__).parents[3] / "docs" / "dedicated-infrastructure.md"

# In a process of its own: this one may be the driver of the suite's Ray node already.
RAY = """
import json, sys
from dataclasses import replace
from pathlib import Path
from runner_lab.benchmarks.experiments import places
from runner_lab.benchmarks.experiments.placement import try_way
from runner_lab.benchmarks.experiments.ways import WAYS

scratch = Path(sys.argv[1])
with places.ray_nodes(scratch) as cluster:
    for way in WAYS:
        if way.flow in sys.argv[2:]:
            print(json.dumps(try_way(replace(way, rounds=1), "lean-ray", cluster, scratch)))
"""


def way(flow: str) -> Way:
    found = next(way for way in WAYS if way.flow == flow)
    return replace(found, rounds=min(found.rounds, 1))


def landed(finding: dict[str, Any]) -> set[tuple[str, str]]:
    assert finding["error"] is None
    return {(visit["asked"], name) for visit in finding["visits"] for name in visit["landed"]}


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
    ("flow", "arm"),
    [
        ("dask_resources", "dask"),
        ("dask_resources", "lean-dask"),
        ("dask_resources_map", "dask"),
        ("dask_workers", "lean-dask"),
    ],
)
def test_an_annotated_task_runs_on_the_dask_worker_it_asks_for(flow, arm, dask_places, tmp_path):
    finding = try_way(way(flow), arm, dask_places, tmp_path)

    assert landed(finding) == AS_ASKED
    assert finding["proven"] is True
    assert all(set(place["resources"]) == {visit["asked"]} for visit in finding["visits"] for place in visit["places"])
    assert len({place["pid"] for visit in finding["visits"] for place in visit["places"]} - {os.getpid()}) == 2


@pytest.mark.slow
def test_a_direct_call_is_not_placed(dask_places, tmp_path):
    finding = try_way(way("dask_direct_call"), "dask", dask_places, tmp_path)

    assert landed(finding) == {("left", DRIVER), ("right", DRIVER)}
    assert finding["proven"] is False


@pytest.mark.slow
def test_what_asks_for_nothing_and_what_is_only_throttled_is_not_proven(dask_places, tmp_path):
    assert try_way(way("nothing_asked"), "lean-dask", dask_places, tmp_path)["proven"] is False
    assert try_way(replace(way("tag_limit"), rounds=0), "lean-dask", dask_places, tmp_path)["proven"] is False


@pytest.mark.slow
def test_a_resource_that_no_worker_has_is_waited_for_in_vain(dask_places, tmp_path):
    finding = try_way(way("dask_absent"), "lean-dask", dask_places, tmp_path)

    assert landed(finding) == {("absent", NOWHERE)}
    assert (finding["proven"], finding["placement_ms"]) == (False, None)


@pytest.mark.slow
def test_remote_options_choose_among_two_ray_nodes(lab_server, scratch):
    folder = scratch / "two-nodes"
    folder.mkdir()
    flows = ["ray_resources", "ray_label", "ray_node", "ray_gpus", "ray_direct_call"]
    done = subprocess.run([sys.executable, "-c", RAY, str(folder), *flows], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = {finding["way"]: finding for finding in map(json.loads, done.stdout.splitlines())}
    assert list(found) == flows
    assert all(landed(found[flow]) == AS_ASKED for flow in ("ray_resources", "ray_label", "ray_node"))
    assert landed(found["ray_gpus"]) == {("right", "right")}
    assert landed(found["ray_direct_call"]) == {("left", DRIVER), ("right", DRIVER)}


@pytest.mark.slow
def test_a_background_task_runs_in_the_process_that_serves_it(lab_server, tmp_path):
    with places.served_tasks(tmp_path) as cluster:
        delayed = try_way(way("background"), "threads", cluster, tmp_path)
        submitted = try_way(way("prefect_task_runner"), "prefect", cluster, tmp_path)

    assert landed(delayed) == landed(submitted) == AS_ASKED
    assert {place["pid"] for visit in delayed["visits"] for place in visit["places"]} == {
        place["pid"] for visit in submitted["visits"] for place in visit["places"]
    }


def test_each_way_is_a_flow_with_places_to_land():
    from prefect import Flow

    from runner_lab.flows.experiments import placement

    for way in WAYS:
        assert isinstance(getattr(placement, way.flow), Flow)
        assert way.group in places.GROUPS


def test_the_page_shows_the_code_that_runs():
    from runner_lab.flows.experiments import placement

    source = inspect.getsource(placement)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shown = [function for block in blocks for function in block.strip().split("\n\n\n")]
    assert len(shown) > 15
    assert [function for function in shown if f"\n{function}\n" not in source] == []


def test_what_cannot_be_tried_is_one_line(tmp_path, capsys):
    (tmp_path / FILE).write_text("{}")
    for arguments, message in (
        (("--only", "dask,colour"), "--only colour: there are dask, ray, background, deployment"),
        (("--out", str(tmp_path)), f"--out {tmp_path} holds a {FILE} already: name another folder"),
    ):
        with pytest.raises(SystemExit) as ended:
            lab.main(["placement", *arguments])
        assert ended.value.code == 2
        assert capsys.readouterr().err.split() == f"runner-lab: {message}".split()


def test_the_table_says_what_happened_instead():
    visit = {"asked": "left", "landed": [DRIVER], "seconds": 0.1, "places": []}
    shared = {"way": "w", "group": "dask", "unit": "task", "needs": "n", "cannot": "c", "placement_ms": 12.34}
    refuted = {**shared, "asks": "a direct call", "runner": "dask", "proven": False, "error": None, "visits": [visit]}
    stopped = {**refuted, "asks": "a hang", "visits": [], "error": "stopped after 180 s", "placement_ms": None}
    report = {"folder": "results/x", "findings": [refuted, stopped]}

    out = Console(file=io.StringIO(), width=120)
    findings.show(report, out)
    text = out.file.getvalue()

    assert f"a direct call (dask): asked for left, landed in {DRIVER}" in text
    assert "a hang (dask): stopped after 180 s" in text
    assert "12.3 ms" in text
    assert "dask: no, 0/1" in findings.markdown(report)
