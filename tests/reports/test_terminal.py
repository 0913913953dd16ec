"""Tables as the terminal shows them."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from runner_lab.reports.pages import tables, terminal


def test_a_table_too_wide_for_the_terminal_keeps_the_names_of_its_arms():
    columns = (tables.Column("Arm", numeric=False), *(tables.Column(f"figure number {i}") for i in range(14)))
    row = (tables.Entry("lean-processes"), *(tables.Entry("1,234.5 ms") for _ in range(14)))
    shown = StringIO()
    terminal.show_table(tables.Table("wide", "Wide", columns, (row,)), Console(file=shown, width=80))
    assert "lean-processes" in shown.getvalue()
