"""What the experiment commands share: `placement`, `hosts`, `faults`, `equivalence`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from runner_lab.lab.console import ERR, OUT, LabError, say

if TYPE_CHECKING:
    from runner_lab.benchmarks.experiments.frame.suite import ExperimentSuite


Only = Annotated[str | None, Parameter(help="Experiments or groups, separated by commas; all by default.")]
Runners = Annotated[str | None, Parameter(help="Runners, such as dask,lean-dask; all but the bare ones by default.")]
Out = Annotated[
    Path | None,
    Parameter(help="Folder for the findings; it may hold a run. A new one in results/ by default."),
]
Page = Annotated[
    Path | None, Parameter(help="Documentation page that gets the matrix and the facts, between its markers.")
]


def make(
    suite: ExperimentSuite,
    only: str | None,
    runners: str | None,
    out: Path | None,
    as_json: bool,
    settings: Mapping[str, Any] | None = None,
    page: Path | None = None,
) -> None:
    """Run the experiments of a suite, and show the findings.

    Args:
        page: of the documentation, that gets them as well.
    """
    from runner_lab.benchmarks.experiments.frame.run import run
    from runner_lab.records.findings import file_name
    from runner_lab.reports import render
    from runner_lab.reports.pages import findings_page, findings_tables, generated, terminal
    from runner_lab.runners.server import ServerError

    if page is not None:
        generated.check(page, findings_page.MATRIX, findings_page.FACTS)
    try:
        with ERR.status("") as status:
            folder = run(suite, only, runners, out, status.update if ERR.is_terminal else _line, _line, settings)
    except ServerError as error:
        raise LabError(str(error)) from error
    path = folder / file_name(suite.name)
    rendered = render(folder)
    if page is not None:
        findings_page.put(page, findings_tables.read(path))
    if as_json:
        OUT.print_json(path.read_text(encoding="utf-8"))
        return
    terminal.show_findings(findings_tables.read(path), OUT)
    say(f"findings: {path}; report: {rendered.html}")


def _line(text: str) -> None:
    ERR.print(text, markup=False, soft_wrap=True)
