"""From records to cells: one graph under one arm, over all its blocks."""

from __future__ import annotations

import math
import statistics as exact
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from runner_lab.records.cell_id import API_FAR, API_NEAR, DRAWN, SLOTS, WORKER_SCALING, CellId
from runner_lab.records.graph import AnyGraph
from runner_lab.records.record import COMPARE, FlowRun, Record
from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.statistics import Comparison, Estimate, Noise

SUITES = (
    *("startup", "map", "work", SLOTS, "metg", "payload", "overhead", "cached", "retrying"),
    *("batching", WORKER_SCALING, API_NEAR, API_FAR, "scale", "task_stages", COMPARE, DRAWN),
)
FEW_BLOCKS = 5
"""Blocks below which one suite's A/A pairs say too little, and the whole run's are used."""


@dataclass(frozen=True)
class Quantiles:
    """Of per-task latencies over all blocks, seconds."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Split:
    """A figure for the flow's own process, the workers and the server; `None` where it was not seen."""

    driver: float | None
    workers: float | None
    server: float | None

    @property
    def own(self) -> float | None:
        """The flow's: driver and workers, without the server."""
        return None if self.driver is None and self.workers is None else (self.driver or 0) + (self.workers or 0)

    @property
    def total(self) -> float | None:
        seen = [part for part in (self.driver, self.workers, self.server) if part is not None]
        return sum(seen) if seen else None


@dataclass(frozen=True)
class Cell:
    """One graph under one arm. Phases are medians over blocks; `time_s` is the figure that is compared.

    by_block:   `Record.value_s` by block, seconds, of the blocks that went well.
    time_s:     geometric mean of `by_block`.
    parts_s:    what a block's time is made of, in its order, each the median over blocks; empty where unknown. Cold: to
                the first body, to the first result, the other tasks, shutdown. Warm: submitting, waiting for results.
    versus:     against the baseline in the same blocks; `None` for the baseline itself and where no block has both.
    ideal_s:    the bodies alone, on all workers that work at the same time; 0 for graphs without work.
    efficiency: ideal over makespan, `None` for graphs without work.
    overhead_s: core-seconds a task costs beyond its body, (makespan - ideal) x workers / tasks.
    recorded:   task runs the server had recorded, over all blocks, of `expected_recorded`.
    errors:     the reason of each failed block.
    api_latency_s: round trip that was put between the cell and Prefect's API.
    flow_runs:  by block, where the cell is a user's flow.
    resized:    under another number of workers than the rest of its arm.
    server_cpu_s: the server's until it had recorded all task runs; `cpu_s` has what it used while the flow ran.
    queue, body, seen: quantiles over the tasks of all blocks; `queue_p95_s` is the mean of each block's own.
    """

    suite: str
    graph: AnyGraph
    arm: str
    cold: bool
    workers: int
    resized: bool
    ok: int
    failed: int
    by_block: dict[int, float]
    time_s: Estimate | None
    versus: Comparison | None
    startup_s: Estimate | None
    first_result_s: Estimate | None
    submit_s: Estimate | None
    makespan_s: float | None
    shutdown_s: float | None
    total_s: float | None
    parts_s: tuple[float, ...]
    queue: Quantiles | None
    body: Quantiles | None
    seen: Quantiles | None
    queue_p95_s: Estimate | None
    cpu_total_s: Estimate | None
    cpu_s: Split
    peak_rss_bytes: Split
    ideal_s: float
    efficiency: float | None
    overhead_s: float | None
    recorded: int | None
    expected_recorded: int
    executions: int | None
    expected_executions: int
    visibility_lag_s: float | None
    background_cpu: float | None
    errors: tuple[tuple[int, str], ...]
    flow_runs: dict[int, FlowRun]
    api_latency_s: float = 0.0
    server_cpu_s: float | None = None


SHORTEST_S = 1e-9

Pairs = dict[str, dict[str, dict[AnyGraph, dict[int, float]]]]
"""suite -> arm -> graph -> block -> log ratio to the baseline."""


def collect(records: Sequence[Record], arms: Sequence[str]) -> dict[CellId, list[Record]]:
    """Records by cell: suites in their usual order, graphs by size, arms in display order."""
    groups: dict[CellId, list[Record]] = {}
    for record in records:
        groups.setdefault(record.cell, []).append(record)
    place = {name: i for i, name in enumerate(arms)}

    def order(cell: CellId) -> tuple[object, ...]:
        known = SUITES.index(cell.suite) if cell.suite in SUITES else len(SUITES)
        graph = cell.graph
        size = (graph.work.kind, graph.work.seconds, graph.payload_bytes, graph.batch, graph.width)
        return (known, cell.suite, *size, graph.id, place[cell.arm], cell.workers)

    return {cell: groups[cell] for cell in sorted(groups, key=order)}


def log_ratios(groups: Mapping[CellId, Sequence[Record]], baseline: str) -> Pairs:
    """Every arm's paired log ratios to the baseline: same graph, same block, both went well.

    Args:
        groups: of each arm under one number of workers.
    """
    bases = {(cell.suite, cell.graph): _values(group) for cell, group in groups.items() if cell.arm == baseline}
    pairs: Pairs = {}
    for cell, group in groups.items():
        base = bases.get((cell.suite, cell.graph), {})
        own = _values(group)
        shared = {block: math.log(value / base[block]) for block, value in own.items() if block in base}
        if cell.arm != baseline and shared:
            pairs.setdefault(cell.suite, {}).setdefault(cell.arm, {})[cell.graph] = shared
    return pairs


