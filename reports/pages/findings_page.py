"""A page of the documentation that shows what a command's experiments have found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

from runner_lab.records.findings import Findings, Symbol
from runner_lab.reports.pages import findings_tables, generated, markdown
from runner_lab.reports.pages.tables import Column, Entry, Table
from runner_lab.reports.words.units import SIGNS, listed, plural, printable

MATRIX, FACTS = "matrix", "facts"


def put(page: Path, found: Findings) -> None:
    """Put the matrix and the facts behind it between the page's markers, with links to the code from its folder.

    Raises:
        RecordError: the page cannot be written, or lacks the markers.
    """
    headline = markdown.escape(findings_tables.headline(found))
    counts = markdown.lines_of(_counts(found))
    matrix = markdown.lines_of(findings_tables.matrix(found, "../"))
    generated.put(page, MATRIX, "\n".join([headline, "", *counts, "", *matrix]))
    facts = findings_tables.measured(found)
    summary = f"{facts.caption}: {plural(len(facts.rows), 'finding')}"
    folded = ['<details markdown="1"><summary>' + markdown.escape(summary) + "</summary>", ""]
    folded += [*markdown.lines_of(facts), "", "</details>", "", markdown.escape(_measured_with(found))]
    generated.put(page, FACTS, "\n".join(folded))


def _counts(found: Findings) -> Table:
    """How many findings of each kind each arm has."""
    symbols = [symbol for symbol in get_args(Symbol) if any(one.symbol == symbol for one in found.findings)]
    columns = (
        Column("Runner", numeric=False),
        *(Column(f"{SIGNS[symbol]} {findings_tables.MEANINGS[symbol]}") for symbol in symbols),
    )
    counts: dict[str, Counter[str]] = {
        arm: Counter(one.symbol for one in found.findings if one.arm == arm) for arm in found.measured_arms()
    }
    rows = tuple((Entry(arm), *(Entry(str(of[symbol])) for symbol in symbols)) for arm, of in counts.items())
    return Table(f"{found.name}-counts", "Findings by runner", columns, rows, rows_are="runners")


def _measured_with(found: Findings) -> str:
    versions = found.environment.get("versions")
    told = [f"{name} {version}" for name, version in versions.items()] if isinstance(versions, dict) else []
    days = dict.fromkeys(at[:10] for at in (found.started_at, found.finished_at) if at)
    return printable(f"Measured with {listed(told)}, {' to '.join(days)}.", 600)
