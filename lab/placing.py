"""The command `placement`: can a task run on dedicated infrastructure?"""

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
    from benchmarks.placement import run
    from reports.placement import show
    from runners.server import ServerError

    try:
        with ERR.status("") as status:
            found = run(only, out, status.update if ERR.is_terminal else ERR.print)
    except ServerError as error:
        raise LabError(str(error)) from error
    if as_json:
        OUT.print_json(json.dumps(found))
    else:
        show(found, OUT)
