"""What experiments on behaviour found, read from `faults.json` and `equivalence.json`: a matrix, and what to do.

Nothing in these files is trusted: what cannot be read is one line, and all text is made safe to show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner_lab.records.validation import RecordError, number
from runner_lab.reports.pages.tables import Column, Entry, Table
from runner_lab.reports.words.units import NONE, SIGNS, listed, plural, printable
from runner_lab.reports.words.units import seconds as shown

SCHEMA = 1
NAMES = ("faults", "equivalence")
MEANINGS = {
    "ok": "as one would wish",
    "warn": "to be known first",
    "bad": "hangs, loses work or tells wrong",
    "unknown": "not shown",
}
_LONGEST = 600
_MOST = 10_000


@dataclass(frozen=True)
class Finding:
    """Of one experiment under one arm. Its texts are safe to show.

    facts: what was measured, name by name.
    remedy: what a user should do.
    """

    experiment: str
    arm: str
    symbol: str
    words: str
    remedy: str
    facts: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class Tried:
    """One experiment, as a row.

    code: path in the repository of what it does.
    arms: those it means something for.
    """

    id: str
    group: str
    title: str
    code: str
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Behaviour:
    """One file of findings. `partial`: the run was interrupted, or is not over."""

    name: str
    title: str
    experiments: tuple[Tried, ...]
    arms: tuple[str, ...]
    findings: tuple[Finding, ...]
    environment: Mapping[str, Any]
    partial: bool

    def of(self, experiment: Tried) -> list[Finding]:
        found = [finding for finding in self.findings if finding.experiment == experiment.id]
        return sorted(found, key=lambda finding: self.arms.index(finding.arm))

    def headline(self) -> str:
        counts = {symbol: sum(f.symbol == symbol for f in self.findings) for symbol in SIGNS}
        told = [f"{SIGNS[symbol]} {count} {MEANINGS[symbol]}" for symbol, count in counts.items() if count]
        more = " The run was not finished." if self.partial else ""
        tried = f"{plural(len(self.experiments), 'experiment')} under {plural(len(self.arms), 'runner')}"
        return f"{tried}: {', '.join(told)}.{more}"


def file_name(name: str) -> str:
    return f"{name}.json"


def find(folder: Path) -> tuple[list[Behaviour], list[str]]:
    """The findings that a folder holds, and a line for each file of them that cannot be used."""
    found, notes = [], []
    for name in NAMES:
        if (path := folder / file_name(name)).exists():
            try:
                found.append(read(path))
            except RecordError as error:
                notes.append(str(error))
    return found, notes


def read(path: Path) -> Behaviour:
    """
    Raises:
        RecordError: not a file of findings; one line.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise RecordError(f"{path} is not JSON") from None
    try:
        return _behaviour(data)
    except (RecordError, KeyError, TypeError, AttributeError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{path} holds no findings: {printable(missing)}") from None


def _behaviour(data: Any) -> Behaviour:
    if not isinstance(data, dict):
        raise RecordError("a JSON object is needed")
    if data.get("schema") != SCHEMA:
        raise RecordError(f"schema version {printable(str(data.get('schema')), 40)}, and this lab reads {SCHEMA}")
    experiments = tuple(_tried(one) for one in _list(data["experiments"]))
    findings = tuple(_finding(one) for one in _list(data["findings"]))
    known = {experiment.id for experiment in experiments}
    if stray := next((finding for finding in findings if finding.experiment not in known), None):
        raise RecordError(f"a finding of {stray.experiment}, which is no experiment of it")
    listed_arms = [_text(arm) for arm in _list(data["arms"])]
    measured = {finding.arm for finding in findings}
    arms = list(dict.fromkeys([*(arm for arm in listed_arms if arm in measured), *(f.arm for f in findings)]))
    tried = {finding.experiment for finding in findings}
    environment = data["environment"]
    if not isinstance(environment, dict):
        raise RecordError("environment must be an object")
    name = _text(data["name"])
    if not re.fullmatch(r"[a-z]{1,40}", name):
        raise RecordError(f"name {name}")
    return Behaviour(
        name=name,
        title=_text(data["title"]),
        experiments=tuple(experiment for experiment in experiments if experiment.id in tried),
        arms=tuple(arms),
        findings=findings,
        environment=environment,
        partial=data.get("finished_at") is None,
    )


def _tried(one: Any) -> Tried:
    return Tried(
        id=_text(one["id"]),
        group=_text(one["group"]),
        title=_text(one["title"]),
        code=_text(one["code"]),
        arms=tuple(_text(arm) for arm in _list(one["arms"])),
    )


def _finding(one: Any) -> Finding:
    if one["symbol"] not in SIGNS:
        raise RecordError(f"symbol {printable(str(one['symbol']), 40)}")
    return Finding(
        experiment=_text(one["experiment"]),
        arm=_text(one["arm"]),
        symbol=one["symbol"],
        words=_text(one["words"]),
        remedy=_text(one["remedy"]),
        facts={printable(str(name), 80): _fact(value) for name, value in one["details"].items()},
        seconds=float(number(one["seconds"])),
    )


def _fact(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value), _LONGEST)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise RecordError(f"{printable(str(value), 40)} where text is needed")
    return printable(value, _LONGEST)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise RecordError("lists of findings and experiments are needed")
    return value


