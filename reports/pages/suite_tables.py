"""The tables of the suites that a choice rests on: METG, batches, and numbers of workers."""

from __future__ import annotations

from runner_lab.reports.analysis.batching import Batched, batched
from runner_lab.reports.analysis.metg import Metg
from runner_lab.reports.analysis.metg import of as metg_of
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.analysis.worker_scaling import Scaled, scaled
from runner_lab.reports.pages import scale_tables
from runner_lab.reports.pages.tables import Column, Entry, Table, small_print
from runner_lab.reports.words import kinds, units

_LAST = 1e9
"""Seconds that sort behind every METG that was reached."""
_SCALING = "How many times as fast as on the fewest workers, with efficiency, 95 % interval and makespan."


def metg(summary: Summary) -> Table | None:
    """An arm a row, a kind of work a column: METG(50 %) with its interval, from the metg suite."""
    arms = [arm for arm in summary.arms if summary.of("metg", arm.name)]
    shown = [kind for kind in kinds.SEARCHED if any(c.graph.work.kind == kind for c in summary.of("metg"))]
    if not arms:
        return None
    columns = (
        Column("Arm", numeric=False),
        *(Column(kind, f"Task duration from which a {kind} task is half useful.") for kind in shown),
    )
    rows = tuple((Entry(arm.label), *(_metg(metg_of(summary, kind, arm.name)) for kind in shown)) for arm in arms)
    note = (
        "Task duration at which half of the time on all slots is useful, with its 95 % interval and n, the number of "
        "measurements. Not reached: no task up to that length was clearly half useful."
    )
    return Table("metg", "METG(50 %)", columns, rows, note)


def batching(summary: Summary) -> Table | None:
    """An arm and a sort of item a row, a size of batch a column: how many times as fast, and the time."""
    found = batched(summary)
    if not found:
        return None
    sizes = sorted({size for one in found for size in one.gains})
    columns = (
        Column("Arm", numeric=False),
        Column("Items", numeric=False),
        *(Column(f"{size} a task", "Times as fast as the smallest batch; below it the makespan.") for size in sizes),
    )
    rows = tuple(
        (
            Entry(one.arm.label),
            Entry(f"{one.items} of {units.exactly(one.item_s)} ({units.printable(one.kind, 20)})"),
            *(_gain(one, size) for size in sizes),
        )
        for one in found
    )
    note = (
        "How many times as fast as the smallest batch, with its 95 % interval, and the makespan. The price: Prefect "
        "sees one task run for a batch, retries all its items if one fails, and caches all or none."
    )
    return Table("batching", "Several items to a task", columns, rows, note)


def scaling(summary: Summary) -> Table | None:
    """An arm and a graph a row, a number of workers a column: how many times as fast, efficiency, and the time."""
    found = scaled(summary)
    if not found:
        return None
    counts = sorted({count for one in found for count in one.speedups})
    columns = (
        Column("Arm", numeric=False),
        Column("Graph", numeric=False),
        *(
            Column(units.plural(count, "worker"), "Times as fast as on the fewest; efficiency; time.")
            for count in counts
        ),
    )
    rows = tuple(
        (
            Entry(one.arm.label),
            Entry(units.printable(one.graph.id, 60)),
            *(_speedup(one, count) for count in counts),
        )
        for one in found
    )
    cores = f" The run had {units.plural(summary.cores, 'core')}." if summary.cores else ""
    return Table("worker_scaling", "What more workers gain", columns, rows, f"{_SCALING}{cores}")


def distance(summary: Summary) -> Table | None:
    """An arm a row: round trips to Prefect's API that a task and a flow run wait for."""
    found = [(model.arm.label, trips) for model in summary.model.arms if (trips := model.costs.api_trips) is not None]
    if not found:
        return None
    columns = (
        Column("Arm", numeric=False),
        Column("A task alone", "Round trips for which a task that takes no other's result holds its slot."),
        Column("A task in a chain", "Round trips for which a task that takes another's result waits."),
        Column("A flow run", "Round trips before the first submit and after the last result."),
    )
    rows = tuple(
        (Entry(label), *(_round_trips(trips) for trips in (known.task, known.link, known.flow_run)))
        for label, known in found
    )
    note = (
        f"Round trips to Prefect's API, from the same graphs beside it and {units.exactly(found[0][1].latency_s)} "
        "away. 0: none can be told from noise."
    )
    return Table("distance", "What a distant API costs", columns, rows, note)


def of(summary: Summary) -> list[Table]:
    """Those that the run has records for."""
    tables = (
        *(metg(summary), batching(summary), scaling(summary), distance(summary)),
        *(scale_tables.cost_by_width(summary), scale_tables.requests_a_task(summary)),
    )
    return [table for table in tables if table is not None]


def _round_trips(trips: float | None) -> Entry:
    if trips is None:
        return Entry(units.NONE)
    return Entry("0" if trips == 0 else f"{trips:.1f}", sort=trips)


def _metg(found: Metg | None) -> Entry:
    if found is None:
        return Entry(units.NONE)
    if found.bound == "above":
        return Entry("not reached", f"up to {units.exactly(found.seconds)}\nn {found.n}", _LAST)
    if found.bound == "below":
        return Entry(f"under {units.exactly(found.seconds)}", f"n {found.n}", found.seconds)
    return Entry(units.seconds(found.seconds), small_print(found.estimate, told=units.seconds), found.seconds)


def _gain(one: Batched, size: int) -> Entry:
    gain, time = one.gains.get(size), one.times.get(size)
    return _times(gain, time, size == min(one.gains), "")


def _speedup(one: Scaled, count: int) -> Entry:
    gain, time = one.speedups.get(count), one.times.get(count)
    efficiency = f", {units.percent(one.efficiency(count, gain.value))}" if gain else ""
    return _times(gain, time, count == one.fewest, efficiency)


def _times(gain: Estimate | None, time: Estimate | None, base: bool, more: str) -> Entry:
    """How many times as fast, `more` of it, its interval and the makespan; of what others are held against, no more."""
    if gain is None or time is None:
        return Entry(units.NONE)
    if base:
        return Entry("1x", units.seconds(time.value), 1.0)
    return Entry(f"{units.times(gain.value)}{more}", f"{small_print(gain)}\n{units.seconds(time.value)}", gain.value)
