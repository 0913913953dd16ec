"""Workers of an existing cluster need Prefect and the engine, and not this project."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect import flow, task

from runner_lab.benchmarks.experiments.bare_environment import bare_python as environment
from runner_lab.runners.isolation import guard
from runner_lab.runners.isolation.environment import free_port

pytestmark = pytest.mark.slow


LIMIT_S = 120.0


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment without this project, prefect-dask and prefect-ray."""
    return environment(tmp_path_factory.mktemp("bare"), without=("prefect_dask", "prefect_ray"))


@pytest.fixture
def bare_cluster(bare_python: Path, lab_server: Any, tmp_path: Path) -> Iterator[str]:
    # Neither this project's folder nor, as in a worker elsewhere, the address of the API.
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PREFECT_API_URL")}
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = [str(bare_python), "-m", "distributed.cli.dask_{}"]
    here = {"cwd": tmp_path, "env": environ, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [*dask[:2], dask[2].format("scheduler"), "--host", address, "--no-dashboard"]
    worker = [*dask[:2], dask[2].format("worker"), address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    worker += ["--local-directory", str(tmp_path)]
    started = [subprocess.Popen(command, **here) for command in (scheduler, worker)]  # type: ignore[call-overload]
    yield address
    guard.end([psutil.Process(process.pid) for process in started if process.poll() is None])
    for process in started:
        process.wait(LIMIT_S)


def test_workers_without_this_project(bare_cluster):
    from prefect_lean import LeanDaskTaskRunner

    @task
    def increment(x: int) -> int:
        return x + 1

    @task
    def lacks_project() -> bool:
        import importlib.util

        return not any(map(importlib.util.find_spec, ("prefect_lean", "runner_lab", "prefect_dask", "prefect_ray")))

    @task
    def nested() -> int:
        return increment.submit(40).result(LIMIT_S)

    @task
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    # Without assertions, which pytest rewrites into calls of its own that the worker would need.
    @flow(task_runner=LeanDaskTaskRunner(address=bare_cluster, client_kwargs={"timeout": LIMIT_S}))
    def elsewhere() -> list[Any]:
        chain = increment.submit(increment.submit(0), wait_for=[increment.submit(5)])
        mapped = total.submit(increment.map([1, 2]))
        futures = [lacks_project.submit(), chain, nested.submit(), mapped]
        return [future.result(LIMIT_S) for future in futures]

    assert elsewhere() == [True, 2, 41, 5]
