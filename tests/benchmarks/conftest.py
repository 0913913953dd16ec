"""Cells, and the records they give, as the tests of this folder need them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner_lab.benchmarks.measuring.measure import blank_record
from runner_lab.benchmarks.session.plan import PlannedCell, Stage
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Phases, Record
from runner_lab.runners import catalog
from runner_lab.runners.spec import RunnerSpec

ROOT = Path(__file__).parents[2]
ARMS = catalog.load().arms


def cell_of(
    arm: str | RunnerSpec = "threads",
    block: int = 0,
    graph: GraphSpec | None = None,
    suite: str = "overhead",
    cold: bool = False,
    workers: int = 2,
) -> PlannedCell:
    spec = ARMS[arm] if isinstance(arm, str) else arm
    stage = Stage(spec.engine if spec.bare or spec.engine in ("dask", "ray") else spec.name, workers)
    return PlannedCell(suite, graph or GraphSpec(width=2), spec.with_workers(workers), block, stage, cold)


def record_of(cell: PlannedCell, value_s: float | None = 1.0, **changes: Any) -> Record:
    phases = Phases(makespan_s=value_s, total_s=value_s)
    return replace(blank_record(cell, "run", {}), **{"phases": phases, "elapsed_s": 2.0, **changes})


@pytest.fixture
def make_cell() -> Callable[..., PlannedCell]:
    return cell_of


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """A record as if its cell had been measured."""
    return record_of


@pytest.fixture
def start_process(tmp_path, users_environment) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python with these arguments as a user would, in a home and a folder of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                cwd=tmp_path,
                env=users_environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                # As in a terminal, even where the suite itself runs in the background of a shell.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def start_lab(start_process) -> Callable[..., subprocess.Popen[str]]:
    """Start the lab; smoke profile, the smallest graph of `overhead` unless told."""

    def run(*arguments: str, select: str | None = "overhead and w2-") -> subprocess.Popen[str]:
        return start_process(
            *("-m", "pytest", str(ROOT / "benchmarks"), "--benchmark-only"),
            *("-c", str(ROOT / "pyproject.toml"), "--lab-profile", "smoke", *arguments),
            *(("-k", select) if select else ()),
        )

    return run
