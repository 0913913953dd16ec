"""One flow, three places to run its tasks: the task runner is one line."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from typing import Any

from prefect import flow, task
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner


def threads() -> TaskRunner[Any]:
    return ThreadPoolTaskRunner(max_workers=2)


def dask() -> TaskRunner[Any]:
    """Two processes of one thread each, on loopback; of its log lines only errors."""
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    from prefect_dask import DaskTaskRunner

    local = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    return DaskTaskRunner(cluster_kwargs={**local, "silence_logs": logging.CRITICAL})


def ray() -> TaskRunner[Any]:
    """Two processes on a node of its own, on loopback; without its log lines, telemetry and dashboard."""
    for name, value in RAY.items():
        os.environ.setdefault(name, value)
    from prefect_ray import RayTaskRunner

    local = {"num_cpus": 2, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    return RayTaskRunner(init_kwargs={**local, "log_to_driver": False, "logging_level": "CRITICAL"})


RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would pack the working folder, and start each worker by `uv run` again.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Without one Ray writes a token to ~/.ray.
    "RAY_AUTH_TOKEN": uuid.uuid4().hex,
    # Ray warns where it is not set.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Read by Ray when it is imported, and by its workers, which inherit them."""


@task
def create_greeting(name: str) -> tuple[str, int]:
    """A greeting, and the process it was made in."""
    return f"hello {name}", os.getpid()


@flow(task_runner=threads())  # the one line: dask() or ray() in its place
def choose_runner(names: tuple[str, ...] = ("Ada", "Blaise", "Charles", "Dennis")) -> str:
    made = create_greeting.map(names).result()
    here = {pid for _, pid in made} == {os.getpid()}
    return f"{', '.join(greeting for greeting, _ in made)} ({'this process' if here else 'other processes'})"


def main() -> None:
    if not PREFECT_API_URL.value():
        print(
            "choose_runner: PREFECT_API_URL is not set, so that every worker would start a server of its own; "
            "start one with `prefect server start` and set it",
            file=sys.stderr,
        )
        raise SystemExit(2)
    for runner in (threads, dask, ray):
        try:
            task_runner = runner()
        except ModuleNotFoundError as missing:
            package = str(missing.name).replace("_", "-")
            print(f"{runner.__name__}: {package} is not installed: pip install {package}")
            continue
        # From outside, the same one line is this:
        message = choose_runner.with_options(task_runner=task_runner)()
        print(f"{runner.__name__}: {message}")


if __name__ == "__main__":
    main()
