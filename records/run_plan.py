"""What a run set out to measure, and whether it got there: its `run.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from runner_lab.records import json_file, schema_1
from runner_lab.records.cell_id import CellId
from runner_lab.records.traits import ArmTraits
from runner_lab.records.validation import SCHEMA, Count, Number, RecordError, first_complaint

FILE_NAME = "run.json"
RESULTS = Path("results")
"""Where the folders of runs are, unless the user names another."""


@dataclass(frozen=True)
class LeftOut:
    """A cell that was planned and is not to be measured, and why in words."""

    cell: CellId
    reason: str


@dataclass(frozen=True)
class RunPlan:
    """
    arms: names, in the order they are shown.
    workers: of every arm, but in the suite that is about their number, and where `slots` says otherwise.
    slots: by arm, where each has its own number; 0: no limit, or not known (its traits say which).
    planned_cells: cells times blocks.
    api_latency_s: round trip that was put between the run and Prefect's API, but in suites with one of their own.
    cells: what was selected, each for any block; a resumed run selects no more. Empty: everything.
    traits: of the arms, by name; none in runs from before engines told them.
    """

    run_id: str
    profile: str
    arms: tuple[str, ...]
    blocks: Count
    workers: Count
    baseline: str
    command: str
    started_at: str
    planned_cells: Count = 0
    cells: tuple[CellId, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    traits: dict[str, ArmTraits] = field(default_factory=dict)
    slots: dict[str, Count] = field(default_factory=dict)
    finished_at: str | None = None
    interrupted: bool = False
    api_latency_s: Number = 0.0
    schema: Literal[1, 2] = SCHEMA
    """Of the lab that measured it."""


_PLAN: TypeAdapter[RunPlan] = TypeAdapter(RunPlan)


def write(run_dir: Path, plan: RunPlan) -> None:
    """
    Raises:
        OSError: the file cannot be written.
    """
    json_file.write(run_dir / FILE_NAME, asdict(plan))


def read(run_dir: Path) -> RunPlan:
    """The plan of a run, measured with this schema or the one before.

    Raises:
        FileNotFoundError: it has none.
        RecordError: it cannot be used; one line.
    """
    try:
        data = json.loads((run_dir / FILE_NAME).read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RecordError(f"cannot read {FILE_NAME}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{FILE_NAME} is not a run's ({error})") from None
    if not isinstance(data, dict):
        raise RecordError(f"{FILE_NAME} is not a run's: a JSON object is needed")
    try:
        # The plan of schema 1 did not say which it is.
        data = schema_1.plan(data) if "schema" not in data else data
        return _PLAN.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise RecordError(f"{FILE_NAME} is not a run's ({first_complaint(error)})") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{FILE_NAME} is not a run's ({type(error).__name__} {error})") from None
