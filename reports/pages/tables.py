"""The tables, once for every format: text, a smaller detail, and what to sort by."""

from __future__ import annotations

import statistics as exact
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner_lab.records.graph import AnyGraph
from runner_lab.records.task_stages import HINTS
from runner_lab.reports.analysis.cells import Cell, Quantiles, Split
from runner_lab.reports.analysis.statistics import Comparison, Estimate
from runner_lab.reports.analysis.summary import ArmRow, Summary
from runner_lab.reports.choose import regret as regrets
from runner_lab.reports.choose.decisions import COUNTS, Decision, decisions
from runner_lab.reports.model.judgement import HeldOut
from runner_lab.reports.words import comparison, units
from runner_lab.reports.words import regret as regret_words


@dataclass(frozen=True)
class Entry:
    """One table cell. `detail` is its interval and n, a line each; `sort` a number, or the text where there is none.

    `link`: where the text leads, in Markdown.
    """

    text: str
    detail: str = ""
    sort: float | None = None
    tone: str = ""
    link: str = ""


@dataclass(frozen=True)
class Column:
    """`hint` explains the figure in a sentence."""

    title: str
    hint: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""
    rows_are: str = "cells"


MOST_LEVEL = 2
"""Runners that are as fast as the one named, and are named beside it."""


def decided(summary: Summary) -> Table | None:
    """Which runner for which work, each cell with its slots and its time; `None` where the run cannot tell."""
    found = decisions(summary)
    if found is None:
        return None
    columns = (
        Column("A task", "What one task does: it waits (I/O), computes under the GIL, or does almost nothing.", False),
        *(Column(f"{tasks:,} tasks", numeric=False) for tasks in COUNTS),
    )
    rows = tuple((Entry(work), *map(_decided, row)) for work, row in found.rows.items())
    note = f"Runner, its slots and the time {found.start}. ~ marks an estimate: more than twice what the run measured."
    return Table("decisions", "Which runner for which work", columns, rows, note, rows_are="sorts of work")


def _decided(decision: Decision) -> Entry:
    level = [arm.arm for arm in decision.level]
    if len(level) > MOST_LEVEL:
        level = [*level[:MOST_LEVEL], f"{len(level) - MOST_LEVEL} more"]
    about = "~" if decision.estimate else ""
    detail = [f"{about}{units.seconds(decision.best.seconds)}"]
    if decision.best.has_slots:
        detail[0] += f", {units.plural(decision.best.slots, 'slot')}"
    if other := decision.without_async:
        slots = f", {units.plural(other.slots, 'slot')}" if other.has_slots else ""
        detail.append(f"without async tasks: {other.arm}, {about}{units.seconds(other.seconds)}{slots}")
    elif level:
        detail.append(f"as fast: {units.listed(level)}")
    return Entry(decision.best.arm, "\n".join(detail))


def checked(summary: Summary) -> Table | None:
    """Each graph of work, predicted without it: what the first runner was to take and took, and all runners' errors.

    `None` where none could be kept out of the fit.
    """
    has_slots = {arm.name: arm.has_slots for arm in summary.arms}
    found = [held for held in summary.model.held_out if held.graph.work.seconds]
    by_graph: dict[tuple[AnyGraph, int], list[HeldOut]] = {}
    for held in found:
        if has_slots[held.arm]:
            by_graph.setdefault((held.graph, held.workers), []).append(held)
    for held in found:
        if not has_slots[held.arm]:
            # It stands beside others in all numbers of slots.
            for key in [key for key in by_graph if key[0] == held.graph] or [(held.graph, 0)]:
                by_graph.setdefault(key, []).append(held)
    columns = (
        Column("Work", "Measured, but left out of the fit that predicts it.", False),
        Column("Runner", "The one with the smallest prediction.", False),
        Column("Predicted"),
        Column("Measured"),
        Column("Error, all runners", "Median and largest over all runners."),
    )
    rows = tuple(_checked(summary, graph, workers, held) for (graph, workers), held in by_graph.items())
    if not rows:
        return None
    return Table("checked", "Predicted beside measured", columns, rows, rows_are="sorts of work")


