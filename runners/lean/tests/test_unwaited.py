"""Tasks that a flow run that ends well has not waited for, on a cluster that ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
SCRIPT = """
import sys, time
from pathlib import Path

from prefect import flow, task

import prefect_lean
from runner_lab.runners.engines import dask, ray

engine, folder, scratch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
RUNNERS = {
    "dask": lambda: prefect_lean.LeanDaskTaskRunner(cluster_kwargs=dask.local_cluster(2)),
    "ray": lambda: prefect_lean.LeanRayTaskRunner(init_kwargs=ray.local_node(2, scratch)),
}


@task
def stay(folder: str, number: int) -> None:
    (Path(folder) / f"begun-{number}").touch()
    for _ in range(1 if number else 6000):
        # No interrupt ends the longer one.
        time.sleep(600 if number else 0.1)


def ends() -> None:
    futures = [stay.submit(str(folder), number) for number in range(2)]
    for number, future in enumerate(futures):
        (folder / f"id-{number}").write_text(str(future.task_run_id))
    while len(list(folder.glob("begun-*"))) < 2:
        time.sleep(0.05)
    futures.append(stay.submit(str(folder), 2))


if __name__ == "__main__":
    flow(ends, task_runner=RUNNERS[engine]())()
"""


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_flow_that_ends_its_cluster_records_what_ran(engine, lab_server, scratch, tmp_path, recorded):
    script = tmp_path / "ends.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), engine, str(tmp_path), str(scratch)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for number in range(2):
        recorded((tmp_path / f"id-{number}").read_text(), lambda run: run.state.is_crashed())
    assert not (tmp_path / "begun-2").exists()
