"""The tables of a run that compares a user's flow."""

from __future__ import annotations

from dataclasses import dataclass

from runner_lab.records.record import COMPARE, TROUBLED, YOURS, FlowRun
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style, svg
from runner_lab.reports.pages.tables import Column, Entry, Table, arm_entry, duration, ratio, scaled, seconds
from runner_lab.reports.words import comparison, units


def main(summary: Summary) -> Table:
    """An arm a row: how long the flow took, at what cost, and what came of it."""
    assert summary.flow is not None
    baseline = summary.label(summary.run.baseline)
    columns = (
        Column("Runner", numeric=False),
        Column("Time", "Call of the flow to its return, on workers that are up; geometric mean over blocks."),
        Column("Slots", "Tasks that run at the same time.", numeric=False),
        Column(f"Against {baseline}", "Paired by block, with its verdict."),
        Column("CPU s", "Driver, workers and server together."),
        Column("Peak MB", "Driver and workers together."),
        Column("Result", "Against the first one of this run.", numeric=False),
    )
    note = (
        f"{summary.flow.name}, from {summary.flow.file}.{_yours(summary)} Small print: 95 % interval and n, the blocks."
    )
    rows = tuple(_arm_row(row.arm, cell, summary) for row in summary.rows for cell in _cell(summary, row.arm.name))
    return Table("arms", "Every runner", columns, rows, note)


def _yours(summary: Summary) -> str:
    """What the flow's own runner is, where it takes part."""
    yours = summary.arm(YOURS)
    if yours is None or summary.flow is None:
        return ""
    runner = yours.runner.rpartition(".")[2]
    if not summary.flow.own_runner:
        return f" yours: {runner}, Prefect's default, since the flow declares none."
    starts = " What it starts in every run counts." if yours.traits.reach != "process" else ""
    return f" yours: {runner}, as the flow declares it.{starts}"


@dataclass(frozen=True)
class TimeBar:
    """A runner in the ranking: its mean time as a bar, the interval as a line; shares of the longest bar in per cent.

    tag: against the baseline, in words. cut: the bar is longer than what is drawn of it.
    """

    label: str
    slots: str
    tag: str
    time: str
    interval: str
    memory: str
    colour: str
    lean: bool
    share: float
    low: float | None
    high: float | None
    cut: bool


CUT = 10
"""Times the fastest one's time beyond which a bar is cut: the others stay readable."""


def bars(summary: Summary) -> list[TimeBar]:
    """The runners that ended well, the fastest first."""
    timed = [(arm, cell, cell.time_s) for arm, cell in comparison.ranked(summary) if cell.time_s is not None]
    if not timed:
        return []
    most_s = max(time.high if time.high and not time.vague else time.value for _, _, time in timed)
    longest_s = min(most_s, CUT * timed[0][2].value)
    marks = style.marks(summary.arms)
    found = []
    for arm, cell, time in timed:
        shown = time.low is not None and time.high is not None and not time.vague and time.low < longest_s
        memory = cell.peak_rss_bytes.own
        found.append(
            TimeBar(
                label=arm.label,
                slots=comparison.slots(arm),
                tag=ratio(cell.versus, arm.name == summary.run.baseline).text,
                time=units.seconds(time.value),
                interval=units.interval(time, told=units.seconds),
                memory=units.NONE if memory is None else units.size(memory),
                colour=svg.variable(marks[arm.name].colour),
                lean=arm.lean,
                share=min(100 * time.value / longest_s, 100.0),
                low=100 * time.low / longest_s if shown and time.low is not None else None,
                high=min(100 * time.high / longest_s, 100.0) if shown and time.high is not None else None,
                cut=time.value > longest_s,
            )
        )
    return found


def measurements(summary: Summary) -> Table:
    """A measurement a row, in the order of the arms and blocks."""
    columns = (
        Column("Arm", numeric=False),
        Column("Block"),
        Column("Time", "Call of the flow to its return."),
        Column("To the runner", "Task runs that the flow handed to the arm's runner."),
        Column("Task runs", "By final state.", numeric=False),
        Column("What came of it", "Its result against the first one of this run, or why it failed.", numeric=False),
    )
    rows = tuple(
        _measurement(row.arm, block, cell)
        for row in summary.rows
        for cell in _cell(summary, row.arm.name)
        for block in sorted({*cell.by_block, *dict(cell.errors)})
    )
    name = summary.flow.name if summary.flow else ""
    return Table("measurements", name, columns, rows, rows_are="measurements")


def _cell(summary: Summary, arm: str) -> list[Cell]:
    return [cell for cell in summary.cells if (cell.suite, cell.arm) == (COMPARE, arm)]


def _arm_row(arm: Arm, cell: Cell, summary: Summary) -> tuple[Entry, ...]:
    runs = list(cell.flow_runs.values())
    kind = "baseline again" if arm.role == "control" else "lean" if arm.lean else ""
    memory = cell.peak_rss_bytes.own
    return (
        arm_entry(arm.label, cell.failed, kind),
        seconds(cell.time_s),
        Entry(comparison.slots(arm) or "not known", sort=arm.workers or None),
        ratio(cell.versus, arm.name == summary.run.baseline),
        scaled(cell.cpu_total_s),
        Entry(units.NONE) if memory is None else Entry(units.digits(memory / 1e6), sort=memory),
        _result(runs),
    )


def _measurement(arm: Arm, block: int, cell: Cell) -> tuple[Entry, ...]:
    error = dict(cell.errors).get(block)
    time, run = cell.by_block.get(block), cell.flow_runs.get(block)
    runs = [run] if run else []
    came = Entry(units.printable(error, 300), tone="failed") if error is not None else _result(runs)
    return (
        Entry(arm.label),
        Entry(str(block), sort=block),
        duration(time),
        _submitted(runs),
        _states(runs),
        came,
    )


def _submitted(runs: list[FlowRun]) -> Entry:
    if not runs:
        return Entry(units.NONE)
    submitted, every = sum(run.submitted for run in runs), sum(run.tasks for run in runs)
    return Entry(f"{submitted} of {every}", sort=submitted, tone="" if submitted else "failed")


def _states(runs: list[FlowRun]) -> Entry:
    states = comparison.states_of(runs)
    wrong = any(states[name] for name in TROUBLED)
    return (
        Entry(units.printable(comparison.told(states)), tone="failed" if wrong else "") if runs else Entry(units.NONE)
    )


def _result(runs: list[FlowRun]) -> Entry:
    """The worst of the runs."""
    names = {
        **{"different": "another", "unsteady": "not compared", "unchecked": "not compared", "unasked": "not compared"},
        **{"nothing": "None", "same": "the same"},
    }
    for result, told in names.items():
        for run in runs:
            if run.result == result:
                return Entry(told, units.printable(run.remark, 160), tone="failed" if result == "different" else "")
    return Entry(units.NONE)
