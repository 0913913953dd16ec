"""Every run's summary in one SQLite file, which tells of runs also when their own folders are gone.

It lies in the folder of the runs: `results/history.sqlite`, for `results/nightly/RUN` as for `results/RUN`. So it goes
where the runs go, is ignored by git as they are, and a run that was measured elsewhere is kept elsewhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner_lab.records import schema_1
from runner_lab.records.record import RecordError
from runner_lab.records.run_plan import RESULTS
from runner_lab.records.traits import ArmTraits
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Estimate, Noise
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.history.timings import API_LATENCY, Timing, Timings

FILE_NAME = "history.sqlite"
SCHEMA = 2

_TIMING = ("log_mean", "log_deviation", "n", "suite", "arm")
_WHOLE = "*"
"""Stands for the noise of all suites together."""
_WAIT_S = 30.0
"""For another run that ends at the same moment."""

_TABLES = """
CREATE TABLE runs (
    folder TEXT PRIMARY KEY, run_id TEXT NOT NULL, profile TEXT, flow TEXT, started_at TEXT, finished_at TEXT,
    blocks INTEGER NOT NULL, workers INTEGER NOT NULL, partial TEXT, verdict TEXT NOT NULL, facts TEXT NOT NULL,
    notes TEXT NOT NULL
);
CREATE TABLE arms (
    folder TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, name TEXT NOT NULL, arm TEXT NOT NULL,
    failed INTEGER NOT NULL, per_task_s REAL, per_task_low_s REAL, per_task_high_s REAL, per_task_n INTEGER,
    first_result_s REAL, first_result_low_s REAL, first_result_high_s REAL, first_result_n INTEGER,
    PRIMARY KEY (folder, name)
);
CREATE TABLE cells (
    folder TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, cell TEXT NOT NULL, log_mean REAL NOT NULL,
    log_deviation REAL NOT NULL, n INTEGER NOT NULL, suite TEXT NOT NULL, arm TEXT NOT NULL, PRIMARY KEY (folder, cell)
);
CREATE TABLE noise (
    folder TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, suite TEXT NOT NULL, threshold REAL NOT NULL, sigma REAL,
    ratio REAL, ratio_low REAL, ratio_high REAL, ratio_n INTEGER, PRIMARY KEY (folder, suite)
);
"""


@dataclass(frozen=True)
class ArmFigures:
    """An arm in one run; `None` where the run has no cell that tells.

    per_task_s: what one more empty task costs; first_result_s: from a cold start.
    """

    arm: Arm
    failed: int
    per_task_s: Estimate | None
    first_result_s: Estimate | None


@dataclass(frozen=True)
class Kept:
    """A run as it was kept.

    folder: its path as seen from the history's own folder; the same run again takes the same place.
    verdict: its first line.
    """

    folder: str
    run_id: str
    profile: str | None
    flow: str | None
    started_at: str | None
    finished_at: str | None
    blocks: int
    workers: int
    partial: str | None
    verdict: str
    arms: tuple[ArmFigures, ...]
    timings: Timings

    @property
    def series(self) -> tuple[str, ...]:
        """What two runs must share to be compared over time: what was measured, and on which machine."""
        facts = self.timings.facts
        return (
            self.profile or "",
            self.flow or "",
            str(Path(self.folder).parent),
            f"{self.workers} workers",
            facts.get("cpu", ""),
            facts.get("cores", ""),
            # Kept before the lab could move the API, and so beside it.
            facts.get(API_LATENCY, "0.0"),
        )


def path_for(run_dir: Path) -> Path:
    """The history that a run belongs to: in the folder `results` that it is under, else beside the run."""
    run_dir = Path(run_dir).absolute()
    folder = next((parent for parent in run_dir.parents if parent.name == RESULTS.name), run_dir.parent)
    return folder / FILE_NAME


def keep(run_dir: Path, summary: Summary, timings: Timings, verdict: str) -> Path:
    """Put a run into its history, in the place of what is kept of it already.

    Raises:
        RecordError: the file cannot be written, or is no history; one line.
    """
    path = path_for(run_dir)
    folder = Path(run_dir).absolute().relative_to(path.parent).as_posix()
    run, flow = summary.run, summary.flow.name if summary.flow else None
    workers = max(arm.workers for arm in summary.arms)
    told = (folder, run.run_id, run.profile, flow, run.started_at, run.finished_at, run.blocks, workers, run.partial)
    with _writing(path) as database:
        database.execute("DELETE FROM runs WHERE folder = ?", (folder,))
        _insert(database, "runs", [(*told, verdict, json.dumps(timings.facts), json.dumps(timings.notes))])
        _insert(
            database,
            "arms",
            [
                (
                    *(folder, _storable(row.arm.name), json.dumps(asdict(row.arm)), row.failed),
                    *_columns(row.marginal.per_task_s if row.marginal else None),
                    *_columns(row.first_result_s),
                )
                for row in summary.rows
            ],
        )
        _insert(
            database,
            "cells",
            [
                (folder, _storable(name), cell.log_mean, cell.log_deviation, cell.n, cell.suite, _storable(cell.arm))
                for name, cell in timings.cells.items()
            ],
        )
        _insert(
            database,
            "noise",
            [
                (folder, suite, noise.threshold, noise.sigma, *_columns(noise.ratio))
                for suite, noise in {**timings.noise, _WHOLE: timings.whole}.items()
            ],
        )
    return path


def read(path: Path) -> list[Kept]:
    """Every run of a history, the oldest first.

    Raises:
        RecordError: there is none, or it is no history; one line.
    """
    if not path.is_file():
        raise RecordError(f"no history at {path}: add a run with: runner-lab report results/RUN")
    with _reading(path) as database:
        rows = database.execute("SELECT * FROM runs ORDER BY started_at, folder").fetchall()
        return [_kept(database, row) for row in rows]


def _kept(database: sqlite3.Connection, run: sqlite3.Row) -> Kept:
    def of_run(table: str) -> list[sqlite3.Row]:
        return database.execute(f"SELECT * FROM {table} WHERE folder = ? ORDER BY rowid", (run["folder"],)).fetchall()

    noise = {row["suite"]: Noise(_estimate(row, "ratio"), row["sigma"], row["threshold"]) for row in of_run("noise")}
    timings = Timings(
        name=run["run_id"],
        cells={row["cell"]: Timing(*(row[name] for name in _TIMING)) for row in of_run("cells")},
        whole=noise.pop(_WHOLE),
        noise=noise,
        facts=json.loads(run["facts"]),
        notes=tuple(json.loads(run["notes"])),
    )
    arms = tuple(
        ArmFigures(
            _arm(row["arm"]),
            row["failed"],
            _estimate(row, "per_task", "_s"),
            _estimate(row, "first_result", "_s"),
        )
        for row in of_run("arms")
    )
    columns = {name: run[name] for name in run.keys() if name not in ("facts", "notes")}  # noqa: SIM118
    return Kept(**columns, arms=arms, timings=timings)


def _arm(text: str) -> Arm:
    found = json.loads(text)
    told = found.get("told")
    return Arm(**{**found, "told": ArmTraits(**told) if told else None})


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on the history, which is made where there is none."""
    with _told(path), closing(sqlite3.connect(path, timeout=_WAIT_S)) as database:
        database.execute("PRAGMA foreign_keys = ON")
        with database:
            # Before the schema is looked at: of two runs that end at once, one waits here for the other.
            database.execute("BEGIN IMMEDIATE")
            schema = _schema(database, path)
            if not schema:
                for statement in filter(str.strip, _TABLES.split(";")):
                    database.execute(statement)
            if schema == 1:
                _upgrade(database)
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            yield database


