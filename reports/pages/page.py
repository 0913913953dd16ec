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
from runner_lab.reports.pages import calculator, comparison_tables, findings_tables, folds, tables


def html(
    summary: Summary,
    verdict: Sequence[str],
    warnings: Sequence[str],
    charts: Sequence[Chart],
    findings: Sequence[Findings] = (),
) -> str:
    """The page. Whatever comes from the records is escaped; nothing is fetched from anywhere."""
    drawn = [chart for chart in charts if chart.missing is None]
    first = [chart for chart in drawn if chart.name in FIRST_SCREEN]
    return filled(
        "report.html.j2",
        run=summary.run,
        calculator=_embedded(calculator.data(summary, [panel for chart in first for panel in chart.panels])),
        away=any(arm.costs.api_trips is not None for arm in summary.model.arms),
        cold=any(arm.costs.cold_s is not None for arm in summary.model.arms),
        verdict=verdict,
        warnings=warnings,
        decisions=None if summary.flow else tables.decided(summary),
        bars=comparison_tables.bars(summary) if summary.flow else [],
        sure=[table for table in (tables.checked(summary), tables.regret(summary)) if table is not None],
        checked=[chart for chart in drawn if chart.name in folds.IN_HOW_SURE],
        title=titled(summary),
        first=first,
        folds=folds.of(summary, charts),
        measurements=folds.measurements(summary),
        failures=tables.failures(summary),
        environment=tables.environment(summary),
        findings=_sections(findings),
    )


def _embedded(data: str | None) -> Markup | None:
    return None if data is None else Markup(data)


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
    # The calculator's script reads its data as it starts: it is on the pages that have some.
    scripts = ("report.js", "calculator.js") if values.get("calculator") else ("report.js",)
    script = "\n".join(map(_source, scripts))
    style = _source("report.css")
    return environment.get_template(template).render(
        **values,
        drawing=lambda chart: Markup(chart.inline),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(
            style.replace("/*light*/", svg.variables(dark=False)).replace("/*dark*/", svg.variables(dark=True))
        ),
    )


def titled(summary: Summary) -> str:
    """The question that the run answers."""
    return f"Which task runner for {summary.flow.name}?" if summary.flow else "Which Prefect task runner?"


def _source(name: str) -> str:
    return (resources.files("runner_lab.reports.pages") / "templates" / name).read_text(encoding="utf-8")
