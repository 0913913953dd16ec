"""What `runner-lab hosts` found: a table on the terminal, and the same in Markdown."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from runner_lab.reports.words.units import SIGNS

SCHEMA = 1
FILE = "hosts.json"


def show(report: dict[str, Any], out: Console) -> None:
    """The findings as a table, and where all of it is."""
    titles = Column("what is cut", overflow="fold"), "runner", "", Column("seen", overflow="fold")
    table = Table(*titles, box=SIMPLE_HEAD)
    for finding in _by_experiment(report):
        cells = (finding["title"], finding["arm"], SIGNS[finding["symbol"]], finding["words"])
        table.add_row(*(Text(cell) for cell in cells))
    out.print(table)
    for remedy in dict.fromkeys(finding["remedy"] for finding in report["findings"] if finding["remedy"]):
        out.print(Text(remedy))
    out.print(f"findings: {report['folder']}/{FILE}", markup=False, highlight=False, soft_wrap=True)


def markdown(report: dict[str, Any]) -> str:
    """The same table, an experiment a row and an arm a column."""
    arms = [arm for arm in report["arms"] if any(finding["arm"] == arm for finding in report["findings"])]
    rows = [("", *arms), ("---",) * (1 + len(arms))]
    for experiment in report["experiments"]:
        found = {f["arm"]: f for f in report["findings"] if f["experiment"] == experiment["id"]}
        if found:
            seen = (f"{SIGNS[found[arm]['symbol']]} {found[arm]['words']}" if arm in found else "-" for arm in arms)
            rows.append((experiment["title"], *seen))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"


def _by_experiment(report: dict[str, Any]) -> list[dict[str, Any]]:
    order = [experiment["id"] for experiment in report["experiments"]]
    return sorted(report["findings"], key=lambda f: (order.index(f["experiment"]), report["arms"].index(f["arm"])))
