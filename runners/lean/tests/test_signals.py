"""A flow run that is stopped from outside: by SIGTERM, as a Prefect worker does for a cancelled flow run, or by Ctrl-C.

Each flow runs in a process of its own, on a pool, cluster or Ray instance that its runner starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
SCRIPT = """
import os, sys, time
from pathlib import Path

from prefect import flow, runtime, task

import prefect_lean
from runner_lab.runners.engines import dask, ray

engine, folder, scratch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
RUNNERS = {
    "processes": lambda: prefect_lean.LeanProcessPoolTaskRunner(max_workers=1),
    "dask": lambda: prefect_lean.LeanDaskTaskRunner(cluster_kwargs=dask.local_cluster(1)),
    "ray": lambda: prefect_lean.LeanRayTaskRunner(init_kwargs=ray.local_node(1, scratch)),
}


@task
def stay(folder: str, number: int) -> None:
    (Path(folder) / f"begun-{number}-{os.getpid()}").touch()
    time.sleep(600)


def said(flow, flow_run, state) -> None:
    # Longer than the 3 s after which Ray would abort a process that got SIGTERM.
    time.sleep(5)
    (folder / "said").touch()


def stopped() -> None:
    futures = [stay.submit(str(folder), number) for number in range(3)]
    lines = [runtime.flow_run.id, *(str(future.task_run_id) for future in futures)]
    (folder / "ids.part").write_text("\\n".join(lines))
    (folder / "ids.part").rename(folder / "ids")
    for future in futures:
        future.wait()


if __name__ == "__main__":
    flow(stopped, task_runner=RUNNERS[engine](), on_crashed=[said])()
"""


@pytest.mark.parametrize(
    ("engine", "sent"),
    [
        ("processes", signal.SIGTERM),
        ("processes", signal.SIGINT),
        ("dask", signal.SIGTERM),
        ("ray", signal.SIGTERM),
    ],
)
def test_stopped_flow(engine, sent, lab_server, scratch, tmp_path, until, recorded):
    """The task in the one slot is stopped and said to be, the others never begin, and nothing is left."""

    def said() -> str:
        return (tmp_path / "log").read_text(errors="replace")[-3000:]

    script = tmp_path / "stopped.py"
    script.write_text(SCRIPT)
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, str(script), engine, str(tmp_path), str(scratch)]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        flow_process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    family = [psutil.Process(flow_process.pid)]
    try:
        until(lambda: flow_process.poll() or (list(tmp_path.glob("begun-*")) and (tmp_path / "ids").exists()), said)
        assert flow_process.poll() is None, said()
        family += family[0].children(recursive=True)
        if sent == signal.SIGINT:
            # A terminal sends it to all of them.
            os.killpg(flow_process.pid, sent)
        else:
            flow_process.send_signal(sent)
        assert flow_process.wait(LIMIT_S) != 0
        until(lambda: not any(map(alive, family)), said)
    finally:
        for process in filter(alive, family):
            process.kill()

    (begun,) = tmp_path.glob("begun-*")
    assert (tmp_path / "said").exists()
    flow_run_id, *task_run_ids = (tmp_path / "ids").read_text().splitlines()
    recorded(task_run_ids[int(begun.name.split("-")[1])], lambda run: run.state.is_crashed())
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(UUID(flow_run_id)).state.is_crashed()


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
