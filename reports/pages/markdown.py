"""`report.md`, the report for a pull request, and `details.md`; their charts are files beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from runner_lab.records.findings import Findings
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import FIRST_SCREEN, Chart
from runner_lab.reports.pages import comparison_tables, findings_tables, folds, tables
from runner_lab.reports.pages.page import titled
from runner_lab.reports.pages.tables import Entry, Table
from runner_lab.reports.words import units

REPORT, DETAILS = "report.md", "details.md"
MOST_ROWS = 24
"""Rows of a table on the page for a pull request."""
_OF_ADDRESSES = "/:?#@!$&'*+,;=%"
"""What stands for itself in an address, beside letters and digits: not brackets, which end a link in Markdown."""


def text(
    summary: Summary,
    verdict: Sequence[str],
    warnings: Sequence[str],
    charts: Sequence[Chart],
    findings: Sequence[Findings] = (),
) -> str:
    """The page for a pull request, GitHub-flavoured, at most 120 lines. Whatever comes from the records is escaped."""
    run = summary.run
    lines = [*heading(summary), "## Verdict", ""]
    if not summary.flow and (decided := tables.decided(summary)):
        lines += [*lines_of(decided), ""]
    lines += [f"- {escape(line)}" for line in verdict]
    if summary.flow:
        lines += ["", "## The runners", "", *_most(comparison_tables.main(summary))]
    if warnings:
        lines += ["", "## Before you rely on it", "", *(f"- {escape(line)}" for line in warnings)]
    for chart in charts:
        if chart.name in FIRST_SCREEN and chart.missing is None:
            lines += ["", f"## {escape(chart.title)}", "", *_chart(chart)]
    if (checked := tables.checked(summary)) is not None:
        lines += ["", f"## {escape(checked.caption)}", "", *_most(checked)]
    if (regret := tables.regret(summary)) is not None:
        lines += ["", f"## {escape(regret.caption)}", "", escape(regret.note)]
    for found in findings:
        lines += ["", f"## {escape(found.title)}", "", escape(findings_tables.headline(found))]
    facts = [f"Run {escape(run.run_id)}", f"profile {escape(run.profile)}" if run.profile else "", run.place or ""]
    facts += [
        units.plural(run.blocks, "block"),
        units.plural(run.measured, "measurement"),
        escape(run.started_at or ""),
    ]
    lines += ["", f"{linked('All tables and charts', DETAILS)}. {' · '.join(filter(None, facts))}."]
    return "\n".join(lines) + "\n"


def details(summary: Summary, charts: Sequence[Chart], findings: Sequence[Findings] = ()) -> str:
    """Every table and chart of the run, for who wants to check."""
    run = summary.run
    lines = [f"# Details of run {escape(run.run_id)}", "", f"The answer is in {linked('report.md', REPORT)}."]
    if (regret := tables.regret(summary)) is not None:
        lines += ["", f"## {escape(regret.caption)}", "", *lines_of(regret)]
    if (checked := tables.checked(summary)) is not None:
        lines += ["", f"## {escape(checked.caption)}", "", *lines_of(checked)]
    for chart in charts:
        if chart.name in folds.IN_HOW_SURE and chart.missing is None:
            lines += ["", f"## {escape(chart.title)}", "", *_chart(chart)]
    for fold in folds.of(summary, charts):
        lines += ["", f"## {escape(fold.title)}", ""]
        lines += _chart(fold.chart) if fold.chart else [escape(fold.finding)]
        for table in fold.tables:
            lines += ["", *lines_of(table)]
    for found in findings:
        lines += ["", f"## {escape(found.title)}", "", *section(found)]
    lines += ["", "## All measurements"]
    for fold in folds.measurements(summary):
        lines += ["", *_folded(f"{fold.title}: {fold.finding}", lines_of(fold.tables[0]))]
    if failures := tables.failures(summary):
        lines += ["", "## Failures", "", *lines_of(failures)]
    lines += ["", "## Environment", ""]
    if run.command:
        lines += [f"Command: {escape(run.command)}", ""]
    lines += _folded("Versions and machine", lines_of(tables.environment(summary)))
    return "\n".join(lines) + "\n"


def alone(findings: Sequence[Findings], warnings: Sequence[str]) -> str:
    """A folder that holds findings and no records: what was found, and where the rest is."""
    lines = [f"# {escape(findings[0].title)}", ""]
    lines += [*(f"- {escape(line)}" for line in warnings), ""] if warnings else []
    for place, found in enumerate(findings):
        lines += [f"## {escape(found.title)}", ""] if place else []
        lines += [escape(findings_tables.headline(found)), "", *_most(findings_tables.matrix(found)), ""]
    return "\n".join([*lines, f"What to do about each, and the facts: {linked('details', DETAILS)}."]) + "\n"


def details_alone(findings: Sequence[Findings]) -> str:
    """The details of such a folder."""
    lines = [f"# Details of {escape(findings[0].title)}"]
    for found in findings:
        lines += ["", f"## {escape(found.title)}", "", *section(found), ""]
        lines += _folded("Versions and machine", lines_of(findings_tables.environment(found)))
    return "\n".join(lines) + "\n"


def section(found: Findings, root: str | None = None) -> list[str]:
    """The lines below its heading; `root` leads from the page to the repository, for links to the code."""
    lines = [escape(findings_tables.headline(found)), "", *lines_of(findings_tables.matrix(found, root))]
    if remedies := findings_tables.remedies(found):
        lines += ["", f"### {escape(remedies.caption)}", "", *lines_of(remedies)]
    if about := findings_tables.about(found):
        lines += ["", f"### {escape(about.caption)}", "", *lines_of(about)]
    facts = findings_tables.measured(found)
    return [*lines, "", *_folded(f"{facts.caption}: {len(facts.rows)} {facts.rows_are}", lines_of(facts))]


def heading(summary: Summary) -> list[str]:
    """The title of a page about the run, and what is missing of the run."""
    partial = summary.run.partial
    return [f"# {escape(titled(summary))}", "", *([f"**PARTIAL: {escape(partial)}**", ""] if partial else [])]


def escape(text: str) -> str:
    """Text that Markdown and the HTML in it leave as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#@$])", _entity, text).replace("://", "&#58;//").replace("www.", "www&#46;")


