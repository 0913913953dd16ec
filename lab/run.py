"""The command `run`: the lab's own graphs under each runner, as `pytest benchmarks --benchmark-only` measures them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import LabError, end


def run(
    *pytest_options: Annotated[str, Parameter(help="pytest's own options, after --.")],
    profile: Annotated[
        str | None,
        Parameter(
            name=("--profile", "--lab-profile"),
            help="smoke, quick, choice, full, lean, scale or pieces; quick by default.",
        ),
    ] = None,
    runners: Annotated[
        str | None,
        Parameter(name=("--runners", "--lab-runners"), help="Runners, such as threads,dask; the profile's by default."),
    ] = None,
    blocks: Annotated[
        int | None,
        Parameter(name=("--blocks", "--lab-blocks"), help="Measurements of each cell, including a resumed run's."),
    ] = None,
    workers: Annotated[int | None, Parameter(help="Worker slots; by default one a core, at least 2.")] = None,
    select: Annotated[
        str | None, Parameter(name=("--select", "-k"), help='Cells, as pytest selects tests: "overhead and dask".')
    ] = None,
    out: Annotated[
        Path | None, Parameter(name=("--out", "--lab-out"), help="The run's folder; results/TIME-PROFILE by default.")
    ] = None,
    resume: Annotated[
        Path | None,
        Parameter(name=("--resume", "--lab-resume"), help="Resume a run; raise --blocks to add repeats."),
    ] = None,
    config: Annotated[
        Path | None,
        Parameter(name=("--config", "--lab-config"), help="File with runners and clusters; ./runners.toml by default."),
    ] = None,
    api_url: Annotated[
        str | None, Parameter(name=("--api-url", "--lab-api-url"), help="Use this Prefect server; start none.")
    ] = None,
    api_latency: Annotated[
        str | None,
        Parameter(
            name=("--api-latency", "--lab-api-latency"),
            help="Put Prefect's API this round trip away, such as 80ms: Prefect Cloud is 20 to 100 ms away.",
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        Parameter(
            name=("--database-url", "--lab-database-url"), help="Database of the lab's own server; SQLite by default."
        ),
    ] = None,
    server_setting: Annotated[
        list[str] | None,
        Parameter(
            name=("--server-setting", "--lab-server-setting"),
            negative="",
            help="PREFECT_NAME=VALUE for the lab's own server; once for each setting.",
        ),
    ] = None,
    cell_timeout: Annotated[
        float | None,
        Parameter(
            name=("--cell-timeout", "--lab-cell-timeout"),
            help="Seconds that one pass over a graph may take; 300 by default, 1200 for scale and 7200 for pieces.",
        ),
    ] = None,
) -> None:
    """Measure the lab's graphs under each runner: a report, and answers for `choose`.

    It does in any folder what `pytest benchmarks --benchmark-only` does in a checkout. Your own pytest configuration,
    conftest.py and plugins are ignored.

    Exit code 0: success. 1: a cell failed; the others are measured. 2: nothing to measure, or the results folder cannot
    be written. 130: Ctrl-C; the report has what was measured.

    Example: runner-lab run --profile smoke
    """
    from runner_lab.lab import pytest_session

    given = {
        "--lab-profile": profile,
        "--lab-runners": runners,
        "--lab-blocks": blocks,
        "--workers": workers,
        "--lab-out": out,
        "--lab-resume": resume,
        "--lab-config": config,
        "--lab-api-url": api_url,
        "--lab-api-latency": api_latency,
        "--lab-database-url": database_url,
        "--lab-cell-timeout": cell_timeout,
    }
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    options += [f"--lab-server-setting={setting}" for setting in server_setting or ()]
    if pytest_options and not pytest_options[0].startswith("-"):
        raise LabError(f"run: {pytest_options[0]} is not an option; pytest's own options come after --")
    options += [f"-k={select}"] if select else []
    if code := pytest_session.measure([*options, *pytest_options]):
        end(code)
