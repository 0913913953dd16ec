"""Findings of an experiment: which were asked for, and the file in a results folder that they are written to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.session.run_folder import new_run_id


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
        wrong = next((name for name in names if name not in known), given)
        raise AskedError(f"{option} {wrong}: there are {', '.join(known)}")
    return names


def folder_for(label: str, out: Path | None) -> Path:
    """Where findings go: `results/<time>-<label>` unless `out` names a folder. Nothing is made."""
    results = Path("results")
    existing = [path.name for path in results.iterdir()] if results.is_dir() else []
    return out or results / new_run_id(label, existing)


def free_folder(label: str, out: Path | None, file: str) -> Path:
    """The same, for findings that do not go on with earlier ones.

    Raises:
        AskedError: it holds findings already.
    """
    folder = folder_for(label, out)
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
