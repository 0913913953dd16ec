"""Answers and differences on a terminal, by rich; records may hold anything, so nothing is read as markup."""

from __future__ import annotations

from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from runner_lab.records.findings import Findings
from runner_lab.reports.analysis.statistics import Verdict
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose import answer as words
from runner_lab.reports.choose.choice import Answer, Ranked
from runner_lab.reports.choose.decisions import COUNTS, Decision, decisions
from runner_lab.reports.choose.regret import Regret
from runner_lab.reports.history.difference import Difference
from runner_lab.reports.pages import findings_tables, tables
from runner_lab.reports.words import regret as regret_words
from runner_lab.reports.words import units

WORDS: dict[Verdict, str] = {"slower": "slower", "faster": "faster", "tie": "the same", "inconclusive": "inconclusive"}
PLACES = {
    "submit": "driver",
    "workers": "slots",
    "gil": "GIL",
    "machine": "cores",
    "loop": "event loop",
    "body": "bodies",
}


def decision_lines(summary: Summary, width: int = 80) -> tuple[str, ...]:
    """The verdict's table for the end of a run, at most 18 lines; nothing where the run cannot tell."""
    found = decisions(summary)
    if found is None:
        return ()
    # The longest name of a runner fits into each of the four columns, of 80 in all.
    columns = (f"{tasks:,} tasks" for tasks in COUNTS)
    table = Table("a task", *columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for work, row in found.rows.items():
        table.add_row(work, *(Text(_cell(decision.best, decision)) for decision in row))
        if any(decision.without_async for decision in row):
            # What most people have: tasks that are no async functions.
            others = (_cell(decision.without_async or decision.best, decision) for decision in row)
            table.add_row("  if not async", *map(Text, others))
    text = StringIO()
    Console(width=width, file=text, color_system=None).print(table)
    lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    return (*lines, f"Runner, time {found.start}, x slots. ~ estimate, beyond what was measured.")


def _cell(arm: Ranked, decision: Decision) -> str:
    slots = f", x{arm.slots}" if arm.has_slots else ""
    return f"{arm.arm}\n{'~' if decision.estimate else ''}{units.seconds(arm.seconds)}{slots}"


def show(answer: Answer, out: Console) -> None:
    """The answer: headline, table, reasons, cautions."""
    _say(out, f"{words.question(answer)}. Run {answer.run_id}.")
    out.print(Text(words.headline(answer), style="bold"))
    table = Table(
        "runner",
        *(Column(title, justify="right") for title in ("slots", "time", "90 %", "CPU s", "memory")),
        "limited by",
        box=SIMPLE_HEAD,
    )
    for arm in answer.ranked:
        table.add_row(
            Text(arm.arm),
            str(arm.slots) if arm.has_slots else units.NONE,
            units.seconds(arm.seconds),
            words.between(arm),
            units.digits(arm.cpu_s),
            units.NONE if arm.memory_bytes is None else units.size(arm.memory_bytes),
            PLACES[arm.bottleneck],
            style="bold" if arm.leads else None,
        )
    out.print(table)
    if slots := [f"{units.size(arm.slot_bytes)} under {arm.arm}" for arm in answer.ranked if arm.slot_bytes]:
        _say(out, f"One more slot takes {units.listed(slots)}.")
    for title, lines in (
        ("Why", words.reasons(answer)),
        ("Beyond time", words.beyond_time(answer)),
        ("How far to trust it", answer.cautions),
    ):
        if lines:
            out.print(Text(title, style="bold"))
            for line in lines:
                out.print(Padding(Text(line), (0, 0, 0, 2)))


def show_regret(found: Regret, out: Console) -> None:
    """What was named for each piece of work and what it cost, then the figures over all of it."""
    table = Table(
        "work", "named", *(Column(title, justify="right") for title in ("took", "best", "regret")), box=SIMPLE_HEAD
    )
    for one in found.tested:
        best = "" if one.best is one.named else f"{one.best.arm} "
        table.add_row(
            Text(regret_words.work(one)),
            Text(f"{one.named.arm} x{one.named.slots}" if one.named.has_slots else one.named.arm),
            units.seconds(one.named.measured_s),
            Text(f"{best}{units.seconds(one.best.measured_s)}"),
            f"{one.regret:.2f}",
        )
    out.print(table)
    for line in regret_words.lines(found):
        _say(out, line)


def show_findings(found: Findings, out: Console) -> None:
    """The signs as a matrix, then what each stands for and what to do, experiment by experiment."""
    out.print(Text(found.title, style="bold"))
    _say(out, findings_tables.headline(found))
    # The name of a lean runner on two lines: eight arms have room on a narrow terminal.
    arms = (Column(Text(arm.replace("lean-", "lean-\n")), justify="center") for arm in found.measured_arms())
    table = Table(Column("experiment", overflow="fold", max_width=34), *arms, box=SIMPLE_HEAD)
    for experiment in found.tried():
        signs = {finding.arm: finding.symbol for finding in found.of(experiment)}
        cells = (_sign(signs[arm]) if arm in signs else Text(units.NONE) for arm in found.measured_arms())
        table.add_row(Text(experiment.title), *cells)
    out.print(table)
    for experiment in found.tried():
        _say(out, f"{experiment.title} ({experiment.code})", style="bold")
        for alike in findings_tables.alike(found.of(experiment), lambda finding: (finding.words, finding.remedy)):
            line = Text(f"{units.listed([finding.arm for finding in alike])}: {alike[0].words}")
            out.print(Padding(Text.assemble(_sign(alike[0].symbol), " ", line), (0, 0, 0, 2)))
            if alike[0].symbol != "ok" and alike[0].remedy:
                out.print(Padding(Text(f"To do: {alike[0].remedy}"), (0, 0, 0, 4)))


def _sign(symbol: str) -> Text:
    return Text(units.SIGNS[symbol], style={"ok": "green", "warn": "yellow", "bad": "bold red"}.get(symbol, ""))


def show_difference(found: Difference, out: Console) -> None:
    """What is not alike about the runs first, then the cells that changed, then how many did not."""
    for line in (*found.facts, *found.cautions):
        _say(out, line)
    changed = [*found.of("slower"), *found.of("faster")]
    if changed:
        table = Table(
            "cell",
            *(Column(title, justify="right") for title in ("B / A", "95 %", "noise")),
            "verdict",
            box=SIMPLE_HEAD,
        )
        for cell in changed:
            table.add_row(
                Text(units.printable(cell.cell)),
                units.times(cell.ratio.value),
                units.interval(cell.ratio),
                f"\u00b1{units.percent(cell.threshold)}",
                cell.verdict,
            )
        out.print(table)
    counts = [f"{len(found.of(v))} {word}" for v, word in WORDS.items()]
    _say(out, f"{found.b} against {found.a}, {units.plural(len(found.cells), 'cell')}: {', '.join(counts)}.")
    for name, cells in ((found.a, found.only_a), (found.b, found.only_b)):
        if cells:
            shown = ", ".join(units.printable(cell, 60) for cell in cells[:3])
            _say(out, f"Only in {name}: {units.plural(len(cells), 'cell')} ({shown}{', ...' if cells[3:] else ''}).")


def show_table(table: tables.Table, out: Console, small: bool = False) -> None:
    """A table of the report and its note; the `small` print of its entries where it is asked for."""
    shown = Table(box=SIMPLE_HEAD)
    for column in table.columns:
        # Figures share what room the names leave.
        shown.add_column(Text(column.title), justify="right" if column.numeric else "left", no_wrap=not column.numeric)
    for row in table.rows:
        shown.add_row(
            *(Text(f"{entry.text}\n{entry.detail}" if small and entry.detail else entry.text) for entry in row)
        )
    # Wider than many a terminal: better broken there than cut to what cannot be read.
    Console(file=out.file, width=max(out.width, 140)).print(shown)
    if table.note:
        _say(out, table.note)


def _say(out: Console, line: str, style: str | None = None) -> None:
    out.print(line, style=style, markup=False, highlight=False)
