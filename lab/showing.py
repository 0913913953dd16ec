"""Commands that show something by doing it: `placement`, `hosts`, `demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.console import ERR, OUT, AsJson, LabError


def placement(
    *,
    only: Annotated[str | None, Parameter(help="Groups of ways, such as dask,ray; all by default.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for placement.json; results/TIME-placement by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Can a task run on dedicated infrastructure? Each way is tried, and where its tasks landed is shown.

    Example: runner-lab placement --only dask,ray
    """
    from benchmarks import placement as experiment
    from reports import placement as findings
    from runners.server import ServerError

    try:
        with ERR.status("") as status:
            found = experiment.run(only, out, status.update if ERR.is_terminal else ERR.print)
    except ServerError as error:
        raise LabError(str(error)) from error
    if as_json:
        OUT.print_json(json.dumps(found))
    else:
        findings.show(found, OUT)


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
    from benchmarks import hosts as experiment
    from reports import hosts as findings
    from runners.server import ServerError

    try:
        with ERR.status("") as status:
            found = experiment.run(only, runners, out, status.update if ERR.is_terminal else ERR.print)
    except ServerError as error:
        raise LabError(str(error)) from error
    if as_json:
        OUT.print_json(json.dumps(found))
    else:
        findings.show(found, OUT)


def demo() -> None:
    """Take the tutorial's tour: flows, a deployment, its worker and schedule; about two minutes, nothing is left.

    Example: runner-lab demo
    """
    from lab.demo import demo as tour

    tour(OUT)
