"""The command `diff`: two runs, cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from runner_lab.lab.console import OUT, AsJson, LabError, end


def diff(
    a: Annotated[Path, Parameter(help="A run's folder, or a JSON of pytest-benchmark.")],
    b: Annotated[Path, Parameter(help="The run to compare with it.")],
    *,
    fail_on: Annotated[
        Literal["slower"] | None, Parameter(help="`slower`: exit 1 if a cell is slower beyond the noise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs: what became faster or slower, beyond the noise of both.

    Example: runner-lab diff results/before results/after --fail-on slower
    """
    from runner_lab.reports.history import difference, timings
    from runner_lab.reports.pages import terminal

    found = difference.difference(timings.read(a), timings.read(b))
    if not found.cells:
        raise LabError(f"{a} and {b} have no cell in common")
    if as_json:
        OUT.print_json(difference.to_json(found))
    else:
        terminal.show_difference(found, OUT)
    if fail_on and found.of("slower"):
        end(1)
