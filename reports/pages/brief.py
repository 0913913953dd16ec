"""The run in short, for a page that is not the lab's own: a verdict in Markdown and a table of plain words."""

from __future__ import annotations

from collections.abc import Sequence

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.pages import comparison_tables, tables
from runner_lab.reports.pages.markdown import escape, heading, linked
from runner_lab.reports.words import advice, units, verdict

Rows = list[dict[str, str]]


def text(summary: Summary, report: str | None = None, news: Sequence[str] = ()) -> str:
    """Verdict, what is new since the run before, and what to know before one relies on it.

    Args:
        summary: of the run.
        report: where the report is, a URL or a path.
        news: what changed since the run before, a line each.
    """
    run = summary.run
    lines = [*heading(summary), *(f"- {escape(line)}" for line in verdict.of(summary))]
    for title, told in (
        ("Since the run before", news),
        ("Before you rely on it", advice.warnings(summary)),
    ):
        if told:
            lines += ["", f"## {title}", "", *(f"- {escape(line)}" for line in told)]
    where = f"Report: `{report}`" if report else ""
    if report and report.startswith("http"):
        where = linked("Report", report)
    facts = [
        f"Run {escape(run.run_id)}",
        units.plural(run.blocks, "block"),
        f"{run.measured} measurements",
        run.place or "",
    ]
    lines += ["", " · ".join(filter(None, facts)), *(["", where] if where else [])]
    return "\n".join(lines) + "\n"


def rows(summary: Summary) -> Rows:
    """The table of arms: a dictionary an arm, its figures without small print."""
    table = comparison_tables.main(summary) if summary.flow else tables.main(summary)
    return [{column.title: entry.text for column, entry in zip(table.columns, row, strict=True)} for row in table.rows]
