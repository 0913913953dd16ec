"""The command `report`: a run, rendered again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import ERR, OUT, AsJson
from runner_lab.lab.newest import newest_with


def report(
    run: Annotated[Path | None, Parameter(help="A run's folder; the newest in ./results by default.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Render a run again: report.html, report.md, details.md and charts.

    Example: runner-lab report results/20260101-120000-quick
    """
    from runner_lab.records import findings, flow_profile, record
    from runner_lab.reports import render

    if run is None:
        # A flow's profile has a page of its own.
        run = newest_with([record.FILE_NAME, *map(findings.file_name, findings.NAMES)], but=flow_profile.FILE_NAME)
    rendered = render(run)
    if as_json:
        OUT.print_json(json.dumps(asdict(rendered), default=str))
        return
    for line in rendered.screen:
        terminal = ERR if line.startswith("warning: ") else OUT
        terminal.print(line, markup=False, highlight=False, soft_wrap=line.startswith("report: "))
