"""The tables of very wide graphs: one run's, and several runs side by side, such as two databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner_lab.records import record as record_files
from runner_lab.records.record import Record, RecordError
from runner_lab.reports.analysis import run as runs
from runner_lab.reports.analysis import scale as scales
from runner_lab.reports.analysis.quotas import QUOTAS
from runner_lab.reports.analysis.scale import REFERENCE_TASKS, TARGET, ArmScale, Size
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.pages.tables import Column, Entry, Table, duration, figure, scaled, small_print
from runner_lab.reports.words import units


def cost_by_width(summary: Summary) -> Table | None:
    """An arm and a number of tasks a row: cost, memory, and what became of the task runs on the server."""
    if not summary.scale:
        return None
    references = sorted(scales.by_reference(summary.scale)) or [REFERENCE_TASKS]
    at = " or ".join(f"{tasks:,}" for tasks in references)
    columns = (
        Column("Arm", numeric=False),
        Column("Tasks"),
        Column("Makespan"),
        Column("ms a task", "What each task beyond the next smaller size cost."),
        Column(f"x at {at}", f"That at the widest size over that at {at} tasks."),
        Column("CPU ms a task", "The same of the CPU seconds of driver and workers; a busy machine disturbs it less."),
        Column(f"x at {at}", "The same of these."),
        Column("End", "Last result to the return of the flow."),
        Column("Driver MB", "What the driver's memory rose by in the cell, and its highest."),
        Column("Recorded", "Task runs the server had recorded in the end, of those expected."),
        Column("Recorded a second", "From the call of the flow until the last was recorded."),
        Column("Lag", "Return of the flow to the last task run recorded."),
        Column("Locked", "Entries of the server's log on a locked database."),
        Column("Dropped", "Messages that the server's own queues were too full to take."),
        Column("Errors", "Requests answered with 500 or above; other exceptions in the server's log."),
    )
    rows = []
    for arm in summary.scale:
        told = f"of that at {arm.reference:,}\n" if arm.reference and len(references) > 1 else ""
        rows += [_row(summary, arm, size, told) for size in arm.sizes]
    filled = tuple((*row, *[Entry(units.NONE)] * (len(columns) - len(row))) for row in rows)
    note = (
        f"The target for the cost at the widest size is {TARGET:g}x that at {at} tasks. Memory: where an earlier cell "
        "has left room in the process a later one adds less than it holds."
    )
    return Table("scale", "Cost by width at scale", columns, filled, note)


def requests_a_task(summary: Summary) -> Table | None:
    """An arm a row: what it asked of the API for a task, and what the plans of Prefect Cloud leave room for."""
    rows = []
    for arm in summary.scale:
        size = next((s for s in reversed(arm.sizes) if s.requests is not None), None)
        if size is None or size.requests is None:
            continue
        messages = (size.events or 0) + (size.logs or 0)
        rooms = [quota.tasks_a_minute(size.requests, messages) for quota in QUOTAS]
        rows.append(
            (
                Entry(summary.label(arm.arm)),
                Entry(f"{size.tasks:,}", sort=size.tasks),
                *(figure(value) for value in (size.requests, size.events, size.logs, _tasks_a_minute(size))),
                *(figure(room) for room in rooms),
            )
        )
    if not rows:
        return None
    columns = (
        Column("Arm", numeric=False),
        Column("Tasks", "The widest graph that was measured."),
        Column("Requests a task", "HTTP requests to the API, counted in the server."),
        Column("Events a task", "Event messages over websockets, counted in the server."),
        Column("Log lines a task"),
        Column("Tasks a minute", "As measured: tasks over makespan."),
        *(
            Column(f"{quota.plan}, tasks a minute", "What the plan's documented limits leave room for.")
            for quota in QUOTAS
        ),
    )
    note = (
        "The last columns are no measurement: the limits that Prefect Cloud documents for each plan, a minute and "
        "account, over what a task was seen to use here, whichever of requests and of events with log lines ends first."
    )
    return Table("requests", "API requests a task", columns, tuple(rows), note)


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Served:
    """Runs on one sort of server. `name`: its database, and its settings where it has any of its own."""

    name: str
    arms: tuple[ArmScale, ...]


def served(folders: Sequence[Path]) -> list[Served]:
    """The scale suite of each run; runs on the same sort of server are taken as further blocks of one.

    Raises:
        RecordError: a folder holds no run, or none of them has cells of that suite.
    """
    pooled: dict[str, list[Record]] = {}
    for number, folder in enumerate(folders):
        found, _ = record_files.read(folder)
        for record in found:
            if record.suite == scales.SUITE:
                # A block of its own, so that what is paired is always of one run.
                apart = replace(record, block=1000 * number + record.block)
                pooled.setdefault(server_name(record), []).append(apart)
    if not pooled:
        raise RecordError("no cells of the scale suite: measure with --lab-profile scale")
    if len(pooled) > len(_LETTERS):
        raise RecordError(f"{len(pooled)} sorts of servers: {len(_LETTERS)} are the most that one table shows")
    names = [arm.name for arm in runs.arms([r for group in pooled.values() for r in group], None)]
    return [Served(name, scales.collect(group, names)) for name, group in pooled.items()]


def server_name(record: Record) -> str:
    """`sqlite`, or `postgresql with PREFECT_SERVER_...=20`: the database, and the settings that were given."""
    server = record.environment.get("server")
    server = server if isinstance(server, dict) else {}
    settings = server.get("settings")
    told = [f"{name}={value}" for name, value in sorted((settings if isinstance(settings, dict) else {}).items())]
    name = str(server.get("database", "unknown"))
    return units.printable(f"{name} with {units.listed(told)}" if told else name, 600)


def side_by_side(found: Sequence[Served]) -> Table:
    """An arm, a number of tasks and a server a row; ratios are to the first server that has the arm and size.

    Servers are letters, which the note explains.
    """
    columns = (
        Column("Arm", numeric=False),
        Column("Tasks"),
        Column("Server", numeric=False),
        Column("Makespan"),
        Column("x first", "Makespan over that on the first server."),
        Column("ms a task", "What each task beyond the next smaller size cost."),
        Column("Recorded"),
        Column("Recorded a second"),
        Column("x first", "Recorded a second over that on the first server."),
        Column("Lag"),
        Column("Locked"),
        Column("Dropped"),
        Column("Errors"),
    )
    keys = sorted({(arm.arm, size.tasks) for one in found for arm in one.arms for size in arm.measured})
    order = list(dict.fromkeys(arm.arm for one in found for arm in one.arms))
    rows: list[tuple[Entry, ...]] = []
    for name, tasks in sorted(keys, key=lambda key: (order.index(key[0]), key[1])):
        cells = [
            (letter, size)
            for letter, one in zip(_LETTERS, found, strict=False)
            for arm in one.arms
            for size in arm.measured
            if (arm.arm, size.tasks) == (name, tasks)
        ]
        first = cells[0][1]
        rows += [_beside(name, server, size, None if size is first else first) for server, size in cells]
    note = ". ".join(f"{letter}: {one.name}" for letter, one in zip(_LETTERS, found, strict=False))
    return Table("servers", "The same graphs on other servers", columns, tuple(rows), f"{note}.")


def _row(summary: Summary, arm: ArmScale, size: Size, at: str) -> tuple[Entry, ...]:
    """Of a size that has no measurement the first entries alone; `at` says what the growth is held against."""
    head = (Entry(summary.label(arm.arm)), Entry(f"{size.tasks:,}", sort=size.tasks))
    if size.missing:
        return (*head, Entry(f"not measured: {size.missing}" if size.left_out else size.missing, tone="failed"))
    last = size.tasks == arm.widest
    return (
        *head,
        _seconds(size.makespan_s),
        _each(size.marginal_s),
        _ratio(arm.growth if last else None, at),
        _each(size.marginal_cpu_s),
        _ratio(arm.cpu_growth if last else None, at),
        duration(size.end_s),
        _memory(size),
        *_kept_up(size),
    )


def _beside(arm: str, server: str, size: Size, first: Size | None) -> tuple[Entry, ...]:
    recorded, rate, *rest = _kept_up(size)
    return (
        Entry(units.printable(arm, 40)),
        Entry(f"{size.tasks:,}", sort=size.tasks),
        Entry(server, sort=float(_LETTERS.index(server))),
        _seconds(size.makespan_s),
        _over(size.makespan_s, first.makespan_s if first else None),
        _each(size.marginal_s),
        recorded,
        rate,
        _over(size.recorded_per_s, first.recorded_per_s if first else None),
        *rest,
    )


def _kept_up(size: Size) -> tuple[Entry, ...]:
    """What became of the task runs on the server."""
    whole = size.recorded == size.expected_recorded
    bad = None if size.failed is None or size.errors is None else size.failed + size.errors
    return (
        Entry(units.NONE)
        if size.recorded is None
        else Entry(f"{size.recorded}/{size.expected_recorded}", sort=size.recorded, tone="" if whole else "failed"),
        scaled(size.recorded_per_s),
        duration(size.lag_s),
        *(_count(count) for count in (size.locked, size.dropped, bad)),
    )


def _ratio(growth: Estimate | None, at: str) -> Entry:
    if growth is None:
        return Entry(units.NONE)
    return Entry(units.times(growth.value), at + small_print(growth), growth.value)


def _each(marginal: Estimate | None) -> Entry:
    """Milliseconds a task. Nothing where the smaller graph took longer: by the start of a pool, say."""
    return Entry(units.NONE) if marginal is None or marginal.value <= 0 else scaled(marginal, 1e3)


def _memory(size: Size) -> Entry:
    added, peak, each = size.driver_added_bytes, size.driver_peak_bytes, size.driver_bytes_per_task
    if added is None or peak is None or each is None:
        return Entry(units.NONE)
    return Entry(
        f"+{units.digits(added / 1e6)}", f"{units.size(each)} a task\n{units.digits(peak / 1e6)} in all", added
    )


def _seconds(estimate: Estimate | None) -> Entry:
    if estimate is None:
        return Entry(units.NONE)
    return Entry(units.seconds(estimate.value), f"n {estimate.n}", estimate.value)


def _over(own: Estimate | None, first: Estimate | None) -> Entry:
    if own is None or first is None or first.value <= 0:
        return Entry(units.NONE)
    return Entry(units.times(own.value / first.value), sort=own.value / first.value)


def _count(count: int | None) -> Entry:
    return Entry(units.NONE) if count is None else Entry(str(count), sort=count, tone="failed" if count else "")


def _tasks_a_minute(size: Size) -> float | None:
    return None if size.makespan_s is None else 60 * size.tasks / size.makespan_s.value
