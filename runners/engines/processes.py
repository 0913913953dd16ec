"""Prefect's process pool: fresh for every flow run, on this machine. It has no shared cluster to be warm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_lab.runners.engine import ClusterSettings, Engine
from runner_lab.runners.spec import RunnerSpec

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


class Processes(Engine):
    name = "processes"
    title = "Processes"
    rank = 20
    reach = "host"
    nested = "own"
    warm_for = "flow run"
    runner_classes = frozenset({"ProcessPoolTaskRunner"})
    caveat = "A process pool stays on the flow's host, and one killed worker loses the pool with all its tasks."
    palette = 3
    worker_option = "max_workers"
    arms = (
        RunnerSpec(
            "processes",
            "processes",
            "prefect.task_runners.ProcessPoolTaskRunner",
            summary="a pool of processes, fresh for every flow run",
        ),
        RunnerSpec(
            "lean-processes",
            "processes",
            "prefect_lean.LeanProcessPoolTaskRunner",
            lean=True,
            summary="such a pool without most of Prefect's cost per task",
        ),
    )

    def where(self, spec: RunnerSpec, settings: ClusterSettings) -> str:
        return f"{spec.workers} processes on this machine"

    def cool(self) -> None:
        from prefect_lean import forking

        # The process that lean pools fork theirs from has Prefect imported, and stays for the next flow run.
        forking.retire()

    def declared(self, runner: TaskRunner[Any]) -> tuple[int, dict[str, Any]]:
        return getattr(runner, "_max_workers", 0), {}


ENGINE = Processes()
