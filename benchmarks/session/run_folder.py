"""A run's folder: `records.jsonl`, appended cell by cell, and `run.json`, which says what was planned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner_lab.records import record as records
from runner_lab.records.record import Record, RecordError

_FILE = "run.json"


@dataclass(frozen=True)
class Plan:
    """What a run was to measure.

    planned_cells: cells times blocks.
    arms: names, in the order they are shown.
    cells: what was selected, as ids without their blocks; a resumed run selects no more. Empty: everything.
    left_out: cells that were planned and are not to be measured, as ids, and why.
    """

    run_id: str
    profile: str
    arms: tuple[str, ...]
    blocks: int
    workers: int
    baseline: str
    command: str
    started_at: str
    planned_cells: int = 0
    cells: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    finished_at: str | None = None
    interrupted: bool = False


class RunFolder:
    """
    Raises:
        RecordError: `resume` on a folder that holds no run, or one of another kind.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self.records: dict[tuple[str, int], Record] = {}
        self.warnings: list[str] = []

    @classmethod
    def create(cls, path: Path, plan: Plan) -> RunFolder:
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
                f"{path} holds a run already: go on with it by --lab-resume {path}, or name another --lab-out"
            )

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """An earlier run, with what it measured; cells that failed are measured again."""
        try:
            data = json.loads((path / _FILE).read_text())
            names = {key: tuple(data.get(key, ())) for key in ("arms", "cells")}
            plan = Plan(**{**data, **names, "left_out": {}, "finished_at": None, "interrupted": False})
        except OSError as error:
            raise RecordError(f"--lab-resume {path}: no run to go on with there ({error.strerror})") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise RecordError(f"--lab-resume {path}: {_FILE} is not a run's ({error})") from None
        folder = cls(path, plan)
        written = path / records.FILE_NAME
        try:
            data = written.read_bytes() if written.exists() else b""
        except OSError as error:
            raise RecordError(f"--lab-resume {path}: cannot read {written.name}: {error.strerror}") from None
        if b"\n" in data:
            found, folder.warnings = records.read(path)
            folder.records = {record.key: record for record in found if record.status == "ok"}
        elif data:
            folder.warnings = [f"{written.name} line 1 dropped: cut off in mid-write"]
        return folder

    def add(self, record: Record) -> None:
        records.append(self.path, record)
        self.records[record.key] = record

    def save(self, **changes: Any) -> None:
        """Write `run.json`, with `changes` made to the plan."""
        self.plan = replace(self.plan, **changes)
        text = json.dumps(asdict(self.plan), indent=2)
        partial = self.path / f"{_FILE}.partial"
        partial.write_text(text + "\n")
        partial.replace(self.path / _FILE)

    def finish(self, interrupted: bool) -> None:
        self.save(finished_at=now(), interrupted=interrupted)


def share_done(path: Path) -> float:
    """How much of the run in a folder is measured, from 0 to 1; 0 where there is none yet."""
    try:
        planned = json.loads((path / _FILE).read_text())["planned_cells"]
        return min(1.0, (path / records.FILE_NAME).read_bytes().count(b"\n") / planned)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return 0.0


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_run_id(profile: str, existing: Sequence[str] = ()) -> str:
    """Names sort by time; a second run in one second gets a number."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{profile}"
    names = (stem if i == 0 else f"{stem}-{i + 1}" for i in range(len(existing) + 1))
    return next(name for name in names if name not in existing)