def noise_by_suite(pairs: Pairs, control: str | None) -> tuple[Noise, dict[str, Noise]]:
    """The A/A control over the whole run, and for each suite (the whole run's where the suite has too few blocks)."""
    control_of = {suite: list(arms.get(control or "", {}).values()) for suite, arms in pairs.items()}
    whole = statistics.noise([graph for graphs in control_of.values() for graph in graphs])
    by_suite = {
        suite: statistics.noise(graphs) if len({b for g in graphs for b in g}) >= FEW_BLOCKS else whole
        for suite, graphs in control_of.items()
    }
    return whole, by_suite


def build(group: Sequence[Record], versus: Comparison | None, resized: bool = False) -> Cell:
    """The cell of one group of records: same suite, graph and arm."""
    good = [record for record in group if record.status == "ok"]
    first = group[0]
    by_block = _values(group)
    makespan = median(r.phases.makespan_s for r in good)
    parts = [found for record in good if (found := _parts(record, first.cold))]
    ideal = first.ideal_s
    return Cell(
        suite=first.suite,
        graph=first.graph,
        arm=first.arm,
        cold=first.cold,
        workers=first.workers,
        resized=resized,
        ok=len(good),
        failed=len(group) - len(good),
        by_block=by_block,
        time_s=statistics.geometric_mean([list(by_block.values())]) if by_block else None,
        versus=versus,
        startup_s=_estimate(record.phases.startup_s for record in good),
        first_result_s=_estimate(record.phases.first_result_s for record in good),
        submit_s=_estimate(record.phases.submit_s for record in good),
        makespan_s=makespan,
        shutdown_s=median(r.phases.shutdown_s for r in good),
        total_s=median(r.phases.total_s for r in good),
        parts_s=tuple(map(exact.median, zip(*parts, strict=True))),
        queue=_quantiles([r.latencies.queue_s for r in good]),
        body=_quantiles([r.latencies.body_s for r in good]),
        seen=_quantiles([r.latencies.seen_s for r in good]),
        queue_p95_s=_estimate(float(np.percentile(r.latencies.queue_s, 95)) for r in good if r.latencies.queue_s),
        cpu_total_s=_estimate(_cpu(r).total for r in good),
        cpu_s=Split(
            median(r.usage.driver_cpu_s for r in good),
            median(r.usage.workers_cpu_s for r in good),
            median(r.usage.server_cpu_s for r in good),
        ),
        peak_rss_bytes=Split(
            highest(r.usage.driver_rss_bytes for r in good),
            highest(r.usage.workers_rss_bytes for r in good),
            highest(r.usage.server_rss_bytes for r in good),
        ),
        ideal_s=ideal,
        efficiency=ideal / makespan if ideal > 0 and makespan and makespan > SHORTEST_S else None,
        overhead_s=(makespan - ideal) * first.workers / first.tasks if makespan and first.tasks else None,
        recorded=sum_of(r.recorded for r in good if r.expected_recorded),
        expected_recorded=sum(r.expected_recorded for r in good if r.recorded is not None),
        executions=sum_of(r.executions for r in good),
        expected_executions=sum(r.expected_executions for r in good if r.executions is not None),
        visibility_lag_s=median(r.visibility_lag_s for r in good),
        background_cpu=highest(r.background_cpu for r in group),
        errors=tuple((r.block, r.error or "no reason given") for r in group if r.status != "ok"),
        flow_runs={r.block: r.flow_run for r in group if r.flow_run is not None},
        api_latency_s=first.api_latency_s,
        server_cpu_s=median(r.usage.server_settled_cpu_s for r in good),
    )


def _values(group: Iterable[Record]) -> dict[int, float]:
    """`value_s` by block, where the cell went well and took a time that a clock can tell from 0."""
    return {r.block: r.value_s for r in group if r.status == "ok" and r.value_s is not None and r.value_s > SHORTEST_S}


def _parts(record: Record, cold: bool) -> tuple[float, ...]:
    """One block's phases, one after another, seconds; empty where one of their ends is not known."""
    p = record.phases
    last = None if p.total_s is None else p.total_s - (p.shutdown_s or 0.0)
    ends = (p.startup_s, p.first_result_s, last, p.total_s) if cold else (p.submit_s, p.makespan_s)
    known = [end for end in ends if end is not None]
    return tuple(max(b - a, 0.0) for a, b in pairwise((0.0, *known))) if len(known) == len(ends) else ()


def _cpu(record: Record) -> Split:
    usage = record.usage
    return Split(usage.driver_cpu_s, usage.workers_cpu_s, usage.server_cpu_s)


def _estimate(values: Iterable[float | None]) -> Estimate | None:
    positive = [value for value in values if value is not None and value > SHORTEST_S]
    return statistics.geometric_mean([positive]) if positive else None


def _quantiles(blocks: Sequence[Sequence[float]]) -> Quantiles | None:
    values = np.concatenate([np.asarray(block, dtype=float) for block in blocks]) if blocks else np.empty(0)
    return Quantiles(*map(float, np.percentile(values, (5, 25, 50, 75, 95, 99)))) if len(values) else None


def usual_width(cells: Sequence[Cell]) -> int:
    """The width that most of them have, the larger one of two; 0 without any."""
    widths = [cell.graph.width for cell in cells]
    return max(widths, key=lambda width: (widths.count(width), width), default=0)


def median(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    seen = [value for value in values if value is not None]
    return exact.median(seen) if seen else None


def highest(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    return max((value for value in values if value is not None), default=None)


def sum_of(values: Iterable[int | None]) -> int | None:
    seen = [value for value in values if value is not None]
    return sum(seen) if seen else None
