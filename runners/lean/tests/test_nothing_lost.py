"""A flow that is faster than the recorder of its server: nothing is lost, and its process ends after the last event."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner_lab.runners import server as lab
from runner_lab.runners.isolation.environment import free_port

pytestmark = pytest.mark.slow

LIMIT_S = 600.0

SCRIPT = """
import sys

from prefect import flow, task
import prefect_lean

ENGINES = {
    "threads": ("LeanThreadPoolTaskRunner", {"max_workers": 2}),
    "processes": ("LeanProcessPoolTaskRunner", {"max_workers": 2}),
    "dask": ("LeanDaskTaskRunner", {"cluster_kwargs": {"n_workers": 2, "dashboard_address": None}}),
    "ray": ("LeanRayTaskRunner", {"init_kwargs": {"num_cpus": 2, "include_dashboard": False}}),
}


@task
def quick(x):
    return x


def main(engine, tasks, record):
    name, arguments = ENGINES[engine]

    @flow(task_runner=getattr(prefect_lean, name)(**arguments, record=record))
    def wide():
        futures = [quick.submit(x) for x in range(tasks)]
        assert sum(future.result() for future in futures) == sum(range(tasks))

    wide()
    print("returned", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Begin a flow in a process of its own."""
    script = tmp_path / "wide.py"
    script.write_text(SCRIPT)

    def begin(api_url: str, engine: str, tasks: int, ahead: int | None, record: str = "all") -> subprocess.Popen[str]:
        variables = os.environ | {"PREFECT_API_URL": api_url, "PREFECT_LOGGING_LEVEL": "ERROR"}
        variables |= {"PREFECT_LEAN_AHEAD": str(ahead)} if ahead else {}
        command = [sys.executable, str(script), engine, str(tasks), record]
        return subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return begin


def completed(api_url: str) -> int:
    """The task runs that a server has as completed."""
    body = json.dumps({"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}).encode()
    request = urllib.request.Request(f"{api_url}/task_runs/count", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(json.load(answer))


def all_recorded(api_url: str, tasks: int, until: Callable[..., Any]) -> None:
    until(lambda: completed(api_url) >= tasks, lambda: f"{completed(api_url)} of {tasks}")
    assert completed(api_url) == tasks


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err[-2000:]
    return out, err


@pytest.mark.parametrize("record", ["all", pytest.param("final", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "engine", ["threads", "processes", *(pytest.param(name, marks=pytest.mark.long) for name in ("dask", "ray"))]
)
def test_process_ends_when_the_server_has_taken_the_last_event(begin, until, tmp_path, engine, record):
    """Here the server may have few of them at a time: most are still waiting when the flow is over."""
    with lab.lab_server(tmp_path / "home") as server:
        _, err = ended(begin(server.api_url, engine, 80, ahead=24, record=record))
        all_recorded(server.api_url, 80, until)
        if (engine, record) == ("threads", "all"):
            # Others take so long to end that it may have them all by then.
            assert "prefect-lean: waiting until the server has taken the last" in err


@pytest.mark.parametrize("engine", ["threads", pytest.param("dask", marks=pytest.mark.long)])
def test_server_that_restarts_meanwhile(begin, until, tmp_path, engine):
    """What it had in its queues is gone with it, and is sent again."""
    port = free_port()
    with lab.lab_server(tmp_path / "home", port=port) as server:
        tasks = 120 if engine == "threads" else 600
        process = begin(server.api_url, engine, tasks, ahead=60)
        assert process.stdout is not None
        assert process.stdout.readline() == "returned\n"
        before = completed(server.api_url)
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(1)
    assert before < tasks
    with lab.lab_server(tmp_path / "home", port=port) as server:
        ended(process)
        all_recorded(server.api_url, tasks, until)


@pytest.mark.long
def test_wider_than_the_queue_of_a_server(begin, until, tmp_path):
    """More than 10,000 events, and nothing but defaults."""
    with lab.lab_server(tmp_path / "home") as server:
        process = begin(server.api_url, "threads", 3_400, ahead=None)
        _, err = process.communicate(timeout=3600)
        assert process.returncode == 0, err[-2000:]
        assert "queue is full" not in server.log.read_text()
        deadline = time.monotonic() + 1800
        while completed(server.api_url) < 3_400 and time.monotonic() < deadline:
            time.sleep(1)
        assert completed(server.api_url) == 3_400
