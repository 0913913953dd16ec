"""The command `capacity`: what gives way first as a graph grows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import OUT, AsJson, LabError
from runner_lab.records.graph import WorkName


def capacity(
    *,
    task_seconds: Annotated[str | None, Parameter(help="One task's own work, such as 0.3; 1 by default.")] = None,
    work: Annotated[WorkName, Parameter(help="What a task does: io, cpu, cpu-no-gil or none.")] = "io",
    run: Annotated[
        Path | None, Parameter(name="--from", help="The run to answer from; the newest under results/ by default.")
    ] = None,
    scale: Annotated[
        Path | None, Parameter(help="A run of the scale profile: memory, messages, and what was measured.")
    ] = None,
    page: Annotated[Path | None, Parameter(help="Put the tables into this Markdown file, between its markers.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what gives way first with 1,000 to 1,000,000 tasks on 10 to 1,000 slots, and what to do.

    Computed from what a run has measured: the driver, the slots, the server's recorder, memory, Prefect Cloud's limits.

    Example: runner-lab capacity --task-seconds 0.3 --work io
    """
    from runner_lab.reports.analysis.summary import summarise
    from runner_lab.reports.choose import asking
    from runner_lab.reports.choose import capacity as capacities
    from runner_lab.reports.pages import capacity_page, generated, terminal

    if page is not None and not page.is_file():
        raise LabError(f"--page {page}: there is no such file")
    seconds = task_seconds if task_seconds is not None or work == "none" else "1"
    asked = asking.request("1", seconds, work)
    wide = summarise(asking.find_run(scale)) if scale is not None else None
    if wide is not None and not wide.scale:
        raise LabError(f"--scale {scale}: no cells of the scale suite; measure with runner-lab run --profile scale")
    found = capacities.capacity(summarise(asking.find_run(run)), asked.seconds, asked.kind, wide)
    if page is not None:
        generated.put(page, capacity_page.MARKER, "\n".join(capacity_page.lines(found)))
    if as_json:
        OUT.print_json(data=asdict(found))
        return
    for table in capacity_page.tables_of(found):
        OUT.print(table.caption, style="bold", markup=False, highlight=False)
        terminal.show_table(table, OUT, small=True)
    for line in capacity_page.remedies(found):
        OUT.print(f"- {line}", markup=False, highlight=False)
