"""What the commands share: two consoles, errors of one line, options that several have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter
from rich.console import Console

from runner_lab.runners.spec import one_line

__all__ = ["ERR", "OUT", "AsJson", "Config", "LabError", "end", "one_line", "say"]

OUT = Console()
ERR = Console(stderr=True, highlight=False)

Config = Annotated[Path | None, Parameter(help="File with runners and clusters; ./runners.toml by default.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")]


class LabError(ValueError):
    """An error that the user can fix; one line."""


def say(line: str) -> None:
    """Print a line as it is, however long: it may be a path to copy."""
    OUT.print(line, markup=False, highlight=False, soft_wrap=True)


def end(code: int) -> NoReturn:
    """End the program.

    Raises:
        SystemExit: always.
    """
    raise SystemExit(code)
