"""Workers of an existing cluster need Prefect and the engine, and not this project."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """The interpreter of a virtual environment with Prefect and Dask alone."""
    if shutil.which("uv") is None:
        pytest.skip("needs uv to make a second virtual environment")
    folder = tmp_path_factory.mktemp("bare") / "venv"
    python = folder / "bin" / "python"
    pinned = [f"{name}=={version(name)}" for name in ("prefect", "dask", "distributed", "cloudpickle", "fastapi")]
    for command in (
        ["uv", "venv", "-q", "-p", f"{sys.version_info.major}.{sys.version_info.minor}", str(folder)],
        ["uv", "pip", "install", "-q", "--python", str(python), *pinned],
    ):
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no second virtual environment: {made.stderr[-300:]}")
    return python


@pytest.fixture
def bare_cluster(bare_python: Path, lab_server: str, tmp_path: Path) -> Iterator[str]:
    # Neither this project's folder nor, as in a worker elsewhere, the address of the API.
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PREFECT_API_URL")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    dask = [str(bare_python), "-m", "distributed.cli.dask_{}"]
    here = {"cwd": tmp_path, "env": environ, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [*dask[:2], dask[2].format("scheduler"), "--host", address, "--no-dashboard"]
    worker = [*dask[:2], dask[2].format("worker"), address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    started = [subprocess.Popen(command, **here) for command in (scheduler, worker)]  # type: ignore[call-overload]
    yield address
    for process in started:
        process.terminate()
        process.wait(30)


def test_workers_without_this_project(bare_cluster):
    from runners.lean import LeanDaskTaskRunner

    @task
    def increment(x: int) -> int:
        return x + 1

    @task
    def lacks_project() -> bool:
        import importlib.util

        return importlib.util.find_spec("runners") is None

    @task
    def nested() -> int:
        return increment.submit(40).result(60)

    # Without assertions, which pytest rewrites into calls of its own that the worker would need.
    @flow(task_runner=LeanDaskTaskRunner(address=bare_cluster))
    def elsewhere() -> list[Any]:
        chain = increment.submit(increment.submit(0), wait_for=[increment.submit(5)])
        return [lacks_project.submit().result(120), chain.result(60), nested.submit().result(60)]

    assert elsewhere() == [True, 2, 41]
