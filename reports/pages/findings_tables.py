"""The tables of what experiments have shown, once for every format: a matrix, what to do, and the facts.

Any text may be in a file of findings: what is read here is safe to show.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner_lab.records import findings as files
from runner_lab.records.findings import Finding, Findings
from runner_lab.records.validation import RecordError
from runner_lab.reports.pages.tables import Column, Entry, Table, duration
from runner_lab.reports.words.units import NONE, SIGNS, listed, plural, printable

MEANINGS = {
    "ok": "fine",
    "warn": "with a catch",
    "bad": "hangs, loses work or reports wrongly",
    "unknown": "not shown",
}
_LONGEST = 600


def find(folder: Path) -> tuple[list[Findings], list[str]]:
    """The findings that a folder holds, and a line for each file of them that cannot be used."""
    found, notes = [], []
    for name in files.NAMES:
        if (path := folder / files.file_name(name)).exists():
            try:
                found.append(read(path))
            except RecordError as error:
                notes.append(str(error))
    return found, notes


def read(path: Path) -> Findings:
    """A file of findings, its texts safe to show.

    Raises:
        RecordError: not a file of findings; one line.
    """
    found = files.read(path)
    return replace(
        found,
        title=_text(found.title),
        arms=tuple(map(_text, found.arms)),
        experiments=tuple(
            replace(
                one,
                id=_text(one.id),
                group=_text(one.group),
                title=_text(one.title),
                code=_text(one.code),
                arms=tuple(map(_text, one.arms)),
                about={printable(name, 80): _text(value) for name, value in one.about.items()},
            )
            for one in found.experiments
        ),
        findings=tuple(
            replace(
                one,
                experiment=_text(one.experiment),
                arm=_text(one.arm),
                words=_text(one.words),
                remedy=_text(one.remedy),
                error=_text(one.error),
                facts={printable(name, 80): _fact(value) for name, value in one.facts.items()},
            )
            for one in found.findings
        ),
    )


def _text(text: str) -> str:
    return printable(text, _LONGEST)


def _fact(value: Any) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value))


def headline(found: Findings) -> str:
    """How many findings of each kind there are."""
    counts = {symbol: sum(finding.symbol == symbol for finding in found.findings) for symbol in SIGNS}
    told = [f"{SIGNS[symbol]} {count} {MEANINGS[symbol]}" for symbol, count in counts.items() if count]
    more = "" if found.finished_at else " The run was not finished."
    tried = f"{plural(len(found.tried()), 'experiment')} under {plural(len(found.measured_arms()), 'runner')}"
    return f"{tried}: {', '.join(told)}.{more}"


def matrix(found: Findings, root: str | None = None) -> Table:
    """An experiment a row, an arm a column.

    Args:
        root: what leads from the page to the repository; its code is a link then.
    """
    columns = (Column("Experiment", numeric=False), *(Column(arm, numeric=False) for arm in found.measured_arms()))
    rows = []
    for experiment in found.tried():
        by_arm = {finding.arm: finding for finding in found.of(experiment)}
        head = Entry(
            experiment.title,
            experiment.id if root is not None else f"{experiment.id}\n{experiment.code}",
            link="" if root is None else f"{root}{experiment.code}",
        )
        cells = (_cell(by_arm.get(arm), not experiment.arms or arm in experiment.arms) for arm in found.measured_arms())
        rows.append((head, *cells))
    legend = ", ".join(f"{SIGNS[symbol]} {meaning}" for symbol, meaning in MEANINGS.items())
    note = f"{legend}, {NONE} does not apply. In small print the experiment's name, for --only."
    return Table(f"{found.name}-matrix", found.title, columns, tuple(rows), note, "experiments")


def _cell(finding: Finding | None, applies: bool) -> Entry:
    if finding is None:
        return Entry("not run" if applies else NONE)
    return Entry(f"{SIGNS[finding.symbol]} {finding.words}", tone=finding.symbol)


def remedies(found: Findings) -> Table | None:
    """What a user should do about each cell that is not ok; arms that share it share a row. None where all is ok."""
    columns = tuple(Column(title, numeric=False) for title in ("Experiment", "Runners", "What happens", "What to do"))
    rows = tuple(
        (
            Entry(experiment.title),
            Entry(listed([finding.arm for finding in same])),
            Entry(" / ".join(dict.fromkeys(f"{SIGNS[f.symbol]} {f.words}" for f in same)), tone=same[0].symbol),
            Entry(same[0].remedy),
        )
        for experiment in found.tried()
        for same in alike([f for f in found.of(experiment) if f.symbol != "ok"], lambda f: (f.symbol, f.remedy))
    )
    return Table(f"{found.name}-remedies", "What to do", columns, rows, rows_are="remedies") if rows else None


def alike(findings: Sequence[Finding], key: Callable[[Finding], Hashable]) -> list[list[Finding]]:
    """Findings that share what `key` gives, together, in order of appearance."""
    groups: dict[Hashable, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(key(finding), []).append(finding)
    return list(groups.values())


def measured(found: Findings) -> Table:
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
            duration(finding.seconds),
        )
        for experiment in found.tried()
        for finding in found.of(experiment)
    )
    return Table(f"{found.name}-facts", "What was measured", columns, rows, rows_are="findings")


def about(found: Findings) -> Table | None:
    """What else is known of each experiment; None where nothing is."""
    titles = list(dict.fromkeys(title for experiment in found.tried() for title in experiment.about))
    columns = tuple(Column(title, numeric=False) for title in ("Experiment", *titles))
    rows = tuple(
        (Entry(experiment.title), *(Entry(experiment.about.get(title, NONE)) for title in titles))
        for experiment in found.tried()
        if experiment.about
    )
    return Table(f"{found.name}-about", "More about each", columns, rows, rows_are="experiments") if rows else None


def environment(found: Findings) -> Table:
    """Versions and machine."""
    versions = found.environment.get("versions")
    described = {**found.environment, **(versions if isinstance(versions, dict) else {})}
    rows = tuple(
        (Entry(printable(name, 80)), Entry(_fact(value)))
        for name, value in described.items()
        if isinstance(value, str | int | float)
    )
    columns = (Column("What", numeric=False), Column("Value", numeric=False))
    return Table(f"{found.name}-environment", "Versions and machine", columns, rows, rows_are="facts")
