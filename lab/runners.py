"""The command `runners`: the arms, and whether they can start here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from runner_lab.lab.console import ERR, OUT, AsJson, Config


def runners(
    *,
    workers: Annotated[
        int | None,
        Parameter(validator=Number(gte=1), help="Worker slots; by default one a core, at least 2."),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the runners: name, class, options, and whether each can start here.

    Example: runner-lab runners --config my-runners.toml
    """
    from runner_lab.benchmarks.measuring.environment import usual_workers
    from runner_lab.runners.isolation import environment as isolation

    with (
        tempfile.TemporaryDirectory(prefix="rlab-") as home,
        isolation.isolated(isolation.environment(Path(home))),
        ERR.status("importing Prefect and the engines, to see which runners can start"),
    ):
        rows = _arms(workers or usual_workers(), config)
    if as_json:
        OUT.print_json(json.dumps(rows))
        return
    table = Table(
        "arm", Column("what it is, where it runs, its class", overflow="fold"), "starts here", box=SIMPLE_HEAD
    )
    for row in rows:
        options = ", ".join(f"{key}={value!r}" for key, value in row["options"].items())
        declared = f"{row['class']}({options})" if row["class"] else ""
        what = "\n".join(line for line in (f"{row['summary']}; in {row['where']}", declared) if line)
        table.add_row(Text(row["arm"]), Text(what), Text(row["error"] or "yes"))
    OUT.print(table)


def _arms(workers: int, config: Path | None) -> list[dict[str, Any]]:
    from runner_lab.runners import catalog
    from runner_lab.runners.spec import ArmError

    found = catalog.load(config or catalog.default_config())
    rows = []
    for arm in found.select(found.arms, workers):
        error = found.missing(arm)
        if error is None:
            try:
                found.check(arm)
            except ArmError as refused:
                error = str(refused)
        rows.append(
            {
                "arm": arm.name,
                "engine": arm.engine,
                "class": arm.class_path,
                "options": dict(arm.options),
                "workers": arm.workers,
                "summary": arm.summary,
                "where": found.engine(arm).where(arm, found.settings(arm)),
                "error": error,
            }
        )
    return rows
