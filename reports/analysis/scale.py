"""Very wide graphs: what a task costs as they grow, what the driver keeps of it, and whether the server keeps up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record
from runner_lab.records.run_plan import LeftOut
from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.cells import highest, median, sum_of
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.words import units
from runner_lab.reports.words.units import printable

SUITE = "scale"
REFERENCE_TASKS = 100
"""The marginal cost at the widest graph is held against that at so many tasks, or at the next size that has one and
where the tasks are at least `LEAST_SHARE` of the time."""
LEAST_SHARE = 0.5
TARGET = 1.2
"""What the marginal cost at the widest graph may be of that at the reference."""


@dataclass(frozen=True)
class Size:
    """One arm on one number of tasks. `None`: not measured, or not to be seen.

    makespan_s: geometric mean over blocks.
    marginal_s: what each task beyond the next smaller size cost, paired by block; mean over blocks.
    growth: that over the same at the arm's reference, paired by block; geometric mean. None below the reference.
    marginal_cpu_s: the marginal of the CPU seconds of driver and workers, which a busy machine disturbs far less.
    end_s: the last result to the return of the flow; median.
    driver_added_bytes: highest resident memory of the driver less that when the cell began, the highest of any block.
    driver_peak_bytes: that highest memory.
    recorded, expected_recorded: over all blocks.
    recorded_per_s: task runs recorded, over the time from the call of the flow until the last of them was; median.
    lag_s: return of the flow to the last task run recorded; median.
    requests, events, logs: of a task; medians. A log line and an event message count each by itself.
    locked, dropped, failed, errors: over all blocks, as in `records.record.Traffic`.
    missing: why there is no measurement, in words; `left_out`: since it was not begun.
    """

    tasks: int
    makespan_s: Estimate | None = None
    marginal_s: Estimate | None = None
    growth: Estimate | None = None
    marginal_cpu_s: Estimate | None = None
    end_s: float | None = None
    driver_added_bytes: float | None = None
    driver_peak_bytes: float | None = None
    recorded: int | None = None
    expected_recorded: int = 0
    recorded_per_s: Estimate | None = None
    lag_s: float | None = None
    requests: float | None = None
    events: float | None = None
    logs: float | None = None
    locked: int | None = None
    dropped: int | None = None
    failed: int | None = None
    errors: int | None = None
    missing: str | None = None
    left_out: bool = False

    @property
    def driver_bytes_per_task(self) -> float | None:
        """What the driver's memory rose by for each task."""
        return None if self.driver_added_bytes is None or not self.tasks else self.driver_added_bytes / self.tasks


@dataclass(frozen=True)
class ArmScale:
    """One arm over all sizes, ascending.

    growth: its marginal cost at the widest size over that at its reference, paired by block.
    cpu_growth: the same of its CPU seconds.
    reference, widest: those sizes, in tasks; None without a growth.
    """

    arm: str
    sizes: tuple[Size, ...]
    growth: Estimate | None
    cpu_growth: Estimate | None
    reference: int | None
    widest: int | None

    @property
    def measured(self) -> list[Size]:
        return [size for size in self.sizes if size.makespan_s is not None]


def collect(records: Sequence[Record], arms: Sequence[str], left_out: Sequence[LeftOut] = ()) -> tuple[ArmScale, ...]:
    """The arms of the scale suite, in display order.

    Args:
        left_out: cells that were not measured, and why.
    """
    wide = [record for record in records if record.suite == SUITE]
    found = []
    for arm in arms:
        own = [record for record in wide if record.arm == arm]
        skipped = {
            one.cell.graph.tasks: printable(one.reason)
            for one in left_out
            if (one.cell.suite, one.cell.arm) == (SUITE, arm) and isinstance(one.cell.graph, GraphSpec)
        }
        if own:
            found.append(_arm(arm, own, skipped))
    return tuple(found)


def words(found: Sequence[ArmScale], labels: Mapping[str, str]) -> list[str]:
    """What the suite says, in a sentence a line: growth, what the server lost, and what was not measured.

    Args:
        labels: of the arms, by name.
    """
    grown = [_grown(reference, arms, labels) for reference, arms in by_reference(found).items()]
    lost = [
        f"{size.expected_recorded - size.recorded:,} of {size.expected_recorded:,} at {size.tasks:,} under "
        f"{labels[arm.arm]}"
        for arm in found
        for size in arm.measured
        if size.recorded is not None and size.recorded < size.expected_recorded
    ]
    without = [
        f"{labels[arm.arm]} at {size.tasks:,} ({size.missing})"
        for arm in found
        for size in arm.sizes
        if size.missing is not None
    ]
    lines = [" ".join(grown)] if grown else []
    if lost:
        lines.append(f"Task runs that the server never recorded: {units.listed(lost)}.")
    if without:
        lines.append(f"Not measured: {units.listed(without)}.")
    return lines


def by_reference(found: Iterable[ArmScale]) -> dict[int, list[ArmScale]]:
    """The arms that have a growth, by the size that it is held against."""
    arms: dict[int, list[ArmScale]] = {}
    for arm in found:
        if arm.reference is not None:
            arms.setdefault(arm.reference, []).append(arm)
    return arms


def _grown(reference: int, arms: Iterable[ArmScale], labels: Mapping[str, str]) -> str:
    sides: dict[bool, list[str]] = {True: [], False: []}
    for arm in arms:
        assert arm.growth is not None
        span = f", {told}" if (told := units.interval(arm.growth)) else ""
        said = f"{labels[arm.arm]} ({units.times(arm.growth.value)} at {arm.widest:,}{span})"
        sides[arm.growth.value > TARGET].append(said)
    parts = [
        f"{'over' if over else 'within'} {TARGET:g}x under {units.listed(who)}" for over, who in sides.items() if who
    ]
    return f"Against one at {reference:,} tasks, a task costs {'; '.join(parts)}."


