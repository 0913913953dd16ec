"""What the user asks on the command line, and the run that can answer: parsed, or refused with one line."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

from runner_lab.records.cell_id import WIDTHS
from runner_lab.records.graph import WorkKind, WorkName
from runner_lab.records.record import FILE_NAME, RecordError, has_suite
from runner_lab.records.run_plan import RESULTS
from runner_lab.reports.choose.ranking import Request

MEASURE = "runner-lab run --profile quick"
MOST_TASKS = 10**8
LONGEST_S = 1e7
LARGEST_BYTES = 1e13
MOST_WORKERS = 10**5
LONGEST_API_LATENCY_S = 5.0
"""Round trips beyond this are no place that an API is at, and Prefect's clients begin to give up."""

KINDS: dict[WorkName, WorkKind] = {
    "io": "sleep",
    "cpu": "spin",
    "cpu-no-gil": "crunch",
    "none": "none",
    "sleep": "sleep",
    "spin": "spin",
    "crunch": "crunch",
}
"""The kinds of work by the names that people have for them, and by the lab's own."""

_BYTES = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"": 1, "s": 1, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "min": 60, "h": 3600}


class AskError(ValueError):
    """A question that makes no sense; one line for the user."""


def request(
    tasks: str,
    task_seconds: str | None = None,
    work: WorkName | None = None,
    payload: str = "0",
    workers: str | None = None,
    startup: Literal["warm", "cold"] = "warm",
    cores: str | None = None,
    api_latency: str | None = None,
) -> Request:
    """The question, from the words of the command line.

    Raises:
        AskError: a number that is none, is not positive, or is beyond all measure.
    """
    if work is None:
        raise AskError("--work is needed: io for tasks that wait, cpu for tasks that compute (cpu-no-gil, none)")
    kind = KINDS[work]
    if kind == "none":
        if task_seconds is not None:
            raise AskError(f"--task-seconds {task_seconds} with --work none: empty tasks take no seconds, leave it out")
        seconds = 0.0
    elif task_seconds is None:
        raise AskError("--task-seconds is needed: how long one task's own work takes, such as 0.3 or 300ms")
    else:
        seconds = _measure("--task-seconds", task_seconds, _SECONDS, "0.3 or 300ms", LONGEST_S)
        if seconds == 0:
            raise AskError(f"--task-seconds {task_seconds}: must be more than 0; for empty tasks say --work none")
    return Request(
        tasks=_count("--tasks", tasks, MOST_TASKS),
        seconds=seconds,
        kind=kind,
        payload_bytes=_measure("--payload", payload, _BYTES, "200kB", LARGEST_BYTES),
        workers=None if workers is None else _count("--workers", workers, MOST_WORKERS),
        cold=startup == "cold",
        cores=None if cores is None else _count("--cores", cores, MOST_WORKERS),
        api_latency_s=None if api_latency is None else api_latency_s("--api-latency", api_latency),
    )


def api_latency_s(option: str, text: str) -> float:
    """A round trip to Prefect's API, seconds.

    Raises:
        AskError: it is no duration, or longer than 5 s.
    """
    return _measure(option, text, _SECONDS, "80ms or 0.08", LONGEST_API_LATENCY_S)


def find_run(given: Path | None, results: Path = RESULTS) -> Path:
    """The folder of the run to read: the one given, or that of the file given, else the newest that can answer.

    Raises:
        RecordError: there is none; the line says which command makes one.
    """
    if given is not None:
        folder = given.parent if given.is_file() else given
        if not (folder / FILE_NAME).is_file():
            raise RecordError(f"{given} holds no run ({FILE_NAME} is missing); measure one with: {MEASURE}")
        return folder
    newest_first = sorted(results.glob(f"*/{FILE_NAME}"), key=lambda path: (path.stat().st_mtime, path), reverse=True)
    found = next((path for path in newest_first if _can_answer(path)), None)
    if found is None:
        raise RecordError(f"no run under {results}/ to answer from; measure one with: {MEASURE}")
    return found.parent


def _can_answer(path: Path) -> bool:
    """Whether it holds what no cost model does without; a run of the scale profile, or of a flow, does not."""
    return any(has_suite(path, suite) for suite in WIDTHS)


def _count(option: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[+-]?\d+([,_]\d{3})*", text.strip()):
        raise AskError(f"{option} {text}: must be a whole number from 1")
    value = int(re.sub("[,_]", "", text))
    if not 1 <= value <= most:
        raise AskError(f"{option} {text}: must be a whole number from 1 to {most}")
    return value


def _measure(option: str, text: str, units: dict[str, float], example: str, most: float) -> float:
    match = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\W\d]*)", text.strip())
    unit = units.get(match.group(2).lower()) if match else None
    if match is None or unit is None:
        raise AskError(f"{option} {text}: cannot be read; write it like {example}")
    value = float(match.group(1)) * unit
    if not 0 <= value <= most or not math.isfinite(value):
        raise AskError(f"{option} {text}: must be from 0 to {most:g} {'bytes' if units is _BYTES else 'seconds'}")
    return value