def matrix(found: Behaviour, root: str | None = None) -> Table:
    """An experiment a row, an arm a column.

    Args:
        root: what leads from the page to the repository; its code is a link then.
    """
    columns = (Column("Experiment", numeric=False), *(Column(arm, numeric=False) for arm in found.arms))
    rows = []
    for experiment in found.experiments:
        by_arm = {finding.arm: finding for finding in found.of(experiment)}
        head = Entry(
            experiment.title,
            experiment.id if root is not None else f"{experiment.id}\n{experiment.code}",
            link="" if root is None else f"{root}{experiment.code}",
        )
        rows.append((head, *(_cell(by_arm.get(arm), arm in experiment.arms) for arm in found.arms)))
    legend = ", ".join(f"{SIGNS[symbol]} {meaning}" for symbol, meaning in MEANINGS.items())
    note = f"{legend}, {NONE} does not apply. In small print the experiment's name, for --only."
    return Table(f"{found.name}-matrix", found.title, columns, tuple(rows), note, "experiments")


def _cell(finding: Finding | None, applies: bool) -> Entry:
    if finding is None:
        return Entry("not run" if applies else NONE)
    return Entry(f"{SIGNS[finding.symbol]} {finding.words}", tone=finding.symbol)


def remedies(found: Behaviour) -> Table | None:
    """What a user should do about each cell that is not ok; arms that share it share a row. None where all is ok."""
    columns = tuple(Column(title, numeric=False) for title in ("Experiment", "Runners", "What happens", "What to do"))
    rows = tuple(
        (
            Entry(experiment.title),
            Entry(listed([finding.arm for finding in same])),
            Entry(" / ".join(dict.fromkeys(f"{SIGNS[f.symbol]} {f.words}" for f in same)), tone=same[0].symbol),
            Entry(same[0].remedy),
        )
        for experiment in found.experiments
        for same in alike([f for f in found.of(experiment) if f.symbol != "ok"], lambda f: (f.symbol, f.remedy))
    )
    return Table(f"{found.name}-remedies", "What to do", columns, rows, rows_are="remedies") if rows else None


def alike(findings: Sequence[Finding], key: Callable[[Finding], Hashable]) -> list[list[Finding]]:
    """Findings that share what `key` gives, together, in order of appearance."""
    groups: dict[Hashable, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(key(finding), []).append(finding)
    return list(groups.values())


def measured(found: Behaviour) -> Table:
    """The facts that the findings rest on."""
    columns = (
        Column("Experiment", numeric=False),
        Column("Runner", numeric=False),
        Column("Facts", numeric=False),
        Column("Took", "The experiment as a whole."),
    )
    rows = tuple(
        (
            Entry(experiment.title),
            Entry(finding.arm),
            Entry("; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in finding.facts.items()) or NONE),
            Entry(shown(finding.seconds), sort=finding.seconds),
        )
        for experiment in found.experiments
        for finding in found.of(experiment)
    )
    return Table(f"{found.name}-facts", "What was measured", columns, rows, rows_are="findings")


def environment(found: Behaviour) -> Table:
    """Versions and machine."""
    told = {**found.environment, **_object(found.environment.get("versions"))}
    rows = tuple(
        (Entry(printable(str(name), 80)), Entry(_fact(value)))
        for name, value in told.items()
        if isinstance(value, str | int | float)
    )
    columns = (Column("What", numeric=False), Column("Value", numeric=False))
    return Table(f"{found.name}-environment", "Versions and machine", columns, rows, rows_are="facts")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
