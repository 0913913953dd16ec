"""Tables as the terminal shows them."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.pages import tables, terminal
from tests.reports import synthetic


def test_a_table_too_wide_for_the_terminal_keeps_the_names_of_its_arms():
    columns = (tables.Column("Arm", numeric=False), *(tables.Column(f"figure number {i}") for i in range(14)))
    row = (tables.Entry("lean-processes"), *(tables.Entry("1,234.5 ms") for _ in range(14)))
    shown = StringIO()
    terminal.show_table(tables.Table("wide", "Wide", columns, (row,)), Console(file=shown, width=80))
    assert "lean-processes" in shown.getvalue()


def test_the_verdicts_table_keeps_the_names_of_its_runners(tmp_path):
    rival = synthetic.Truth("lean-processes", "processes", startup_s=0.1, fixed_s=0.05, per_task_s=0.001, noise=0.01)
    cells = synthetic.every_suite(durations=(0.05, 0.2, 1.0, 4.0))
    records = synthetic.records((synthetic.THREADS, synthetic.CONTROL, rival), cells, blocks=5, drift=0)
    lines = terminal.decision_lines(summarise(synthetic.write(tmp_path, records)))
    assert any(line.count("lean-processes") == 4 for line in lines)
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)
