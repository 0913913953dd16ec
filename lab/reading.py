"""Commands that read runs: `report`, `choose`, `diff`, `scale`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from runner_lab.lab.console import ERR, OUT, AsJson, LabError, end
from runner_lab.reports.words.kinds import Kind


def report(
    run: Annotated[Path, Parameter(help="A run's folder, such as results/20260101-120000-quick.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Render a run again: report.html, report.md, charts, summary.json; and keep it in the history.

    Example: runner-lab report results/20260101-120000-quick
    """
    from runner_lab.reports import render

    rendered = render(run)
    if as_json:
        OUT.print_json(json.dumps(asdict(rendered), default=str))
        return
    for line in rendered.verdict:
        OUT.print(line, markup=False, highlight=False)
    for warning in rendered.warnings:
        ERR.print(f"warning: {warning}", markup=False)
    OUT.print(f"report: {rendered.html}", markup=False, soft_wrap=True)


def choose(
    *,
    tasks: Annotated[str, Parameter(help="How many, such as 2000.")],
    task_seconds: Annotated[str | None, Parameter(help="One task's own work, such as 0.3 or 300ms.")] = None,
    work: Annotated[
        Kind, Parameter(help="sleep (waits), spin (CPU, holds the GIL), crunch (CPU, no GIL) or none.")
    ] = "sleep",
    payload: Annotated[str, Parameter(help="What each task hands on: 200kB, 1.5MB.")] = "0",
    workers: Annotated[str | None, Parameter(help="Worker slots; as many as were measured by default.")] = None,
    startup: Annotated[
        Literal["warm", "cold"], Parameter(help="warm, or cold to count the start of the cluster or pool.")
    ] = "warm",
    run: Annotated[
        Path | None, Parameter(name="--from", help="The run to answer from; the newest under results/ by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank the runners for your work: time, CPU and memory, why, and when the answer would change.

    Example: runner-lab choose --tasks 2000 --task-seconds 0.3 --work sleep --payload 200kB
    """
    from runner_lab.reports.analysis.summary import summarise
    from runner_lab.reports.choose import answer, asking, choice
    from runner_lab.reports.pages import terminal

    asked = asking.request(tasks, task_seconds, work, payload, workers, startup)
    found = choice.choose(summarise(asking.find_run(run)), asked)
    if as_json:
        OUT.print_json(answer.to_json(found))
    else:
        terminal.show(found, OUT)


def diff(
    a: Annotated[Path, Parameter(help="A run's folder, or a JSON of pytest-benchmark.")],
    b: Annotated[Path, Parameter(help="The run to hold against it.")],
    *,
    fail_on: Annotated[
        Literal["slower"] | None, Parameter(help="`slower`: exit 1 if a cell is slower beyond the noise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs cell by cell, beyond the noise of both.

    Example: runner-lab diff results/before results/after --fail-on slower
    """
    from runner_lab.reports.history import difference, timings
    from runner_lab.reports.pages import terminal

    found = difference.difference(timings.read(a), timings.read(b))
    if not found.cells:
        raise LabError(f"{a} and {b} have no cell in common")
    if as_json:
        OUT.print_json(difference.to_json(found))
    else:
        terminal.show_difference(found, OUT)
    if fail_on and found.of("slower"):
        end(1)


def scale(
    *runs: Annotated[Path, Parameter(help="Folders of runs of the scale profile, such as one on each database.")],
    markdown: Annotated[bool, Parameter(negative="", help="Print the table in Markdown.")] = False,
) -> None:
    """Very wide graphs on several servers side by side: cost, task runs recorded a second, lag, lock errors.

    Runs on the same sort of server, by database and settings, are taken as further blocks of one.

    Example: runner-lab scale results/sqlite results/postgres
    """
    from runner_lab.reports.pages import markdown as pages
    from runner_lab.reports.pages import scale_tables, terminal

    if not runs:
        raise LabError("scale: name the folder of a run at least")
    table = scale_tables.side_by_side(scale_tables.served(runs))
    if markdown:
        for line in pages.lines_of(table):
            OUT.print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        terminal.show_table(table, OUT)
