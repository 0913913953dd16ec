"""Commands that try something out, and say what they saw: `placement`, `hosts`, `faults`, `equivalence`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from runner_lab.lab.console import ERR, OUT, AsJson, LabError

if TYPE_CHECKING:
    from runner_lab.benchmarks.experiments.frame.suite import Suite


def placement(
    *,
    only: Annotated[str | None, Parameter(help="Groups of ways, such as dask,ray; all by default.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for placement.json; results/TIME-placement by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Can a task run on dedicated infrastructure? Each way is tried, and where its tasks landed is shown.

    Example: runner-lab placement --only dask,ray
    """
    from runner_lab.benchmarks.experiments.suites import PLACEMENT

    _experiments(PLACEMENT, only, None, out, as_json)


def hosts(
    *,
    only: Annotated[str | None, Parameter(help="Experiments, such as across,worker-10s; all by default.")] = None,
    runners: Annotated[str | None, Parameter(help="Of lean-dask,dask,lean-ray,ray; all by default.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for hosts.json; results/TIME-hosts by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """What do runners do across hosts, and when a link is cut? On a network of this machine's own; Linux, as root.

    Example: sudo runner-lab hosts --runners dask,lean-dask
    """
    from runner_lab.benchmarks.experiments.suites import HOSTS

    _experiments(HOSTS, only, runners, out, as_json)


Only = Annotated[str | None, Parameter(help="Experiments, or groups of them, with commas; all by default.")]
Runners = Annotated[str | None, Parameter(help="Arms, such as dask,lean-dask; all but the bare ones by default.")]
Out = Annotated[
    Path | None,
    Parameter(help="Folder for the findings, also one that holds a run; a new one under results/ by default."),
]


def faults(
    *,
    only: Only = None,
    runners: Runners = None,
    out: Out = None,
    tasks: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="Tasks of the experiment on memory, if not its own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What does each runner do when things go wrong? Workers are killed, servers stopped, values do not pickle.

    Each experiment is bounded in time; one that hangs is a finding. Ctrl-C keeps what was found.

    Example: runner-lab faults --only worker-killed --runners dask,lean-dask
    """
    from runner_lab.benchmarks.experiments.suites import FAULTS

    _experiments(FAULTS, only, runners, out, as_json, {"tasks": tasks} if tasks else {})


def equivalence(*, only: Only = None, runners: Runners = None, out: Out = None, as_json: AsJson = False) -> None:
    """Do caching and retries behave alike under every runner? What ran is counted by the tasks' bodies themselves.

    Each experiment is bounded in time. Ctrl-C keeps what was found.

    Example: runner-lab equivalence --only same-key --runners threads,dask
    """
    from runner_lab.benchmarks.experiments.suites import EQUIVALENCE

    _experiments(EQUIVALENCE, only, runners, out, as_json)


def _experiments(
    suite: Suite,
    only: str | None,
    runners: str | None,
    out: Path | None,
    as_json: bool,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Make the experiments of a suite, and show what they have shown."""
    from runner_lab.benchmarks.experiments.frame.run import run
    from runner_lab.records.findings import file_name
    from runner_lab.reports import render
    from runner_lab.reports.pages import findings_tables, terminal
    from runner_lab.runners.server import ServerError

    try:
        with ERR.status("") as status:
            folder = run(suite, only, runners, out, status.update if ERR.is_terminal else _line, _line, settings)
    except ServerError as error:
        raise LabError(str(error)) from error
    path = folder / file_name(suite.name)
    rendered = render(folder)
    if as_json:
        OUT.print_json(path.read_text(encoding="utf-8"))
        return
    terminal.show_findings(findings_tables.read(path), OUT)
    OUT.print(f"findings: {path}; report: {rendered.html}", markup=False, highlight=False, soft_wrap=True)


def _line(text: str) -> None:
    ERR.print(text, markup=False, soft_wrap=True)
