"""What `runner-lab placement` found: a table on the terminal, and the same in Markdown."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from runner_lab.reports.words import units

TITLES = ("way", "runner", "places", "proven", "median")


def show(report: dict[str, Any], out: Console) -> None:
    """The findings as a table, then what each way that failed did instead, and where all of it is."""
    table = Table(
        Column(TITLES[0], overflow="fold"),
        TITLES[1],
        TITLES[2],
        TITLES[3],
        Column(TITLES[4], justify="right"),
        box=SIMPLE_HEAD,
    )
    for finding in report["findings"]:
        table.add_row(*(Text(cell) for cell in cells(finding)))
    out.print(table)
    for finding in report["findings"]:
        if not finding["proven"]:
            out.print(Text(f"{finding['asks']} ({finding['runner']}): {instead(finding)}"))
    out.print(f"findings: {report['folder']}/placement.json", markup=False, highlight=False, soft_wrap=True)


def markdown(report: dict[str, Any]) -> str:
    """The same table, with what each way needs and cannot do; where runners share a way, they share a row."""
    titles = ("way", "places", "needs", "proven", "one placement, median", "cannot")
    rows = [titles, ("---",) * len(titles)]
    ways: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for finding in report["findings"]:
        ways.setdefault((finding["group"], finding["way"]), []).append(finding)
    for (group, _), findings in ways.items():
        first = findings[0]
        rows.append(
            (
                f"{group}: {first['asks']}",
                first["unit"],
                first["needs"],
                "<br>".join(f"{finding['runner']}: {cells(finding)[3]}" for finding in findings),
                "<br>".join(f"{finding['runner']}: {cells(finding)[4]}" for finding in findings),
                first["cannot"],
            )
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def cells(finding: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table."""
    milliseconds = finding["placement_ms"]
    as_asked = sum(_as_asked(visit) for visit in finding["visits"])
    return (
        finding["asks"],
        finding["runner"],
        finding["unit"],
        f"{'yes' if finding['proven'] else 'no'}, {as_asked}/{len(finding['visits'])}",
        units.NONE if milliseconds is None else units.seconds(milliseconds / 1e3),
    )


def instead(finding: dict[str, Any]) -> str:
    """What happened where a way did not place its tasks."""
    if finding["error"]:
        return finding["error"]
    wrong = {(visit["asked"], " and ".join(visit["landed"])) for visit in finding["visits"] if not _as_asked(visit)}
    return "; ".join(f"asked for {asked}, landed in {landed}" for asked, landed in sorted(wrong))


def _as_asked(visit: dict[str, Any]) -> bool:
    return visit["landed"] == [visit["asked"]]
