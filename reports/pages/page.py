"""`report.html`: one file that needs nothing else, offline, light and dark, on a phone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from runner_lab.records.findings import Findings
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import FIRST_SCREEN, Chart, svg
from runner_lab.reports.pages import comparison_tables, findings_tables, suite_tables, tables


def html(
    summary: Summary,
    verdict: Sequence[str],
    warnings: Sequence[str],
    charts: Sequence[Chart],
    findings: Sequence[Findings] = (),
) -> str:
    """The page. Whatever comes from the records is escaped; nothing is fetched from anywhere."""
    drawn = [(chart, Markup(chart.inline) if chart.missing is None else "") for chart in charts]
    return filled(
        "report.html.j2",
        run=summary.run,
        verdict=verdict,
        warnings=warnings,
        decisions=None if summary.flow else tables.decided(summary),
        sure=[table for table in (tables.checked(summary), tables.regret(summary)) if table is not None],
        title=titled(summary),
        main=comparison_tables.main(summary) if summary.flow else tables.main(summary),
        versus=None if summary.flow else tables.against_baseline(summary),
        figures=[*suite_tables.of(summary), *([stages] if (stages := tables.task_stages(summary)) else [])],
        first=[pair for pair in drawn if pair[0].name in FIRST_SCREEN],
        charts=[pair for pair in drawn if pair[0].name not in FIRST_SCREEN],
        cells=every_cell(summary),
        failures=tables.failures(summary),
        environment=tables.environment(summary),
        noise=summary.noise,
        findings=_sections(findings),
    )


def alone(findings: Sequence[Findings], warnings: Sequence[str]) -> str:
    """The page of a folder that holds findings of experiments, and no records."""
    return filled(
        "findings.html.j2",
        title=findings[0].title,
        warnings=warnings,
        findings=_sections(findings),
        environments=[findings_tables.environment(found) for found in findings],
    )


def _sections(findings: Sequence[Findings]) -> list[dict[str, Any]]:
    return [
        {
            "name": found.name,
            "title": found.title,
            "headline": findings_tables.headline(found),
            "matrix": findings_tables.matrix(found),
            "remedies": findings_tables.remedies(found),
            "about": findings_tables.about(found),
            "facts": findings_tables.measured(found),
        }
        for found in findings
    ]


def filled(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("runner_lab.reports.pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    script, style = _source("report.js"), _source("report.css")
    return environment.get_template(template).render(
        **values,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(
            style.replace("/*light*/", svg.variables(dark=False)).replace("/*dark*/", svg.variables(dark=True))
        ),
    )


def titled(summary: Summary) -> str:
    """The question that the run answers."""
    return f"Which task runner for {summary.flow.name}?" if summary.flow else "Which Prefect task runner?"


def every_cell(summary: Summary) -> list[tables.Table]:
    """A table for each suite; of a user's flow one of its measurements."""
    if summary.flow:
        return [comparison_tables.measurements(summary)]
    return [tables.cells_of(summary, suite) for suite in summary.suites]


def _source(name: str) -> str:
    return (resources.files("runner_lab.reports.pages") / "templates" / name).read_text(encoding="utf-8")
