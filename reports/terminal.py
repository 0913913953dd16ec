"""Answers and differences on a terminal, by rich; records may hold anything, so nothing is read as markup."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from reports import answer as words
from reports import units
from reports.choice import Answer

PLACES = {"submit": "driver", "workers": "workers", "gil": "GIL", "machine": "cores"}


def show(answer: Answer, out: Console) -> None:
    """The answer: headline, table, reasons, cautions."""
    _say(out, f"{words.question(answer)}. Run {answer.run_id}.")
    out.print(Text(words.headline(answer), style="bold"))
    table = Table(
        "arm",
        *(Column(title, justify="right") for title in ("time", "95 %", "CPU s", "memory")),
        "busiest",
        box=SIMPLE_HEAD,
    )
    for arm in answer.ranked:
        table.add_row(
            Text(arm.arm),
            units.seconds(arm.seconds),
            words.between(arm),
            units.digits(arm.cpu_s),
            units.NONE if arm.memory_bytes is None else units.size(arm.memory_bytes),
            PLACES[arm.bottleneck],
            style="bold" if arm.leads else None,
        )
    out.print(table)
    for title, lines in (
        ("Why", words.reasons(answer)),
        ("What no stopwatch shows", words.beyond_time(answer)),
        ("How far to trust it", answer.cautions),
    ):
        if lines:
            out.print(Text(title, style="bold"))
            for line in lines:
                out.print(Padding(Text(line), (0, 0, 0, 2)))


def _say(out: Console, line: str) -> None:
    out.print(line, markup=False, highlight=False)
