"""The command `hosts`: runners across hosts, and cut links."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import AsJson
from runner_lab.lab.experiments import make


def hosts(
    *,
    only: Annotated[str | None, Parameter(help="Experiments, such as across,worker-10s; all by default.")] = None,
    runners: Annotated[str | None, Parameter(help="Runners of lean-dask,dask,lean-ray,ray; all by default.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for hosts.json; results/TIME-hosts by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Test runners across hosts and cut links: a table, with remedies (Linux, as root).

    Example: sudo runner-lab hosts --runners dask,lean-dask
    """
    from runner_lab.benchmarks.experiments.suites import HOSTS

    make(HOSTS, only, runners, out, as_json)
