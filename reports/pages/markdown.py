"""`report.md`: the report for a pull request, its charts as files beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from runner_lab.records.findings import Findings
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import FIRST_SCREEN, Chart
from runner_lab.reports.pages import comparison_tables, findings_tables, suite_tables, tables
from runner_lab.reports.pages.page import every_cell, titled
from runner_lab.reports.pages.tables import Entry, Table

_OF_ADDRESSES = "/:?#@!$&'*+,;=%"
"""What stands for itself in an address, beside letters and digits: not brackets, which end a link in Markdown."""


def text(
    summary: Summary,
    verdict: Sequence[str],
    warnings: Sequence[str],
    charts: Sequence[Chart],
    findings: Sequence[Findings] = (),
) -> str:
    """GitHub-flavoured Markdown. Whatever comes from the records is escaped."""
    run = summary.run
    facts = [f"Run {escape(run.run_id)}", f"profile {escape(run.profile)}" if run.profile else "", run.place or ""]
    facts += [f"{run.blocks} blocks", f"{run.measured} measurements", escape(run.started_at or "")]
    lines = [f"# {escape(titled(summary))}", ""]
    if run.partial:
        lines += [f"**PARTIAL: {escape(run.partial)}**", ""]
    lines += [" · ".join(filter(None, facts)), "", "## Verdict", ""]
    if not summary.flow and (decided := tables.decided(summary)):
        lines += [*lines_of(decided), ""]
    lines += [f"- {escape(line)}" for line in verdict]
    if warnings:
        lines += ["", "## Before you rely on it", "", *(f"- {escape(line)}" for line in warnings)]
    for chart in charts:
        if chart.name in FIRST_SCREEN:
            lines += ["", f"## {escape(chart.title)}", "", *_chart(chart)]
    for table in (tables.checked(summary), tables.regret(summary)):
        if table is not None:
            lines += ["", f"## {escape(table.caption)}", "", *lines_of(table)]
    lines += [
        "",
        "## The arms",
        "",
        *lines_of(comparison_tables.main(summary) if summary.flow else tables.main(summary)),
    ]
    if not summary.flow and (versus := tables.against_baseline(summary)):
        lines += ["", "## Against the baseline", "", *lines_of(versus)]
    for table in (*suite_tables.of(summary), *([stages] if (stages := tables.task_stages(summary)) else [])):
        lines += ["", f"## {escape(table.caption)}, in figures", "", *lines_of(table)]
    for found in findings:
        lines += ["", f"## {escape(found.title)}", "", *section(found)]
    others = [chart for chart in charts if chart.name not in FIRST_SCREEN]
    lines += ["", "## Charts"] if others else []
    for chart in others:
        lines += ["", f"### {escape(chart.title)}", "", *_chart(chart)]
    lines += ["", "## Every cell"]
    for table in every_cell(summary):
        lines += ["", *_folded(f"{table.caption}: {len(table.rows)} {table.rows_are}", lines_of(table))]
    if failures := tables.failures(summary):
        lines += ["", "## Failures", "", *lines_of(failures)]
    lines += ["", "## Environment", ""]
    if run.command:
        lines += [f"Command: {escape(run.command)}", ""]
    lines += _folded("Versions and machine", lines_of(tables.environment(summary)))
    return "\n".join(lines) + "\n"


def alone(findings: Sequence[Findings], warnings: Sequence[str]) -> str:
    """A folder that holds findings and no records."""
    lines = [f"# {escape(findings[0].title)}", ""]
    lines += [*(f"- {escape(line)}" for line in warnings), ""] if warnings else []
    for place, found in enumerate(findings):
        lines += ([f"## {escape(found.title)}", ""] if place else []) + [*section(found), ""]
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
    if chart.missing is not None:
        return [f"Not drawn. {escape(chart.missing)}"]
    alternative = escape(f"{chart.title}: {chart.takeaway}")
    return [escape(chart.takeaway), "", f"![{alternative}](charts/{chart.name}.png)", "", escape(chart.reading)]


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