def _checked(summary: Summary, graph: AnyGraph, workers: int, held: Sequence[HeldOut]) -> tuple[Entry, ...]:
    first = min(held, key=lambda h: h.predicted_s)
    errors = sorted(h.error for h in held)
    work = regret_words.of_work(graph.tasks, graph.work.kind, graph.body_s, graph.payload_bytes)
    return (
        Entry(f"{work}, {units.plural(workers, 'slot')}" if workers else work),
        Entry(summary.label(first.arm)),
        duration(first.predicted_s),
        duration(first.measured_s),
        Entry(units.percent(exact.median(errors)), f"up to {units.percent(errors[-1])}", exact.median(errors)),
    )


def regret(summary: Summary) -> Table | None:
    """Each piece of work that was drawn: what was named for it, what that took, and what the best one took."""
    found = regrets.regret(summary)
    if found is None:
        return None
    columns = (
        Column("Work", numeric=False),
        Column("Named", numeric=False),
        Column("Predicted", "Seconds, with the 90 % interval."),
        Column("Measured"),
        Column("Best", "The fastest of those measured."),
        Column("Regret", "Measured time under the named runner, over that under the best one."),
    )
    rows = tuple(
        (
            Entry(regret_words.work(one)),
            Entry(one.named.arm, units.plural(one.named.slots, "slot") if one.named.has_slots else ""),
            Entry(
                units.seconds(one.named.predicted_s),
                units.span(units.seconds(one.named.low_s), units.seconds(one.named.high_s)),
                one.named.predicted_s,
            ),
            duration(one.named.measured_s),
            Entry(units.seconds(one.best.measured_s), one.best.arm, one.best.measured_s),
            Entry(f"{one.regret:.2f}", sort=one.regret),
        )
        for one in found.tested
    )
    note = " ".join(regret_words.lines(found))
    return Table("regret", "How right its answers are", columns, rows, note, rows_are="pieces of work")


def main(summary: Summary) -> Table:
    """An arm a row: what it costs, warm and cold."""
    columns = (
        Column("Arm", numeric=False),
        Column("Startup", "Cold: call of the flow to the start of the first task body, cluster or pool included."),
        Column("First result", "Cold: call of the flow to the first result the flow sees."),
        Column("ms a task", "What one more empty task adds: slope of makespan over empty tasks."),
        Column("Against baseline", "That slope against the baseline's, paired by block, with its verdict."),
        Column("tasks/s", "Empty tasks a second on the widest empty graph."),
        Column("Submit ms", "Driver time to submit a task, widest empty graph."),
        Column("p95 wait ms", "Submit to start of the body, 95th percentile, widest empty graph."),
        Column("CPU s", "Driver, workers and server together, widest empty graph."),
        Column("Peak MB", "Driver and workers together, the highest of any cell."),
        Column("Cached s", "The pass that finds every result in the cache and runs no body."),
        Column("Retry ms", "What a failed attempt adds, against the plain graph of the same width."),
        Column("Recorded", "Task runs recorded by the server when cells were closed, and the number expected."),
    )
    baseline = summary.label(summary.run.baseline)
    reference = summary.reference
    note = f"Baseline: {baseline}. Small print: 95 % interval and n, the number of blocks."
    if reference:
        note += f" Widest empty graph: {reference.id}, {reference.tasks} tasks."
    return Table("arms", "Every arm", columns, tuple(_arm_row(row, summary) for row in summary.rows), note)


def against_baseline(summary: Summary) -> Table | None:
    """An arm a row, a suite a column: pooled paired ratio with interval and verdict."""
    rows = [row for row in summary.rows if row.by_suite]
    suites = [suite for suite in summary.suites if any(suite in row.by_suite for row in rows)]
    if not rows:
        return None
    columns = (Column("Arm", numeric=False), *(Column(units.printable(suite, 40)) for suite in suites))
    body = tuple((_arm(row), *(ratio(row.by_suite.get(suite)) for suite in suites)) for row in rows)
    note = (
        "Against the baseline in the same block, geometric mean over the suite's graphs. "
        "If its graphs differ in direction, the pooled figure hides it: see All measurements. "
        "The overhead suite includes the fixed cost of a cell, such as a process pool's start."
    )
    return Table("suites", "Against the baseline, by suite", columns, body, note)


