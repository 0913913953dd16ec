"""Commands that try something out, and say what they saw: `placement`, `hosts`, `faults`, `equivalence`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from runner_lab.lab.console import ERR, OUT, AsJson, LabError


def placement(
    *,
    only: Annotated[str | None, Parameter(help="Groups of ways, such as dask,ray; all by default.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for placement.json; results/TIME-placement by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Can a task run on dedicated infrastructure? Each way is tried, and where its tasks landed is shown.

    Example: runner-lab placement --only dask,ray
    """
    from runner_lab.benchmarks.experiments import placement as experiment
    from runner_lab.reports.findings import placement as findings

    _show(experiment, findings, as_json, only, out)


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
    from runner_lab.benchmarks.experiments import hosts as experiment
    from runner_lab.reports.findings import hosts as findings

    _show(experiment, findings, as_json, only, runners, out)


def _show(experiment: Any, findings: Any, as_json: bool, *arguments: Any) -> None:
    """Try what a module of experiments has, and show its findings."""
    from runner_lab.runners.server import ServerError

    try:
        with ERR.status("") as status:
            found = experiment.run(*arguments, status.update if ERR.is_terminal else ERR.print)
    except ServerError as error:
        raise LabError(str(error)) from error
    if as_json:
        OUT.print_json(json.dumps(found))
    else:
        findings.show(found, OUT)


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
    from runner_lab.benchmarks.experiments.faults import SUITE

    _behaviour(SUITE, only, runners, out, as_json, {"tasks": tasks} if tasks else {})


def equivalence(*, only: Only = None, runners: Runners = None, out: Out = None, as_json: AsJson = False) -> None:
    """Do caching and retries behave alike under every runner? What ran is counted by the tasks' bodies themselves.

    Each experiment is bounded in time. Ctrl-C keeps what was found.

    Example: runner-lab equivalence --only same-key --runners threads,dask
    """
    from runner_lab.benchmarks.experiments.equivalence import SUITE

    _behaviour(SUITE, only, runners, out, as_json, {})


def _behaviour(
    suite: Any, only: str | None, runners: str | None, out: Path | None, as_json: bool, settings: dict[str, Any]
) -> None:
    """Make the experiments of a suite, and show what was found, also after Ctrl-C."""
    from runner_lab.benchmarks.experiments import behaviour as experiments
    from runner_lab.reports import render
    from runner_lab.reports.findings import behaviour as findings
    from runner_lab.reports.pages import terminal
    from runner_lab.runners.server import ServerError

    try:
        with ERR.status("") as status:
            say = status.update if ERR.is_terminal else _line
            folder = experiments.run(suite, only, runners, out, say, _line, settings)
    except ServerError as error:
        raise LabError(str(error)) from error
    path = folder / findings.file_name(suite.name)
    if as_json:
        OUT.print_json(path.read_text(encoding="utf-8"))
        return
    rendered = render(folder)
    terminal.show_behaviour(findings.read(path), OUT)
    OUT.print(f"findings: {path}; report: {rendered.html}", markup=False, highlight=False, soft_wrap=True)


def _line(text: str) -> None:
    ERR.print(text, markup=False, soft_wrap=True)
