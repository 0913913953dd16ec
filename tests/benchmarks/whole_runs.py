"""A run of the lab in a process of its own: what it has written, what it waits for, and what it left."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import psutil

from runner_lab.records import record as records
from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation import waiting

LIMIT_S = 300.0


def written(out: Path) -> list[dict]:
    """The records of a run, one a line; what was cut is no line."""
    path = out / records.FILE_NAME
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def keys(out: Path) -> Counter:
    return Counter(
        (record["suite"], record["graph"]["width"], record["arm"], record["block"]) for record in written(out)
    )


def wait_for(condition, process: subprocess.Popen[str] | None = None) -> None:
    def over() -> bool:
        return process is not None and process.poll() is not None

    waiting.wait_for("what the test waits for", lambda: condition() or over(), LIMIT_S)
    assert process is None or process.poll() is None, "".join(process.communicate())


def mark_and_scratch(process: subprocess.Popen[str]) -> tuple[str, Path]:
    """What the run's processes carry in their environment; the guard, which must not find itself, carries none."""
    found = set()
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            variables = child.environ()
        except psutil.Error:
            continue
        if isolation.MARK in variables:
            found.add((variables[isolation.MARK], Path(variables["PREFECT_HOME"]).parent))
    (only,) = found
    return only
