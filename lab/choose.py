"""The command `choose`: the runners for the user's work, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from runner_lab.lab.console import OUT, AsJson
from runner_lab.records.graph import WorkName


def choose(
    *,
    tasks: Annotated[str, Parameter(help="Number of tasks, such as 2000.")],
    task_seconds: Annotated[str | None, Parameter(help="One task's own work, such as 0.3 or 300ms.")] = None,
    work: Annotated[
        WorkName | None,
        Parameter(help="What a task does: io (waits), cpu (holds the GIL), cpu-no-gil or none."),
    ] = None,
    payload: Annotated[str, Parameter(help="Bytes that each task hands on, such as 200kB.")] = "0",
    workers: Annotated[str | None, Parameter(help="Worker slots; by default the best number for each runner.")] = None,
    cores: Annotated[str | None, Parameter(help="Cores of the machine you ask about; by default this one's.")] = None,
    startup: Annotated[
        Literal["warm", "cold"], Parameter(help="cold counts the start of the cluster or pool; warm does not.")
    ] = "warm",
    api_latency: Annotated[
        str | None, Parameter(help="Round trip to Prefect's API, such as 80ms; by default that of the run.")
    ] = None,
    run: Annotated[
        Path | None, Parameter(name="--from", help="The run to answer from; the newest in results/ by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank the runners for your work: time, CPU, memory, why, and what would change it.

    Example: runner-lab choose --tasks 2000 --task-seconds 0.3 --work io --payload 200kB
    """
    from runner_lab.reports.analysis.summary import summarise
    from runner_lab.reports.choose import answer, asking, choice
    from runner_lab.reports.pages import terminal

    asked = asking.request(tasks, task_seconds, work, payload, workers, startup, cores, api_latency)
    found = choice.choose(summarise(asking.find_run(run)), asked)
    if as_json:
        OUT.print_json(answer.to_json(found))
    else:
        terminal.show(found, OUT)
