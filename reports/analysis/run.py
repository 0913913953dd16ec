"""What a run set out to do (`run.json`), who took part, and whether it got there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner_lab.records import run_plan
from runner_lab.records.cell_id import RESIZED, CellId
from runner_lab.records.record import BASELINE, Record
from runner_lab.records.run_plan import RunPlan
from runner_lab.records.traits import ArmTraits, before
from runner_lab.records.validation import LARGEST, RecordError
from runner_lab.reports.words.units import exactly, listed, plural, printable

DEEPEST = 5
"""Levels of an environment that are taken apart."""


@dataclass(frozen=True)
class Arm:
    """One runner as it took part. `label` is its name made safe to show; tables and charts use nothing else.

    workers: its own number; cells of resized suites may have another.
    told: its traits, as the run's plan has them.
    """

    name: str
    label: str
    role: str
    engine: str
    runner: str
    workers: int
    bare: bool
    lean: bool
    told: ArmTraits | None = None

    @property
    def traits(self) -> ArmTraits:
        """What its engine says of it; of a run from before engines did, what the lab knew then."""
        return self.told or before(self.engine, self.name, self.bare or self.lean)

    @property
    def choosable(self) -> bool:
        """A user may choose it: no engine without Prefect, and not the baseline a second time."""
        return not self.bare and self.role != "control"

    @property
    def without_engine(self) -> bool:
        """Nothing that the lab knows executes its tasks: of direct calls, and of a declared runner of another kind."""
        return self.engine == "none"

    @property
    def has_slots(self) -> bool:
        """How many is to be chosen: not of direct calls, which have one, nor of an event loop, which has no limit."""
        return not self.without_engine and not self.traits.event_loop


@dataclass(frozen=True)
class Run:
    """The run as a whole. `partial` says in words what is missing, `None` for a run that is complete.

    api_latency_s: round trip that it has put between itself and Prefect's API.
    """

    run_id: str
    profile: str | None
    command: str | None
    started_at: str | None
    finished_at: str | None
    blocks: int
    measured: int
    planned: int | None
    baseline: str
    control: str | None
    partial: str | None
    api_latency_s: float = 0.0

    @property
    def place(self) -> str | None:
        """`API 80 ms away`, where it was not beside the run."""
        return f"API {exactly(self.api_latency_s)} away" if self.api_latency_s else None


def read_plan(run_dir: Path) -> tuple[RunPlan | None, list[str]]:
    """`run.json`, or None and a warning where it cannot be used; None alone where there is none."""
    try:
        return run_plan.read(run_dir), []
    except FileNotFoundError:
        return None, []
    except RecordError as error:
        return None, [f"{run_plan.FILE_NAME} ignored: {printable(str(error))}"]


def describe(records: Sequence[Record], plan: RunPlan | None) -> Run:
    """The run that these records belong to."""
    started_at = plan.started_at if plan else min(record.started_at for record in records)
    return Run(
        run_id=printable(plan.run_id if plan else records[0].run_id),
        profile=_text(plan.profile if plan else None) or _text(records[0].environment.get("profile")),
        command=_text(plan.command if plan else None, limit=500),
        started_at=_text(started_at),
        finished_at=_text(plan.finished_at if plan else None),
        blocks=1 + max(record.block for record in records),
        measured=len(records),
        planned=plan.planned_cells if plan else None,
        baseline=_baseline(records, plan),
        control=next((r.arm for r in records if r.role == "control"), None),
        partial=_partial(records, plan),
        api_latency_s=plan.api_latency_s if plan else _latency_s(records[0].environment),
    )


def arms(records: Sequence[Record], plan: RunPlan | None) -> tuple[Arm, ...]:
    """Every arm with a record, in the plan's order, then in order of appearance."""
    own = workers_of(records, plan)
    first: dict[str, Record] = {}
    for record in records:
        if record.workers == own[record.arm]:
            first.setdefault(record.arm, record)
    order = [name for name in (plan.arms if plan else ()) if name in first]
    names = list(dict.fromkeys([*order, *first]))
    labels = _labels(names)
    return tuple(
        Arm(
            name=name,
            label=labels[name],
            role=first[name].role,
            engine=first[name].engine,
            runner=printable(first[name].runner),
            workers=first[name].workers,
            bare=first[name].bare,
            lean=first[name].lean,
            told=plan.traits.get(name) if plan else None,
        )
        for name in names
    )


def workers_of(records: Sequence[Record], plan: RunPlan | None) -> dict[str, int]:
    """Each arm's own number of workers, which only cells of resized suites may differ from."""
    by_arm: dict[str, list[Record]] = {}
    for record in records:
        by_arm.setdefault(record.arm, []).append(record)
    own = {}
    for arm, group in by_arm.items():
        elsewhere = next((record.workers for record in group if record.suite not in RESIZED), None)
        planned = plan.workers if plan and any(record.workers == plan.workers for record in group) else None
        own[arm] = next(count for count in (elsewhere, planned, group[0].workers) if count is not None)
    return own


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Names made safe and short; two that look alike then are numbered."""
    labels: dict[str, str] = {}
    for name in names:
        label = first = printable(name, limit=40) or "(no name)"
        number = 1
        while label in labels.values():
            number += 1
            label = f"{first} ({number})"
        labels[name] = label
    return labels


def _baseline(records: Sequence[Record], plan: RunPlan | None) -> str:
    present = [record.arm for record in records]
    by_role = next((record.arm for record in records if record.role == "baseline"), None)
    candidates = [plan.baseline if plan else None, by_role, BASELINE, present[0]]
    return next(name for name in candidates if name in present)


def _partial(records: Sequence[Record], plan: RunPlan | None) -> str | None:
    if plan:
        if plan.planned_cells and len(records) < plan.planned_cells:
            stopped = "interrupted" if plan.interrupted else "not finished"
            return f"{stopped} after {len(records)} of {plural(plan.planned_cells, 'measurement')}"
        return f"interrupted after {plural(len(records), 'measurement')}" if plan.interrupted else None
    counts: dict[CellId, int] = {}
    for record in records:
        counts[record.cell] = counts.get(record.cell, 0) + 1
    short = sum(count < max(counts.values()) for count in counts.values())
    return f"{short} of {plural(len(counts), 'cell')} have fewer blocks than the others" if short else None


def facts(environment: Any, name: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Every fact of a record's environment, by its path such as `versions.ray`; safe to show."""
    if isinstance(environment, dict) and depth < DEEPEST:
        parts = environment.items()
        return [fact for key, part in parts for fact in facts(part, f"{name}.{key}".lstrip("."), depth + 1)]
    try:
        return [(printable(name, 80), printable(str(environment), 300))]
    except RecursionError:
        return [(printable(name, 80), "nested too deep to show")]


def elsewhere(records: Sequence[Record]) -> list[str]:
    """A remark where bodies ran on other hosts than the driver's: what is missing for it."""
    away = [record for record in records if record.hosts]
    if not away:
        return []
    arms = listed([printable(name, 40) for name in dict.fromkeys(record.arm for record in away)])
    hosts = listed([printable(name, 60) for name in sorted({host for record in away for host in record.hosts})])
    return [
        f"Task bodies of {arms} ran on {hosts}, which is not the driver's host: no startup, queue and seen latency "
        "there, as two hosts' clocks are never subtracted."
    ]


def _latency_s(environment: dict[str, Any]) -> float:
    told = environment.get("api_latency_s")
    return float(told) if isinstance(told, (int, float)) and 0 < told < LARGEST else 0.0


def _text(value: Any, limit: int = 200) -> str | None:
    return printable(value, limit) if isinstance(value, str) and value else None
