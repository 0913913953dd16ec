"""The distribution by itself: built, installed without the lab, used; and without Dask and Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
LIMIT_S = 300.0

WITHOUT_INTEGRATIONS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("prefect_dask", "prefect_ray", "dask", "distributed", "ray", "runner_lab"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import prefect_lean
assert "prefect" not in sys.modules
prefect_lean.LeanThreadPoolTaskRunner, prefect_lean.LeanProcessPoolTaskRunner
for name in ("LeanDaskTaskRunner", "LeanRayTaskRunner"):
    try:
        getattr(prefect_lean, name)
    except ImportError as missing:
        print(missing)
try:
    from prefect_lean import LeanDaskTaskRunner
except ImportError as missing:
    print(missing)
"""

FLOW = """
import importlib.util
from prefect import flow, task
from prefect_lean import LeanProcessPoolTaskRunner, LeanThreadPoolTaskRunner

@task
def add(one, other):
    return one + other

@flow
def sums():
    return add.submit(add.submit(1, 2), 3).result()

if __name__ == "__main__":
    assert not any(map(importlib.util.find_spec, ("runner_lab", "prefect_dask", "prefect_ray", "dask", "ray")))
    for runner in (LeanThreadPoolTaskRunner, LeanProcessPoolTaskRunner):
        print(runner.__name__, sums.with_options(task_runner=runner(max_workers=2))())
"""


def test_without_dask_and_ray():
    """Importing the package loads neither; asking for a runner whose integration is missing says what to install."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT_INTEGRATIONS], capture_output=True, text=True, timeout=LIMIT_S)
    assert ran.returncode == 0, ran.stderr
    dask = "prefect-dask is not installed: pip install 'prefect-lean[dask]'"
    ray = "prefect-ray is not installed: pip install 'prefect-lean[ray]'"
    assert ran.stdout.splitlines() == [dask, ray, dask]


def test_no_such_runner():
    import prefect_lean

    with pytest.raises(AttributeError, match="LeanSparkTaskRunner"):
        prefect_lean.LeanSparkTaskRunner  # noqa: B018
    assert set(prefect_lean.__all__) <= set(dir(prefect_lean))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv to build and install")
def test_wheel_in_an_environment_of_its_own(lab_server, tmp_path):
    """Which has neither the lab nor Dask and Ray."""
    from runner_lab.benchmarks.experiments.bare_environment import bare_python

    def done(*command: object) -> str:
        ran = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, timeout=LIMIT_S, cwd=tmp_path, env=env
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # From the sdist, which must have all that the wheel needs.
    done("uv", "build", "--package", "prefect-lean", "--out-dir", tmp_path / "dist", HERE.parents[1])
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    without = ("prefect_dask", "prefect_ray", "dask", "distributed", "ray")
    python = bare_python(tmp_path / "environment", without=without)
    done("uv", "pip", "install", "--offline", "--no-deps", "--python", python, wheel)
    (tmp_path / "sums.py").write_text(FLOW)
    found = done(python, "sums.py").splitlines()
    assert found == ["LeanThreadPoolTaskRunner 6", "LeanProcessPoolTaskRunner 6"]
    top = done(
        python, "-c", "from importlib.metadata import files; print(*{f.parts[0] for f in files('prefect-lean')})"
    )
    assert {name for name in top.split() if "dist-info" not in name} == {"prefect_lean"}
