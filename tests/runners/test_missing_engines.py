"""The lab where neither Dask nor Ray is installed: everything else works, and what is missing is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.whole_runs import LIMIT_S, written

ROOT = Path(__file__).parents[2]
HIDDEN = ("dask", "distributed", "prefect_dask", "ray", "prefect_ray")
DASK = "Dask is not installed: pip install 'runner-lab[dask]'"
RAY = "Ray is not installed: pip install 'runner-lab[ray]'"

EVERY_MODULE = """
import importlib, pathlib, runner_lab
for folder in sorted(pathlib.Path(runner_lab.__path__[0]).iterdir()):
    for path in sorted(folder.resolve().rglob("*.py")):
        name = ".".join(["runner_lab", folder.name, *path.relative_to(folder.resolve()).with_suffix("").parts])
        # The plugin of a pytest is for that pytest alone; `prefect-lean` is a distribution of its own.
        if not name.endswith("benchmarks.conftest") and not name.startswith("runner_lab.runners.lean"):
            importlib.import_module(name.removesuffix(".__init__"))
            print(name)
"""

FLOW = """
from prefect import flow, task

@task
def double(x):
    return 2 * x

@flow
def doubled():
    return sum(future.result() for future in double.map([1, 2, 3]))
"""


@pytest.fixture
def without_engines(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in an empty folder, where no process can import the engines' packages."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({HIDDEN}))\n")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    (tmp_path / "here").mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path / "here",
            env={**variables, "PYTHONPATH": str(site), "HOME": str(tmp_path), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=2 * LIMIT_S,
        )

    return run


def test_every_module_of_the_lab_can_be_imported(without_engines):
    done = without_engines("-c", EVERY_MODULE)

    assert done.returncode == 0, done.stderr
    assert {"runner_lab.runners.engines.ray", "runner_lab.lab.demo", "runner_lab.benchmarks.compare.compare"} <= set(
        done.stdout.split()
    )


@pytest.mark.slow
def test_its_arms_are_listed_with_what_would_bring_them(without_engines):
    done = without_engines("-m", "runner_lab", "runners", "--json")
    listed = {row["arm"]: row["error"] for row in json.loads(done.stdout)}

    assert done.returncode == 0, done.stderr
    assert {arm: error for arm, error in listed.items() if error} == {
        **dict.fromkeys(("dask", "lean-dask", "bare-dask"), DASK),
        **dict.fromkeys(("ray", "lean-ray", "bare-ray"), RAY),
    }
    assert {"threads", "lean-threads", "processes", "lean-processes", "sequential", "control"} <= listed.keys()


@pytest.mark.slow
def test_the_doctor_says_it_and_does_not_fail_for_it(without_engines):
    found = {one["check"]: one for one in json.loads(without_engines("-m", "runner_lab", "doctor", "--json").stdout)}

    assert (found["Dask"]["status"], found["Ray"]["status"]) == ("ok", "ok")
    assert found["Dask"]["said"] == f"{DASK}, if you want it"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "doubled.py", "--runners", "threads,ray"), f"arm 'ray': {RAY}"),
        (("faults", "--runners", "threads,lean-dask"), f"arm 'lean-dask': {DASK}"),
        (("equivalence", "--runners", "dask"), f"arm 'dask': {DASK}"),
        (("placement", "--only", "dask"), f"arm 'lean-dask': {DASK}"),
    ],
)
def test_by_name_it_is_an_error_with_exit_code_2(without_engines, tmp_path, arguments, message):
    (tmp_path / "here" / "doubled.py").write_text(FLOW)
    done = without_engines("-m", "runner_lab", *arguments)

    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.strip() == f"runner-lab: {message}"
    assert not (tmp_path / "here" / "results").exists()


@pytest.mark.slow
def test_a_profiles_run_leaves_them_out_with_a_word(without_engines, tmp_path):
    done = without_engines(
        *("-m", "pytest", str(ROOT / "benchmarks"), "--benchmark-only", "-c", str(ROOT / "pyproject.toml")),
        *("--lab-profile", "smoke", "--lab-out", "out", "-k", "overhead and w2-"),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"warning: {DASK}; left out: dask") == 1
    assert RAY not in done.stdout, "of the smoke profile's arms none is on Ray"
    assert {(record["arm"], record["status"]) for record in written(tmp_path / "here" / "out")} == {
        ("threads", "ok"),
        ("control", "ok"),
    }