def task_stages(summary: Summary) -> Table | None:
    """An arm a row, a stage a column: milliseconds of an empty task."""
    by_arm = summary.task_stages
    if not by_arm.arms:
        return None
    columns = (
        Column("Arm", numeric=False),
        Column("ms a task", "From submit until the driver is told that the task is done; one task at a time."),
        *(Column(stage, hint) for stage, hint in HINTS.items()),
        Column("Probe", "Time of a task with the probe on over that with it off, in the same flow runs."),
    )
    rows = tuple(
        (
            Entry(summary.label(found.arm)),
            Entry(units.digits(found.total_s * 1e3), f"{found.tasks} tasks", found.total_s),
            *(figure(None if (time := found.stages_s.get(stage)) is None else time * 1e3) for stage in HINTS),
            Entry(f"{found.probe.value:.3f}", small_print(found.probe), found.probe.value)
            if found.probe
            else Entry(units.NONE),
        )
        for found in by_arm.arms
    )
    return Table(
        "task_stages", "Where a task's time goes", columns, rows, "Milliseconds of an empty task, by stage; means."
    )


def cells_of(summary: Summary, suite: str) -> Table:
    """Every cell of a suite."""
    columns = (
        Column("Graph", numeric=False),
        Column("Arm", numeric=False),
        Column("Time", "Total of a cold cell, makespan of a warm one; geometric mean over blocks."),
        Column("Against baseline", "Paired by block, with its verdict."),
        Column("Efficiency", "Ideal time over makespan."),
        Column("Core ms a task", "(makespan - ideal) x workers / tasks."),
        Column("Startup"),
        Column("First result"),
        Column("Submit"),
        Column("Wait p50/p95/p99 ms", "Submit to start of the body."),
        Column("Body p50/p95/p99 ms", "Start to end of the body."),
        Column("Seen p50/p95/p99 ms", "End of a body to its result in the flow."),
        Column("CPU s", "Driver / workers / server."),
        Column("Peak MB", "Driver / workers / server."),
        Column("Recorded"),
        Column("Bodies run", "Task bodies that ran, counted outside Prefect, and the number expected."),
        Column("Lag s", "Return of the flow to its last task run recorded."),
    )
    rows = tuple(_cell_row(cell, summary) for cell in summary.cells if cell.suite == suite)
    return Table(f"cells-{summary.suites.index(suite)}", units.printable(suite, 40), columns, rows)


def failures(summary: Summary) -> Table | None:
    """Reasons, one line for each arm, suite and reason."""
    counts: dict[tuple[str, str, str], list[str]] = {}
    for cell in summary.cells:
        for block, reason in cell.errors:
            where = counts.setdefault((summary.arm_label(cell), cell.suite, units.printable(reason, 300)), [])
            where.append(f"{cell.graph.id} block {block}")
    if not counts:
        return None
    columns = tuple(Column(title, numeric=False) for title in ("Arm", "Suite", "Reason", "Where"))
    rows = tuple(
        (
            Entry(arm),
            Entry(units.printable(suite, 40)),
            Entry(reason),
            Entry(units.printable(", ".join(where[:4]) + (f" and {len(where) - 4} more" if len(where) > 4 else ""))),
        )
        for (arm, suite, reason), where in counts.items()
    )
    return Table("failures", "Failures", columns, rows)


def environment(summary: Summary) -> Table:
    """The facts of the environment, with every value they took."""
    rows = tuple((Entry(name), Entry(" | ".join(values))) for name, values in summary.environment.items())
    return Table("environment", "Environment", (Column("Fact", numeric=False), Column("Value", numeric=False)), rows)


def ratio(versus: Comparison | None, is_baseline: bool = False) -> Entry:
    """`4.7x faster` or `8.3x slower`, with interval and n; what the run cannot tell is no figure."""
    if is_baseline:
        return Entry("baseline", sort=1.0)
    if versus is None:
        return Entry(units.NONE)
    told, between = comparison.gain_alone(versus.ratio), comparison.gain_between(versus.ratio)
    sure = versus.verdict in ("faster", "slower")
    text = told if sure else {"tie": "as fast", "inconclusive": "cannot be told"}[versus.verdict]
    detail = between if sure else ", ".join(filter(None, (told, between)))
    small = f"{detail}\nn {versus.ratio.n}" if detail else f"n {versus.ratio.n}"
    return Entry(text, small, versus.ratio.value, versus.verdict)


