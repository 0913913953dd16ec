"""What `runner-lab placement` found: a table on the terminal, and the same in Markdown."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from reports import units

TITLES = ("way", "runner", "places", "proven", "as asked", "median")


def show(report: dict[str, Any], out: Console) -> None:
    """The findings as a table, then what each way that failed did instead, and where all of it is."""
    table = Table(
        Column(TITLES[0], overflow="fold"),
        TITLES[1],
        TITLES[2],
        TITLES[3],
        *(Column(title, justify="right") for title in TITLES[4:]),
        box=SIMPLE_HEAD,
    )
    for finding in report["findings"]:
        table.add_row(*(Text(cell) for cell in cells(finding)))
    out.print(table)
    for finding in report["findings"]:
        if not finding["proven"]:
            out.print(Text(f"{finding['asks']} ({finding['runner']}): {instead(finding)}"))
    out.print(f"findings: {report['folder']}/placement.json", markup=False, highlight=False, soft_wrap=True)


def cells(finding: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table."""
    milliseconds = finding["placement_ms"]
    return (
        finding["asks"],
        finding["runner"],
        finding["unit"],
        "yes" if finding["proven"] else "no",
        f"{sum(_as_asked(visit) for visit in finding['visits'])} of {len(finding['visits'])}",
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
