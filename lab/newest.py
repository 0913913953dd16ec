"""The run that a command reads where the user names none: the newest in ./results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runner_lab.lab.console import LabError
from runner_lab.records.run_plan import RESULTS


def newest_with(names: Iterable[str], what: str = "run", but: str = "") -> Path:
    """The folder in ./results with the newest file of one of these names.

    Args:
        names: of files.
        what: what the user calls it.
        but: name of a file; folders that hold it are passed over.

    Raises:
        LabError: there is none; the line says which command makes one.
    """
    every = (path for name in names for path in RESULTS.glob(f"*/{name}"))
    files = [path for path in every if not but or not (path.parent / but).exists()]
    if not files:
        from runner_lab.reports.choose.asking import MEASURE

        raise LabError(f"no {what} in {RESULTS}/: name a run's folder, or measure one with: {MEASURE}")
    return max(files, key=lambda path: (path.stat().st_mtime, path)).parent