def _arm_row(row: ArmRow, summary: Summary) -> tuple[Entry, ...]:
    return (
        _arm(row),
        seconds(row.startup_s),
        seconds(row.first_result_s),
        scaled(row.marginal.per_task_s if row.marginal else None, 1e3),
        ratio(row.marginal_versus, row.arm.name == summary.run.baseline),
        scaled(row.tasks_per_s),
        scaled(row.submit_per_task_s, 1e3),
        scaled(row.queue_p95_s, 1e3),
        scaled(row.cpu_s),
        figure(None if row.peak_rss_bytes is None else row.peak_rss_bytes / 1e6),
        scaled(row.cached_s),
        scaled(row.retry_s, 1e3),
        _recorded(row.recorded, row.expected_recorded),
    )


def _cell_row(cell: Cell, summary: Summary) -> tuple[Entry, ...]:
    time = seconds(cell.time_s)
    return (
        Entry(units.printable(cell.graph.id, 60)),
        arm_entry(summary.arm_label(cell), cell.failed),
        time,
        ratio(cell.versus, cell.arm == summary.run.baseline),
        Entry(units.percent(cell.efficiency), sort=cell.efficiency)
        if cell.efficiency is not None
        else Entry(units.NONE),
        figure(None if cell.overhead_s is None else cell.overhead_s * 1e3),
        seconds(cell.startup_s),
        seconds(cell.first_result_s),
        seconds(cell.submit_s),
        _quantiles(cell.queue),
        _quantiles(cell.body),
        _quantiles(cell.seen),
        _split(cell.cpu_s, 1),
        _split(cell.peak_rss_bytes, 1e-6),
        _recorded(cell.recorded, cell.expected_recorded),
        _recorded(cell.executions, cell.expected_executions),
        figure(cell.visibility_lag_s),
    )


def _arm(row: ArmRow) -> Entry:
    kinds = {
        "baseline again": row.arm.role == "control",
        "direct calls": row.arm.without_engine,
        "no Prefect": row.arm.bare,
        "lean": row.arm.lean,
    }
    kind = next((name for name, applies in kinds.items() if applies), "")
    return arm_entry(row.arm.label, row.failed, kind)


def arm_entry(label: str, failed: int, kind: str = "") -> Entry:
    """An arm; in small print of which kind it is, and how many of its measurements failed."""
    detail = ", ".join(filter(None, (kind, f"{failed} failed" if failed else "")))
    return Entry(label, detail, tone="failed" if failed else "")


def seconds(estimate: Estimate | None) -> Entry:
    """A duration with the unit that suits, its interval and n."""
    if estimate is None:
        return Entry(units.NONE)
    return Entry(units.seconds(estimate.value), small_print(estimate, told=units.seconds), estimate.value)


def scaled(estimate: Estimate | None, scale: float = 1.0) -> Entry:
    """A figure times `scale`, its interval and n; sorted by the figure itself."""
    if estimate is None:
        return Entry(units.NONE)
    return Entry(units.digits(estimate.value * scale), small_print(estimate, scale), estimate.value)


def figure(value: float | None) -> Entry:
    """A figure that has no interval."""
    return Entry(units.digits(value), sort=value)


def duration(value_s: float | None) -> Entry:
    """A duration that has no interval, with the unit that suits."""
    return Entry(units.seconds(value_s), sort=value_s)


def small_print(estimate: Estimate, scale: float = 1.0, told: Callable[[float], str] = units.digits) -> str:
    """Interval and n, a line each."""
    ends = units.interval(estimate, scale, told)
    return f"{ends}\nn {estimate.n}" if ends else f"n {estimate.n}"


def _recorded(seen: int | None, expected: int) -> Entry:
    if seen is None:
        return Entry(units.NONE)
    return Entry(
        f"{seen}/{expected}", sort=seen / expected if expected else 1.0, tone="" if seen == expected else "failed"
    )


def _quantiles(latency: Quantiles | None) -> Entry:
    if latency is None:
        return Entry(units.NONE)
    parts = (latency.p50, latency.p95, latency.p99)
    return Entry(" / ".join(units.digits(part * 1e3) for part in parts), sort=latency.p95)


def _split(split: Split, scale: float) -> Entry:
    if split.total is None:
        return Entry(units.NONE)
    parts: Sequence[float | None] = (split.driver, split.workers, split.server)
    return Entry(" / ".join(units.digits(None if p is None else p * scale) for p in parts), sort=split.total)
