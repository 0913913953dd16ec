"""What the commands share: two consoles, errors of one line, options that several have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter
from rich.console import Console

OUT = Console()
ERR = Console(stderr=True, highlight=False)

Config = Annotated[Path | None, Parameter(help="File with runners and clusters; ./runners.toml by default.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")]


class LabError(ValueError):
    """An error that the user can fix; one line."""


def one_line(error: BaseException) -> str:
    """The message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def end(code: int) -> NoReturn:
    """End the program.

    Raises:
        SystemExit: always.
    """
    raise SystemExit(code)
