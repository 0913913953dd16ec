"""What a task costs under stock and lean threads and processes with the installed Prefect, in ms: two cells of a table.

Two slots and a server of its own. 20 pairs of an empty task and one that waits for it, in turns of stock and lean; the
median turn. Under a minute on two idle cores.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import prefect_lean
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from runner_lab.benchmarks.measuring import quiescence
from runner_lab.runners.isolation.environment import environment, free_port
from runner_lab.runners.server import lab_server

PAIRS, TURNS = 20, 3
RUNNERS = (
    (ThreadPoolTaskRunner, prefect_lean.LeanThreadPoolTaskRunner),
    (ProcessPoolTaskRunner, prefect_lean.LeanProcessPoolTaskRunner),
)


@task
def hello(number: int) -> int:
    return number


@flow
def pairs() -> float:
    """The ms of a task, once both slots are up."""
    for future in [hello.submit(number) for number in range(8)]:
        future.result()
    begun_s = time.monotonic()
    futures: list[Any] = [hello.submit(hello.submit(number)) for number in range(PAIRS)]  # type: ignore[call-overload]
    for future in futures:
        future.result()
    return (time.monotonic() - begun_s) * 1000 / (2 * PAIRS)


def measured(runners: tuple[Any, Any]) -> str:
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for runner, ms in zip(runners, found, strict=True):
            ms.append(pairs.with_options(task_runner=runner(max_workers=2))())
    stock, lean = map(statistics.median, found)
    return f"{stock:.1f} / {lean:.1f}"


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        os.environ |= environment(Path(folder)) | {
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_LOGGING_LEVEL": "ERROR",
        }
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
        with lab_server(Path(folder) / "server", port=port, limit_s=120):
            costs = " | ".join(measured(runners) for runners in RUNNERS)
            # The end of this process would wait for the server that is gone by then.
            quiescence.send_rest()
        print(costs, flush=True)


if __name__ == "__main__":
    main()
