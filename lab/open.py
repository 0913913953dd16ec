"""The command `open`: a run's report in the browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import LabError, say
from runner_lab.lab.newest import newest_with
from runner_lab.records.flow_profile import ADVICE_PAGE

REPORT = "report.html"


def open_report(
    run: Annotated[Path | None, Parameter(help="A run's folder; the newest report in ./results by default.")] = None,
    *,
    only_print: Annotated[bool, Parameter(name="--print", negative="", help="Print the path, open nothing.")] = False,
) -> None:
    """Open a run's report, or a flow's advice, in the browser, and print its path.

    Example: runner-lab open
    """
    folder = newest_with([REPORT, ADVICE_PAGE], "report") if run is None else run
    report = folder / (ADVICE_PAGE if (folder / ADVICE_PAGE).is_file() else REPORT)
    if not report.is_file():
        raise LabError(f"{folder} holds no {REPORT}; make it with: runner-lab report {folder}")
    say(str(report))
    if not only_print:
        # Where there is no browser the path is what the user needs, and it is printed.
        webbrowser.open(report.absolute().as_uri())
