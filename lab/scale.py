"""The command `scale`: very wide graphs on several servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import OUT, LabError, say


def scale(
    *runs: Annotated[Path, Parameter(help="Folders of runs of the scale profile, such as one on each database.")],
    markdown: Annotated[bool, Parameter(negative="", help="Print the table in Markdown.")] = False,
) -> None:
    """Compare servers under very wide graphs: cost, recording rate, lag, lock errors.

    Runs with the same database and settings count as further blocks of one.

    Example: runner-lab scale results/sqlite results/postgres
    """
    from runner_lab.reports.pages import markdown as pages
    from runner_lab.reports.pages import scale_tables, terminal

    if not runs:
        raise LabError("scale: name the folder of at least one run")
    table = scale_tables.side_by_side(scale_tables.served(runs))
    if markdown:
        for line in pages.lines_of(table):
            say(line)
    else:
        terminal.show_table(table, OUT)
