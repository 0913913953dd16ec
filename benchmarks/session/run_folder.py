"""A run's folder: `records.jsonl`, appended cell by cell, and `run.json`, which says what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner_lab.records import record as records
from runner_lab.records import run_plan
from runner_lab.records.cell_id import CellId
from runner_lab.records.record import Record
from runner_lab.records.run_plan import RESULTS, RunPlan
from runner_lab.records.validation import SCHEMA, RecordError


class RunFolder:
    """
    Raises:
        RecordError: `resume` on a folder that holds no run, or one of another kind.
    """

    def __init__(self, path: Path, plan: RunPlan) -> None:
        self.path = path
        self.plan = plan
        self.records: dict[CellId, Record] = {}
        self.warnings: list[str] = []

    @classmethod
    def create(cls, path: Path, plan: RunPlan) -> RunFolder:
        cls.refuse_taken(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"--lab-out {path} cannot be made: {error.strerror}") from None
        folder = cls(path, plan)
        folder.save()
        return folder

    @staticmethod
    def refuse_taken(path: Path) -> None:
        """
        Raises:
            RecordError: there is a run in it.
        """
        if (path / records.FILE_NAME).exists():
            raise RecordError(
                f"{path} holds a run already: resume it with --lab-resume {path}, or name another --lab-out"
            )

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """An earlier run, with what it measured; cells that failed are measured again."""
        try:
            plan = run_plan.read(path)
        except OSError as error:
            raise RecordError(f"--lab-resume {path}: no run to resume there ({error.strerror})") from None
        except RecordError as error:
            raise RecordError(f"--lab-resume {path}: {error}") from None
        if plan.schema != SCHEMA:
            raise RecordError(
                f"--lab-resume {path}: an earlier version of the lab measured it, which this one reports and does not "
                "resume: start a new run"
            )
        folder = cls(path, replace(plan, left_out=(), finished_at=None, interrupted=False))
        written = path / records.FILE_NAME
        try:
            data = written.read_bytes() if written.exists() else b""
        except OSError as error:
            raise RecordError(f"--lab-resume {path}: cannot read {written.name}: {error.strerror}") from None
        if b"\n" in data:
            found, folder.warnings = records.read(path)
            folder.records = {record.id: record for record in found if record.status == "ok"}
        elif data:
            folder.warnings = [f"{written.name} line 1 dropped: cut off in mid-write"]
        return folder

    def add(self, record: Record) -> None:
        records.append(self.path, record)
        self.records[record.id] = record

    def save(self, **changes: Any) -> None:
        """Write `run.json`, with `changes` made to the plan."""
        self.plan = replace(self.plan, **changes)
        run_plan.write(self.path, self.plan)

    def finish(self, interrupted: bool) -> None:
        self.save(finished_at=now(), interrupted=interrupted)


def share_done(path: Path) -> float:
    """How much of the run in a folder is measured, from 0 to 1; 0 where there is none yet."""
    try:
        planned = run_plan.read(path).planned_cells
        return min(1.0, (path / records.FILE_NAME).read_bytes().count(b"\n") / planned)
    except (OSError, RecordError, ZeroDivisionError):
        return 0.0


def now() -> str:
    """The moment, as records have it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run_id(profile: str, existing: Sequence[str] = ()) -> str:
    """Names sort by time; a second run in one second gets a number."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{profile}"
    names = (stem if i == 0 else f"{stem}-{i + 1}" for i in range(len(existing) + 1))
    return next(name for name in names if name not in existing)


def new_folder(label: str, results: Path = RESULTS) -> Path:
    """The folder of a new run among `results`, which is yet to be made."""
    existing = [path.name for path in results.iterdir()] if results.is_dir() else []
    return results / new_run_id(label, existing)