def _upgrade(database: sqlite3.Connection) -> None:
    """From schema 1, which had suite and arm of a cell in its id alone, and other names for two suites."""
    database.execute("ALTER TABLE noise RENAME COLUMN bench TO suite")
    for column in ("suite", "arm"):
        database.execute(f"ALTER TABLE cells ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    for folder, suite in database.execute("SELECT folder, suite FROM noise").fetchall():
        database.execute(
            "UPDATE noise SET suite = ? WHERE folder = ? AND suite = ?", (schema_1.suite(suite), folder, suite)
        )
    for folder, cell, workers in database.execute(
        "SELECT folder, cell, workers FROM cells JOIN runs USING (folder)"
    ).fetchall():
        suite, arm, shown = schema_1.cell(cell, workers)
        database.execute(
            "UPDATE cells SET cell = ?, suite = ?, arm = ? WHERE folder = ? AND cell = ?",
            (shown, suite, arm, folder, cell),
        )
    for folder, name, text in database.execute("SELECT folder, name, arm FROM arms").fetchall():
        kept = {key: value for key, value in json.loads(text).items() if key != "resized"}
        database.execute("UPDATE arms SET arm = ? WHERE folder = ? AND name = ?", (json.dumps(kept), folder, name))


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The history as it is at one moment, which needs no right to write and waits for nobody who writes."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    with _told(path), closing(sqlite3.connect(address, uri=True, timeout=_WAIT_S)) as database:
        schema = _schema(database, path)
    if schema == 1:
        with _writing(path):
            pass
    with _told(path), closing(sqlite3.connect(address, uri=True, timeout=_WAIT_S)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")
        if not _schema(database, path):
            raise RecordError(f"{path} is empty: add a run with: runner-lab report results/RUN")
        yield database


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what SQLite, or a file that is no history, complains of into one line."""
    try:
        yield
    except RecordError:
        raise
    except (sqlite3.Error, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"cannot use the history {path}: {error}") from None


def _schema(database: sqlite3.Connection, path: Path) -> int:
    """The version of its tables; 0 of a file that has none yet.

    Raises:
        RecordError: another program's, or of another version.
    """
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    if schema == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise RecordError(f"{path} is another program's database, not a history")
    if schema not in (0, 1, SCHEMA):
        raise RecordError(f"{path} is of another version of the lab (schema {schema}, here {SCHEMA}): move it away")
    return int(schema)


def _insert(database: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _storable(name: str) -> str:
    """A name as SQLite takes it: records may hold halves of surrogate pairs."""
    return name.encode("utf-8", "backslashreplace").decode()


def _columns(estimate: Estimate | None) -> tuple[float | None, ...]:
    return (None,) * 4 if estimate is None else (estimate.value, estimate.low, estimate.high, estimate.n)


def _estimate(row: sqlite3.Row, name: str, unit: str = "") -> Estimate | None:
    value = row[f"{name}{unit}"]
    if value is None:
        return None
    return Estimate(value, row[f"{name}_low{unit}"], row[f"{name}_high{unit}"], row[f"{name}_n"])
