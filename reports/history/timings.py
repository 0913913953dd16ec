"""Timings to compare across runs: a run's folder, its `records.jsonl`, or any JSON of pytest-benchmark."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner_lab.records import record as record_files
from runner_lab.records.cell_id import CellId
from runner_lab.records.record import BASELINE, CONTROL, RecordError
from runner_lab.records.validation import LARGEST
from runner_lab.reports.analysis import cells, run, statistics
from runner_lab.reports.analysis.statistics import Noise
from runner_lab.reports.words import units
from runner_lab.reports.words.units import printable

BENCHMARK_JSON = "benchmark.json"
MACHINE = ("cpu", "cores", "machine_cores", "memory_bytes", "platform")
API_LATENCY = "api_latency_s"
"""The fact that says how far from Prefect's API a run was."""
SHORTEST_S = 1e-12
"""Of one round of pytest-benchmark, which divides a time by the number of calls."""


@dataclass(frozen=True)
class Timing:
    """One cell of one run: mean and standard deviation of the logarithm of its `n` times in seconds.

    suite: whose noise is its own; arm: in whose trend it is. Empty where it is of none, as under another number of
        workers than its arm has.
    """

    log_mean: float
    log_deviation: float
    n: int
    suite: str = ""
    arm: str = ""


@dataclass(frozen=True)
class Timings:
    """All cells of a run, by their ids as shown; `facts` are machine and versions; `notes` what had to be dropped.

    noise: by suite, from the run's A/A control; `whole` for all others.
    """

    name: str
    cells: dict[str, Timing]
    noise: dict[str, Noise]
    whole: Noise
    facts: dict[str, str]
    notes: tuple[str, ...] = ()

    def threshold(self, cell: str) -> float:
        return self.noise.get(self.cells[cell].suite, self.whole).threshold


def read(path: Path) -> Timings:
    """The timings at a path.

    Raises:
        RecordError: nothing is there that can be compared; one line.
    """
    if path.is_dir() and not (path / record_files.FILE_NAME).exists() and (path / BENCHMARK_JSON).exists():
        path = path / BENCHMARK_JSON
    return _benchmark_json(path) if path.suffix == ".json" else _records(path)


def _records(path: Path) -> Timings:
    found, notes = record_files.read(path)
    if not found:
        raise RecordError(f"{path} holds no measurement")
    described = run.describe(found, None)
    arms = list(dict.fromkeys(record.arm for record in found))
    own_workers = run.workers_of(found, None)
    alike = cells.collect([record for record in found if record.workers == own_workers[record.arm]], arms)
    whole, by_suite = cells.noise_by_suite(cells.log_ratios(alike, described.baseline), described.control)
    timed: dict[CellId, list[float]] = {record.cell: [] for record in found}
    for record in found:
        if record.status == "ok" and record.value_s is not None and record.value_s > cells.SHORTEST_S:
            timed[record.cell].append(record.value_s)
    # Runs from before the lab could move the API had it beside them.
    environment = {API_LATENCY: 0.0, **found[0].environment}
    facts = {name: value for name, value in run.facts(environment) if name != "profile"}
    failed = sum(not values for values in timed.values())
    notes = [*notes, *([f"{units.plural(failed, 'cell')} without a good measurement"] if failed else [])]
    return Timings(
        name=described.run_id,
        cells={
            str(cell): replace(
                timing(values), suite=cell.suite, arm=cell.arm if cell.workers == own_workers[cell.arm] else ""
            )
            for cell, values in timed.items()
            if values
        },
        # Runs are compared cell by cell: nothing is pooled.
        noise={suite: replace(noise, pooled_sigma=None) for suite, noise in by_suite.items()},
        whole=replace(whole, pooled_sigma=None),
        facts=facts,
        notes=tuple(printable(note) for note in notes),
    )


def _benchmark_json(path: Path) -> Timings:
    try:
        data = json.loads(path.read_bytes())
        timed, facts = {}, _machine(data)
        blocks: dict[tuple[str, str], dict[int, float]] = {}
        for row in data["benchmarks"]:
            name = str(row.get("extra_info", {}).get("cell") or row["fullname"])
            values = [_seconds(value) for value in row["stats"].get("data") or ()]
            timed[name] = timing(values) if values else _from_moments(row["stats"])
            arm = str((row.get("params") or {}).get("arm"))
            numbers = row.get("extra_info", {}).get("blocks") or ()
            blocks[str(row.get("group")), arm] = dict(zip(numbers, values, strict=False))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RecordError(f"{path} is no JSON of pytest-benchmark ({printable(str(error), 80)})") from None
    if not timed:
        raise RecordError(f"{path} holds no benchmark")
    control = [
        {block: math.log(value / base[block]) for block, value in own.items() if block in base}
        for (group, arm), own in blocks.items()
        if arm == CONTROL and (base := blocks.get((group, BASELINE)))
    ]
    name = path.parent.name if path.name == BENCHMARK_JSON else path.stem
    return Timings(printable(name) or path.name, timed, {}, statistics.noise(control), facts)


def timing(values: Sequence[float]) -> Timing:
    """Of times in seconds.

    Raises:
        ValueError: a time that is not above 0.
    """
    logs = [math.log(value) for value in values]
    return Timing(sum(logs) / len(logs), statistics.spread([logs]), len(logs))


def _from_moments(stats: Mapping[str, Any]) -> Timing:
    """Where pytest-benchmark did not save its rounds."""
    mean, deviation, rounds = _seconds(stats["mean"]), float(stats["stddev"]), int(stats["rounds"])
    if not 0 <= deviation < LARGEST or rounds < 1:
        raise ValueError(f"a stddev of {deviation:g} s over {rounds} rounds")
    return Timing(math.log(mean), deviation / mean, rounds)


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not SHORTEST_S < seconds < LARGEST:
        raise ValueError(f"{seconds:g} s is no time")
    return seconds


def _machine(data: Mapping[str, Any]) -> dict[str, str]:
    info, commit = data.get("machine_info") or {}, data.get("commit_info") or {}
    cpu = info.get("cpu") or {}
    facts = {
        "cpu": cpu.get("brand_raw"),
        "cores": cpu.get("count"),
        "platform": " ".join(str(info[key]) for key in ("system", "release", "machine") if key in info) or None,
        "python": info.get("python_version"),
        "commit": commit.get("id"),
    }
    return {name: printable(str(value)) for name, value in facts.items() if value is not None}
