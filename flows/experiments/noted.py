"""What a flow and its tasks say of themselves outside Prefect, in files of one folder: facts, and a tally of bodies.

A worker may be killed at any moment, so each line is written at once, and what is not whole is not read.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENOUGH = "enough"
"""A file of this name in the folder ends a flow that else goes on."""
VARIABLE = "PLACEMENT"
"""Environment variable that stands for what a machine of its own would have: a GPU, a licence, a network."""


@dataclass(frozen=True)
class Begun:
    """One execution of a body: its process, and when it began, by `time.monotonic`, which a host's processes share."""

    pid: int
    at_s: float


def mark(folder: str, name: str) -> None:
    """Count one execution of the body `name`."""
    _append(Path(folder) / f"{name}.{os.getpid()}.tally", [os.getpid(), time.monotonic()])


def marks(folder: str | Path, name: str) -> list[Begun]:
    """The executions so far, in order."""
    found = [Begun(*line) for path in Path(folder).glob(f"{name}.*.tally") for line in _lines(path)]
    return sorted(found, key=lambda one: one.at_s)


def note(folder: str, **facts: Any) -> None:
    """Keep facts, JSON-able."""
    _append(Path(folder) / f"{os.getpid()}.facts", [time.monotonic(), facts])


def notes(folder: str | Path) -> dict[str, Any]:
    """The facts of all processes; a later one of a name replaces the earlier."""
    found: dict[str, Any] = {}
    lines = [line for path in Path(folder).glob("*.facts") for line in _lines(path)]
    for _, facts in sorted(lines, key=lambda line: line[0]):
        found.update(facts)
    return found


def attempt(call: Callable[[], Any]) -> tuple[str, float]:
    """`returns`, or `raises ErrorType`, and the seconds it took."""
    begun_s = time.monotonic()
    try:
        call()
        told = "returns"
    except Exception as error:
        told = f"raises {type(error).__name__}"
    return told, round(time.monotonic() - begun_s, 2)


def _append(path: Path, value: Any) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(value, default=str) + "\n")


def _lines(path: Path) -> list[Any]:
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
