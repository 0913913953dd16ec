"""The capacity tables, for the terminal and for a page of the docs, and what to do where something gives way."""

from __future__ import annotations

from runner_lab.reports.choose.capacity import SLOTS, TASKS, Capacity, CapacityPoint, Ceiling
from runner_lab.reports.pages import markdown
from runner_lab.reports.pages.tables import Column, Entry, Table
from runner_lab.reports.words import units
from runner_lab.reports.words.kinds import SPOKEN

MARKER = "capacity"
LIMITS = {
    "submit": "the driver",
    "workers": "the slots",
    "gil": "the GIL",
    "machine": "the cores",
    "loop": "the event loop",
    "body": "one task",
}


def tables_of(found: Capacity) -> list[Table]:
    """The grid, the runners' ceilings, and what was measured at such sizes, where there is any."""
    every = [grid(found), ceilings(found)]
    return [*every, measured(found)] if found.measured else every


def lines(found: Capacity) -> list[str]:
    """For a page: the tables with what they say, then what to do."""
    text: list[str] = []
    for table in tables_of(found):
        text += [f"**{table.caption}**", "", *markdown.lines_of(table), ""]
    return [*text, "**What to do**", "", *(f"- {markdown.escape(line)}" for line in remedies(found))]


def grid(found: Capacity) -> Table:
    """Tasks by slots: the runner, its time, what limits it, and when the server has recorded all."""
    points = {(point.tasks, point.slots): point for point in found.points}
    columns = (Column("Tasks"), *(Column(f"{slots:,} slots", numeric=False) for slots in SLOTS))
    rows = tuple(
        (Entry(f"{tasks:,}", sort=tasks), *(_point(points[tasks, slots]) for slots in SLOTS)) for tasks in TASKS
    )
    note = (
        f"Tasks that {_work(found)}, on warm workers with a core for each slot: the runner, its time, what limits it, "
        "and when the server has recorded every task run, where that is later. ~ is an estimate: beyond twice what run "
        f"{units.printable(found.run_id, 60)} measured."
    )
    return Table("capacity", "What gives way first", columns, rows, note, rows_are="numbers of tasks")


def _point(point: CapacityPoint) -> Entry:
    about = "~" if point.estimate else ""
    detail = f"limit: {LIMITS[point.limit]}"
    if point.recorded_s is not None:
        detail += f"\nrecorded: {about}{units.seconds(point.recorded_s)}"
    return Entry(f"{point.arm} {about}{units.seconds(point.seconds)}", detail, point.seconds)


def ceilings(found: Capacity) -> Table:
    """A runner a row: how much each of its places lets through."""
    memory = any(one.driver_bytes is not None for one in found.ceilings)
    plans = any(one.plan is not None for one in found.ceilings)
    loses = any(one.loses is not None for one in found.ceilings)
    columns = (
        Column("Runner", numeric=False),
        Column("Tasks a second", "That the flow's own process hands out at most."),
        Column("Slots it feeds", "With tasks of the length that was asked about."),
        *((Column("Memory for 10,000", "What the driver's memory grows by; its futures are kept."),) if memory else ()),
        *((Column("Smallest plan of Prefect Cloud", "For so many tasks a second.", False),) if plans else ()),
        *((Column("Task runs are lost from", "Tasks from which a default server's queue is full."),) if loses else ()),
    )
    rows = tuple(_ceiling(one, memory, plans, loses) for one in found.ceilings)
    recorder = (
        f" Where it was behind, the server recorded {units.digits(found.recorder_per_s)} task runs a second with all "
        "their states, on the cores that it shared with the flow."
        if found.recorder_per_s
        else ""
    )
    note = f"One flow run, tasks that {_work(found)}.{recorder}"
    return Table("ceilings", "What one flow run can do", columns, rows, note, rows_are="runners")


def _ceiling(one: Ceiling, memory: bool, plans: bool, loses: bool) -> tuple[Entry, ...]:
    grown = None if one.driver_bytes is None else 10_000 * one.driver_bytes
    row = [
        Entry(one.arm),
        Entry(units.digits(one.driver_per_s), sort=one.driver_per_s),
        Entry(units.digits(one.slots_fed), sort=one.slots_fed),
    ]
    if memory:
        row.append(Entry(units.NONE if grown is None else units.size(grown), sort=grown))
    if plans:
        row.append(Entry(units.NONE if one.plan is None else one.plan or "more than Pro"))
    if loses:
        row.append(Entry(units.NONE if one.loses is None else f"{_round(one.loses):,}", sort=one.loses))
    return tuple(row)


def measured(found: Capacity) -> Table:
    """Empty tasks as measured, beside what the model says of them."""
    columns = (
        Column("Runner", numeric=False),
        Column("Tasks"),
        Column("Measured"),
        Column("By the model"),
        Column("Recorded"),
        Column("Recorded a second"),
    )
    rows = tuple(
        (
            Entry(one.arm),
            Entry(f"{one.tasks:,}", sort=one.tasks),
            Entry(units.seconds(one.measured_s), sort=one.measured_s),
            Entry(units.seconds(one.predicted_s), sort=one.predicted_s),
            Entry(one.recorded or units.NONE),
            Entry(units.digits(one.recorded_per_s), sort=one.recorded_per_s),
        )
        for one in found.measured
    )
    note = (
        "By the model: independent tasks. In the measured graphs two of three tasks take the result of another, which "
        "costs stock threads an API request each."
    )
    return Table("measured", "Empty tasks, measured", columns, rows, note)


def remedies(found: Capacity) -> list[str]:
    """What to do where something gives way, with the numbers of this run."""
    slots = max(SLOTS)
    starved = [one for one in found.ceilings if one.slots_fed < slots]
    told = []
    if starved:
        one = max(starved, key=lambda each: each.slots_fed)
        batch = f"put {one.batch:,} items into a task, or " if one.batch > 1 else ""
        told.append(
            f"The driver limits: {one.arm} feeds {units.digits(one.slots_fed)} slots. For {slots:,} slots {batch}"
            f"run {units.plural(one.flow_runs, 'flow run')} beside each other, each a process of its own (sub-flows by "
            "run_deployment)."
        )
    if found.recorder_per_s:
        told.append(
            "The recorder is behind: nothing is slower for it, but the UI and automations are late, and stock runners "
            "lose task runs. Lean runners wait at their end. Let the server record in batches "
            '(PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE), take record="final" of a lean runner, or batch.'
        )
    if any(one.driver_bytes for one in found.ceilings):
        told.append(
            "The driver's memory grows: let futures go when their results are used, or split the graph into sub-flows."
        )
    if any(one.plan == "" for one in found.ceilings):
        told.append(
            "A plan of Prefect Cloud limits: the client waits when it is told to. Batch, and send fewer log lines "
            "(PREFECT_LOGGING_TO_API_ENABLED=false for these tasks)."
        )
    return told


def _work(found: Capacity) -> str:
    return f"take {units.exactly(found.seconds)} ({SPOKEN[found.kind]})" if found.seconds else "do nothing"


def _round(value: float) -> int:
    """To two digits."""
    return int(float(f"{value:.2g}"))
