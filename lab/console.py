"""What the commands share: two consoles, errors of one line, options that several have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter
from rich.console import Console

from runner_lab.runners.spec import one_line

__all__ = ["ERR", "OUT", "AsJson", "Config", "LabError", "end", "one_line"]

OUT = Console()
ERR = Console(stderr=True, highlight=False)

Config = Annotated[Path | None, Parameter(help="Arms and clusters; ./runners.toml by default.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")]


class LabError(ValueError):
    """What the user can mend; one line."""


def end(code: int) -> NoReturn:
    """End the program.

    Raises:
        SystemExit: always.
    """
    raise SystemExit(code)
