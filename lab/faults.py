"""The command `faults`: what each runner does when things go wrong."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from runner_lab.lab.console import AsJson
from runner_lab.lab.experiments import Only, Out, Page, Runners, make


def faults(
    *,
    only: Only = None,
    runners: Runners = None,
    out: Out = None,
    tasks: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="Number of tasks in the memory experiment.")
    ] = None,
    page: Page = None,
    as_json: AsJson = False,
) -> None:
    """Test what happens when workers die or servers stop: a table, with remedies.

    Each experiment has a time limit; one that hangs is a finding. Ctrl-C keeps the findings. Several commands at a time
    may share a folder.

    Example: runner-lab faults --only worker-killed --runners dask,lean-dask
    """
    from runner_lab.benchmarks.experiments.suites import FAULTS

    make(FAULTS, only, runners, out, as_json, {"tasks": tasks} if tasks else {}, page)
