"""What a run set out to do (`run.json`), who took part, and whether it got there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner_lab.records.record import Record
from runner_lab.reports.words.units import listed, plural, printable

FILE_NAME = "run.json"
DEEPEST = 5
"""Levels of an environment that are taken apart."""


def family(arm: str) -> str:
    """The runner's name: `dask@4` is `dask` with another number of workers than the rest of the run."""
    stem, _, workers = arm.rpartition("@")
    return stem if stem and workers.isdecimal() else arm


@dataclass(frozen=True)
class Arm:
    """One runner as it took part. `label` is its name made safe to show; tables and charts use nothing else.

    resized: another arm of the run with a different number of workers, as `dask@4` is of `dask`.
    """

    name: str
    label: str
    role: str
    engine: str
    runner: str
    workers: int
    bare: bool
    lean: bool
    resized: bool = False


@dataclass(frozen=True)
class Run:
    """The run as a whole. `partial` says in words what is missing, `None` for a run that is complete.

    left_out: cells that were not to be measured after all, as ids, and why.
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
    left_out: dict[str, str] = field(default_factory=dict)


def read_plan(run_dir: Path) -> tuple[dict[str, Any], list[str]]:
    """`run.json` as far as it can be used, and a warning for what cannot; `{}` where there is none."""
    path = run_dir / FILE_NAME
    try:
        plan = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError, RecursionError) as error:
        return {}, [f"{FILE_NAME} ignored: {printable(str(error))}"]
    if not isinstance(plan, dict):
        return {}, [f"{FILE_NAME} ignored: not a JSON object"]
    usable = {name: value for name, value in plan.items() if _PLAN.get(name, lambda _: False)(value)}
    wrong = sorted(name for name in plan if name in _PLAN and name not in usable and plan[name] is not None)
    return usable, [f"{FILE_NAME}: {name} ignored, wrong type" for name in wrong]


def describe(records: Sequence[Record], plan: dict[str, Any]) -> Run:
    """The run that these records belong to."""
    baseline = _baseline(records, plan)
    control = next((r.arm for r in records if r.role == "control"), None)
    blocks = max(int(plan.get("blocks", 0)), 1 + max(record.block for record in records))
    planned = plan.get("planned_cells")
    return Run(
        run_id=printable(plan.get("run_id") or records[0].run_id),
        profile=_text(plan.get("profile")) or _text(records[0].environment.get("profile")),
        command=_text(plan.get("command"), limit=500),
        started_at=_text(plan.get("started_at")) or _text(min(record.started_at for record in records)),
        finished_at=_text(plan.get("finished_at")),
        blocks=blocks,
        measured=len(records),
        planned=planned,
        baseline=baseline,
        control=control,
        partial=_partial(records, plan),
        left_out=plan.get("left_out", {}),
    )


def arms(records: Sequence[Record], plan: dict[str, Any]) -> tuple[Arm, ...]:
    """Every arm with a record, in the plan's order, then in order of appearance."""
    first: dict[str, Record] = {}
    for record in records:
        first.setdefault(record.arm, record)
    order = [name for name in plan.get("arms", ()) if name in first]
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
            resized=family(name) != name and family(name) in first,
        )
        for name in names
    )


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


def _baseline(records: Sequence[Record], plan: dict[str, Any]) -> str:
    present = [record.arm for record in records]
    by_role = next((record.arm for record in records if record.role == "baseline"), None)
    candidates = [plan.get("baseline"), by_role, "threads", present[0]]
    return next(name for name in candidates if name in present)


def _partial(records: Sequence[Record], plan: dict[str, Any]) -> str | None:
    planned = plan.get("planned_cells")
    if planned and len(records) < planned:
        stopped = "interrupted" if plan.get("interrupted") else "not finished"
        return f"{stopped} after {len(records)} of {plural(planned, 'measurement')}"
    if plan.get("interrupted"):
        return f"interrupted after {plural(len(records), 'measurement')}"
    if plan:
        return None
    counts: dict[str, int] = {}
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


def _text(value: Any, limit: int = 200) -> str | None:
    return printable(value, limit) if isinstance(value, str) and value else None


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _words(value: Any) -> bool:
    return isinstance(value, str)


_PLAN = {
    "run_id": _words,
    "profile": _words,
    "command": _words,
    "started_at": _words,
    "finished_at": _words,
    "baseline": _words,
    "planned_cells": _count,
    "blocks": _count,
    "arms": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "left_out": lambda value: isinstance(value, dict) and all(isinstance(why, str) for why in value.values()),
    "interrupted": lambda value: isinstance(value, bool),
}