def _arm(arm: str, own: Sequence[Record], left_out: Mapping[int, str]) -> ArmScale:
    groups: dict[int, list[Record]] = {}
    for record in own:
        groups.setdefault(record.tasks, []).append(record)
    makespans = _marginal(groups, lambda record: record.value_s)
    cpu = _marginal(groups, _cpu_s)
    reference = min(
        (size for size in makespans if _may_be_reference(size, groups[size], makespans[size])), default=None
    )
    growths, cpu_growths = _growths(makespans, reference), _growths(cpu, reference)
    widest = max(makespans, default=0)
    growth = growths.get(widest) if widest != reference else None
    sizes = [
        _size(size, group, makespans.get(size, {}), growths.get(size), cpu.get(size, {}))
        for size, group in groups.items()
    ]
    sizes += [Size(size, missing=reason, left_out=True) for size, reason in left_out.items() if size not in groups]
    return ArmScale(
        arm=arm,
        sizes=tuple(sorted(sizes, key=lambda size: size.tasks)),
        growth=growth,
        cpu_growth=cpu_growths.get(widest) if growth else None,
        reference=reference if growth else None,
        widest=widest if growth else None,
    )


def _may_be_reference(tasks: int, group: Sequence[Record], marginal: Mapping[int, float]) -> bool:
    """Wide enough, and its time is mostly that of its tasks.

    Where it is that of a pool's start, which each cell has anew, what a task adds is lost in how two starts differ.
    """
    total = _by_block(group, lambda record: record.value_s)
    shares = [marginal[block] * tasks / total[block] for block in marginal]
    share = median(shares)
    return tasks >= REFERENCE_TASKS and share is not None and share >= LEAST_SHARE


def _marginal(
    groups: Mapping[int, Sequence[Record]], read: Callable[[Record], float | None]
) -> dict[int, dict[int, float]]:
    """By size and block, what each task beyond the next smaller size added to what is read."""
    values = {size: found for size in sorted(groups) if (found := _by_block(groups[size], read))}
    return {
        wide: {
            block: (values[wide][block] - values[narrow][block]) / (wide - narrow)
            for block in values[wide].keys() & values[narrow].keys()
        }
        for narrow, wide in pairwise(values)
    }


def _growths(marginals: Mapping[int, Mapping[int, float]], reference: int | None) -> dict[int, Estimate]:
    """By size from the reference on, the cost there over that at the reference."""
    if reference is None:
        return {}
    base = marginals.get(reference, {})
    ratios = {
        size: [costs[block] / cost for block, cost in base.items() if cost > 0 and costs.get(block, 0) > 0]
        for size, costs in marginals.items()
        if size >= reference
    }
    return {size: statistics.geometric_mean([found]) for size, found in ratios.items() if found}


def _size(
    tasks: int,
    group: Sequence[Record],
    marginal: Mapping[int, float],
    growth: Estimate | None,
    cpu: Mapping[int, float],
) -> Size:
    good = [record for record in group if record.status == "ok"]
    times = _by_block(group, lambda record: record.value_s)
    traffic = [record.traffic for record in good if record.traffic is not None]
    rates = [rate for record in good if (rate := _recorded_per_s(record)) is not None]
    known = [record for record in good if record.recorded is not None]
    return Size(
        tasks=tasks,
        makespan_s=statistics.geometric_mean([list(times.values())]) if times else None,
        marginal_s=statistics.mean([list(marginal.values())]) if marginal else None,
        growth=growth,
        marginal_cpu_s=statistics.mean([list(cpu.values())]) if cpu else None,
        end_s=median(record.phases.shutdown_s for record in good),
        driver_added_bytes=highest(_added(record) for record in good),
        driver_peak_bytes=highest(record.usage.driver_rss_bytes for record in good),
        recorded=sum(record.recorded or 0 for record in known) if known else None,
        expected_recorded=sum(record.expected_recorded for record in known),
        recorded_per_s=statistics.geometric_mean([rates]) if rates else None,
        lag_s=median(record.visibility_lag_s for record in good),
        requests=median(found.total_requests / tasks for found in traffic),
        events=median(found.events / tasks for found in traffic),
        logs=median(found.logs / tasks for found in traffic),
        locked=sum_of(found.locked for found in traffic),
        dropped=sum_of(found.dropped for found in traffic),
        failed=sum_of(found.failed for found in traffic),
        errors=sum_of(found.errors for found in traffic),
        missing=None if good else printable(next((r.error for r in group if r.error), "failed")),
    )


def _by_block(group: Iterable[Record], read: Callable[[Record], float | None]) -> dict[int, float]:
    return {
        record.block: value
        for record in group
        if record.status == "ok" and (value := read(record)) is not None and value > 0
    }


def _cpu_s(record: Record) -> float | None:
    driver_s, workers_s = record.usage.driver_cpu_s, record.usage.workers_cpu_s
    return None if driver_s is None or workers_s is None else driver_s + workers_s


def _recorded_per_s(record: Record) -> float | None:
    total_s, lag_s = record.phases.total_s, record.visibility_lag_s
    if not record.recorded or total_s is None or lag_s is None or total_s + lag_s <= 0:
        return None
    return record.recorded / (total_s + lag_s)


def _added(record: Record) -> float | None:
    peak, before = record.usage.driver_rss_bytes, record.usage.driver_rss_before_bytes
    return None if peak is None or before is None else float(max(0, peak - before))