def linked(text: str, target: str) -> str:
    """A link to a path or an address, none of whose characters ends it or the table that it stands in."""
    return f"[{escape(text)}]({quote(target, safe=_OF_ADDRESSES, errors='replace')})"


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match.group())};"


def _chart(chart: Chart) -> list[str]:
    file = f"charts/{chart.name}.{'png' if chart.png else 'svg'}"
    alternative = escape(f"{chart.title}: {chart.takeaway}")
    return [escape(chart.takeaway), "", f"![{alternative}]({file})", "", escape(chart.reading)]


def _most(table: Table) -> list[str]:
    """The table, or its first rows where they are many."""
    lines = lines_of(replace(table, rows=table.rows[:MOST_ROWS]))
    more = len(table.rows) - MOST_ROWS
    return [*lines, "", f"{more} more: {linked('details', DETAILS)}."] if more > 0 else lines


def lines_of(table: Table) -> list[str]:
    """The table in Markdown, its note above it."""
    head = "| " + " | ".join(escape(column.title) for column in table.columns) + " |"
    rule = "|" + "|".join(" ---: " if column.numeric else " --- " for column in table.columns) + "|"
    rows = ["| " + " | ".join(_entry(entry) for entry in row) + " |" for row in table.rows]
    return [*([escape(table.note), ""] if table.note else []), head, rule, *rows]


def _entry(entry: Entry) -> str:
    detail = f"<br><sub>{escape(', '.join(entry.detail.splitlines()))}</sub>" if entry.detail else ""
    text = linked(entry.text, entry.link) if entry.link else escape(entry.text)
    return text + detail


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return [f"<details><summary>{escape(title)}</summary>", "", *lines, "", "</details>"]
