"""The command `publish`: a run on a Prefect server."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import ERR, OUT, AsJson, LabError
from runner_lab.lab.newest import newest_with


def publish(
    run: Annotated[Path | None, Parameter(help="A run's folder; the newest in ./results by default.")] = None,
    *,
    api_url: Annotated[str | None, Parameter(help="API URL of the Prefect server; PREFECT_API_URL by default.")] = None,
    report_url: Annotated[str | None, Parameter(help="URL of report.html, for a link to it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a run on a Prefect server: verdict, table and link, as artifacts.

    Example: runner-lab publish results/20260101-120000-quick --api-url http://127.0.0.1:4200/api
    """
    from runner_lab.records import record
    from runner_lab.reports.choose import asking
    from runner_lab.runners.server import ServerError

    folder = asking.find_run(run) if run else newest_with([record.FILE_NAME])
    try:
        with ERR.status("importing Prefect"):
            from runner_lab.lab import artifacts
        published = artifacts.publish(folder, api_url, report_url)
    except ServerError as error:
        raise LabError(str(error)) from error
    if as_json:
        OUT.print_json(json.dumps(asdict(published)))
        return
    OUT.print(f"artifacts: {', '.join(published.keys)}", markup=False, soft_wrap=True)
    if published.flow_run:
        OUT.print(f"flow run: {published.flow_run}", markup=False, soft_wrap=True)
