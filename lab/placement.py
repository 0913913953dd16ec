"""The command `placement`: whether a task can run on dedicated infrastructure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import AsJson
from runner_lab.lab.experiments import make


def placement(
    *,
    only: Annotated[str | None, Parameter(help="Groups of ways, such as dask,ray; all by default.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder for placement.json; results/TIME-placement by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Test ways to place a task on dedicated infrastructure: where each one landed.

    Example: runner-lab placement --only dask,ray
    """
    from runner_lab.benchmarks.experiments.suites import PLACEMENT

    make(PLACEMENT, only, None, out, as_json)
