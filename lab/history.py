"""The command `history`: the runs, and each runner's trend over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from runner_lab.lab.console import OUT, AsJson, LabError, say
from runner_lab.records.run_plan import RESULTS


def history(
    results: Annotated[Path, Parameter(help="The folder of the runs, or a history.sqlite.")] = RESULTS,
    *,
    profile: Annotated[
        str | None, Parameter(help="The trend of this profile's runs; that of the newest run by default.")
    ] = None,
    out: Annotated[Path | None, Parameter(help="Folder for the chart; beside the history by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs that were kept, and draw each runner's trend over them.

    A run is kept when its report is rendered: at its end, and again by `runner-lab report`. The runs of a series have
    the same profile, workers, machine and folder.

    Example: runner-lab history --profile quick
    """
    from runner_lab.reports import charts
    from runner_lab.reports.history import history as kept
    from runner_lab.reports.history import trend
    from runner_lab.reports.words.units import printable

    path = results / kept.FILE_NAME if results.is_dir() or results.suffix != Path(kept.FILE_NAME).suffix else results
    runs = kept.read(path)
    newest = [run for run in runs if not run.partial and profile in (None, run.profile)]
    if profile is not None and not newest:
        known = sorted({run.profile for run in runs if run.profile})
        raise LabError(f"--profile {profile}: no complete run of it in {path}; there are {', '.join(known) or 'none'}")
    series = trend.series(runs, newest[-1]) if newest else []
    trends = trend.trends(series)
    chart = charts.draw_trends(series, trends)
    files = {} if chart.missing else {"svg": chart.document.encode(), "png": chart.png}
    written = _write(out or path.parent, chart.name, files)
    if as_json:
        found = {
            "runs": [_run(run) for run in runs],
            "series": [run.folder for run in series],
            "trends": [asdict(arm) for arm in trends],
            "charts": [str(file) for file in written],
        }
        OUT.print_json(json.dumps(found))
        return
    _show_runs(runs, {run.folder for run in series})
    if series:
        of = f"{series[-1].flow or series[-1].profile or 'no profile'}, {series[-1].workers} workers"
        say(f"Trend over the {len(series)} runs of {printable(of)} (marked *):")
        _show_trends(trends)
    say(chart.missing or chart.takeaway)
    for file in written:
        say(f"chart: {file}")


def _write(folder: Path, name: str, files: dict[str, bytes]) -> list[Path]:
    written = [folder / f"{name}.{suffix}" for suffix in files]
    for path, content in zip(written, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return written


def _run(run: Any) -> dict[str, Any]:
    """A run as JSON: without its cells, of which the history has thousands."""
    told = {name: value for name, value in asdict(run).items() if name != "timings"}
    return {**told, "cells": len(run.timings.cells), "noise": run.timings.whole.threshold, "facts": run.timings.facts}


def _show_runs(runs: Sequence[Any], series: set[str]) -> None:
    from runner_lab.reports.words.units import percent, printable

    table = Table(
        "",
        Column("run", overflow="fold"),
        Column("began", no_wrap=True),
        *(Column(title, justify="right") for title in ("cells", "noise")),
        Column("commit", no_wrap=True),
        "since the run before",
        box=SIMPLE_HEAD,
    )
    for run in runs:
        table.add_row(
            "*" if run.folder in series else "",
            Text(printable(run.folder)),
            Text((run.started_at or "")[:16].replace("T", " ")),
            str(len(run.timings.cells)),
            f"\u00b1{percent(run.timings.whole.threshold)}",
            Text(run.timings.facts.get("commit", "")[:9]),
            Text(f"PARTIAL: {run.partial}" if run.partial else _against(runs, run)),
        )
    OUT.print(table)


def _against(runs: Sequence[Any], run: Any) -> str:
    """How many cells are slower and faster than in the run before of its series."""
    from runner_lab.reports.history import trend
    from runner_lab.reports.history.difference import difference

    alike = trend.series(runs, run)
    if len(alike) < 2:
        return ""
    found = difference(alike[-2].timings, run.timings)
    return f"{len(found.of('slower'))} slower, {len(found.of('faster'))} faster"


def _show_trends(trends: Sequence[Any]) -> None:
    from runner_lab.reports.words import units

    table = Table(
        "arm",
        *(Column(title, justify="right") for title in ("runs", "ms a task, last", "last / median")),
        "changes",
        box=SIMPLE_HEAD,
    )
    for arm in trends:
        cost = arm.last.per_task_s
        changes = [f"{units.times(change.ratio)} from {change.run_id} on (p {change.p:.2g})" for change in arm.changes]
        table.add_row(
            Text(arm.arm.label),
            str(len(arm.at)),
            units.digits(cost.value * 1e3) if cost else units.NONE,
            units.times(arm.ratios[-1].value),
            Text("; ".join(changes) or "none"),
        )
    OUT.print(table)
