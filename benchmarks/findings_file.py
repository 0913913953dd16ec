"""Findings of an experiment: which were asked for, and the file in a results folder that they are written to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.run_folder import new_run_id


class AskedError(ValueError):
    """What the user can mend; one line."""


def chosen(option: str, given: str | None, known: Sequence[str]) -> list[str]:
    """The names that were given, with commas; all by default.

    Raises:
        AskedError: none, or one that is not known.
    """
    if given is None:
        return list(known)
    names = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not names or set(names) - set(known):
        raise AskedError(f"{option} {given}: there are {', '.join(known)}")
    return names


def free_folder(label: str, out: Path | None, file: str) -> Path:
    """Where a file of findings may go: `results/<time>-<label>` unless `out` names a folder. Nothing is made.

    Raises:
        AskedError: it holds one already.
    """
    results = Path("results")
    existing = [path.name for path in results.iterdir()] if results.is_dir() else []
    folder = out or results / new_run_id(label, existing)
    if (folder / file).exists():
        raise AskedError(f"--out {folder} holds a {file} already: name another folder")
    return folder


def make(folder: Path) -> None:
    """
    Raises:
        AskedError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AskedError(f"--out {folder} cannot be made: {error.strerror}") from None


def new_folder(label: str, out: Path | None, file: str) -> Path:
    """Make such a folder.

    Raises:
        AskedError: it holds findings already, or cannot be made.
    """
    folder = free_folder(label, out, file)
    make(folder)
    return folder


def write(path: Path, report: dict[str, Any]) -> None:
    """Write it anew, whole at any moment."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(report, indent=2) + "\n")
    partial.replace(path)
