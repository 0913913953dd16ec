"""A run, summarised: everything the pages and charts show, as typed values, and `summary.json`."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from runner_lab.records import record as record_files
from runner_lab.records.cell_id import RESIZED, WIDTHS
from runner_lab.records.graph import AnyGraph, UserFlowSpec
from runner_lab.records.record import Record, RecordError
from runner_lab.reports.analysis import cells as cell_building
from runner_lab.reports.analysis import run as runs
from runner_lab.reports.analysis import scale as scales
from runner_lab.reports.analysis import statistics, task_stages
from runner_lab.reports.analysis.cells import Cell, Pairs
from runner_lab.reports.analysis.fits import MarginalCost, marginal_cost
from runner_lab.reports.analysis.run import Arm, Run
from runner_lab.reports.analysis.scale import ArmScale
from runner_lab.reports.analysis.statistics import Comparison, Estimate, Noise
from runner_lab.reports.analysis.task_stages import StagesOfArms
from runner_lab.reports.model.judgement import RunModel, judge
from runner_lab.reports.words import described
from runner_lab.reports.words.described import FlowDescription
from runner_lab.reports.words.units import printable

SCHEMA = 2


@dataclass(frozen=True)
class ArmRow:
    """An arm's line in the main table. `None`: the run has no cell that tells.

    startup_s, first_result_s, cold_total_s: of the cold `startup` suite.
    marginal:       from the `overhead` suite; `marginal_versus` is its ratio to the baseline's, paired by block.
    tasks_per_s, submit_per_task_s, queue_p95_s, cpu_s: on the reference graph, the widest of `overhead`.
    peak_rss_bytes: driver and workers, the highest of any cell.
    cached_s:       makespan of the pass that runs no body.
    retry_s:        what one failed attempt adds to the makespan, against the plain graph of the same width.
    by_suite:       against the baseline, pooled over each suite's graphs.
    """

    arm: Arm
    failed: int
    startup_s: Estimate | None
    first_result_s: Estimate | None
    cold_total_s: Estimate | None
    marginal: MarginalCost | None
    marginal_versus: Comparison | None
    tasks_per_s: Estimate | None
    submit_per_task_s: Estimate | None
    queue_p95_s: Estimate | None
    cpu_s: Estimate | None
    peak_rss_bytes: float | None
    cached_s: Estimate | None
    retry_s: Estimate | None
    recorded: int | None
    expected_recorded: int
    by_suite: dict[str, Comparison]


@dataclass(frozen=True, eq=False)
class Summary:
    """What a run says. `reference` is the graph of the warm columns; `notes` are the reader's remarks on the files.

    `flow` is the user's flow of a run that compares one, and nothing else.
    """

    run: Run
    rows: tuple[ArmRow, ...]
    cells: tuple[Cell, ...]
    noise: Noise
    noise_by_suite: dict[str, Noise]
    reference: AnyGraph | None
    environment: dict[str, tuple[str, ...]]
    model: RunModel
    run_ids: tuple[str, ...]
    notes: tuple[str, ...]
    task_stages: StagesOfArms
    scale: tuple[ArmScale, ...]
    flow: FlowDescription | None

    @property
    def arms(self) -> tuple[Arm, ...]:
        return tuple(row.arm for row in self.rows)

    @property
    def labels(self) -> dict[str, str]:
        """The arms' names made safe to show, by name."""
        return {arm.name: arm.label for arm in self.arms}

    @property
    def cores(self) -> int | None:
        """That the run could use; `None` where the records do not say, or not alike."""
        return _cores(self.environment)

    @property
    def suites(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.suite for cell in self.cells))

    @property
    def widths(self) -> str:
        """The suite of empty graphs whose widths tell what a task costs."""
        return _widths(self.cells)

    @property
    def paired_blocks(self) -> int:
        """Blocks of the best-measured comparison with the baseline; of the best-measured cell where there is none."""
        pairs = [cell.versus.ratio.n for cell in self.cells if cell.versus]
        return max(pairs or [cell.ok for cell in self.cells], default=0)

    def arm(self, name: str) -> Arm | None:
        return next((arm for arm in self.arms if arm.name == name), None)

    def label(self, name: str) -> str:
        """An arm's name made safe to show."""
        return self.labels[name]

    def arm_label(self, cell: Cell) -> str:
        """The same for the arm of a cell, with its number of workers where cells differ by that: `dask@4`."""
        label = self.label(cell.arm)
        return f"{label}@{cell.workers}" if cell.suite in RESIZED else label

    def row(self, name: str) -> ArmRow | None:
        return next((row for row in self.rows if row.arm.name == name), None)

    def cell(self, suite: str, graph_id: str, arm: str) -> Cell | None:
        return next((c for c in self.cells if (c.suite, c.graph.id, c.arm) == (suite, graph_id, arm)), None)

    def of(self, suite: str, arm: str | None = None) -> list[Cell]:
        """The cells of a suite that have a time, of one arm or all, whatever their number of workers."""
        return [c for c in self.cells if c.suite == suite and c.time_s is not None and arm in (None, c.arm)]


def summarise(run_dir: Path) -> Summary:
    """Read a run's folder.

    Raises:
        RecordError: it holds no usable record.
    """
    records, notes = record_files.read(run_dir)
    if not records:
        raise RecordError(f"{run_dir / record_files.FILE_NAME} is empty: nothing was measured")
    plan, plan_notes = runs.read_plan(run_dir)
    run = runs.describe(records, plan)
    arms = runs.arms(records, plan)
    own_workers = {arm.name: arm.workers for arm in arms}
    groups = cell_building.collect(records, [arm.name for arm in arms])
    # Where arms have durations or workers of their own, those that fall together are no comparison.
    alike = {
        cell: group for cell, group in groups.items() if cell.suite != "metg" and cell.workers == own_workers[cell.arm]
    }
    pairs = cell_building.log_ratios(alike, run.baseline)
    whole, by_suite = cell_building.noise_by_suite(pairs, run.control)
    cells = tuple(
        cell_building.build(
            group,
            _compare([pairs.get(cell.suite, {}).get(cell.arm, {}).get(cell.graph, {})], by_suite.get(cell.suite))
            if cell in alike
            else None,
            resized=cell.workers != own_workers[cell.arm],
        )
        for cell, group in groups.items()
    )
    reference = _reference(cells)
    fits = {arm.name: _marginal(cells, arm.name) for arm in arms}
    rows = tuple(_row(arm, cells, fits, pairs, by_suite, run.baseline, reference) for arm in arms)
    environment = _environment(records)
    return Summary(
        run=run,
        rows=rows,
        cells=cells,
        noise=whole,
        noise_by_suite=by_suite,
        reference=reference,
        environment=environment,
        model=judge(arms, cells, _cores(environment), by_suite.get("work", whole)),
        run_ids=tuple(dict.fromkeys(printable(record.run_id) for record in records)),
        notes=tuple(printable(note) for note in (*notes, *plan_notes, *runs.elsewhere(records))),
        task_stages=task_stages.collect(records, [arm.name for arm in arms]),
        scale=scales.collect(records, [arm.name for arm in arms], plan.left_out if plan else ()),
        flow=_flow(records),
    )


def to_json(summary: Summary, verdict: Sequence[str], warnings: Sequence[str]) -> str:
    """`summary.json`: the summary as it stands, with the words; times in seconds, sizes in bytes."""
    data = {"schema": SCHEMA, "verdict": list(verdict), "warnings": list(warnings), **asdict(summary)}
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _flow(records: Sequence[Record]) -> FlowDescription | None:
    flows = [record.graph for record in records if isinstance(record.graph, UserFlowSpec)]
    return described.described(flows[0]) if flows and len(flows) == len(records) else None


def _row(
    arm: Arm,
    cells: Sequence[Cell],
    fits: Mapping[str, MarginalCost | None],
    pairs: Pairs,
    noise: Mapping[str, Noise],
    baseline: str,
    reference: AnyGraph | None,
) -> ArmRow:
    own = [cell for cell in cells if cell.arm == arm.name and not cell.resized]
    cold = next((c for c in own if c.suite == "startup" and c.time_s), None)
    warm = next((c for c in own if c.suite == _widths(cells) and c.graph == reference and c.time_s), None)
    cached = next((c for c in own if c.suite == "cached" and c.time_s), None)
    fit = fits[arm.name]
    by_suite = {
        suite: _compare(list(arms[arm.name].values()), noise.get(suite))
        for suite, arms in pairs.items()
        if arm.name in arms
    }
    tasks = warm.graph.tasks if warm else 0
    known = [cell for cell in own if cell.recorded is not None]
    return ArmRow(
        arm=arm,
        failed=sum(cell.failed for cell in own),
        startup_s=cold.startup_s if cold else None,
        first_result_s=cold.first_result_s if cold else None,
        cold_total_s=cold.time_s if cold else None,
        marginal=fit,
        marginal_versus=_marginal_versus(fit, fits.get(baseline), noise.get(_widths(cells)))
        if arm.name != baseline
        else None,
        tasks_per_s=_inverse(warm.time_s, tasks) if warm and warm.time_s else None,
        submit_per_task_s=_scaled(warm.submit_s, 1 / tasks) if warm and warm.submit_s and tasks else None,
        queue_p95_s=warm.queue_p95_s if warm else None,
        cpu_s=warm.cpu_total_s if warm else None,
        peak_rss_bytes=max((m for c in own if (m := c.peak_rss_bytes.own) is not None), default=None),
        cached_s=cached.time_s if cached else None,
        retry_s=_retry_cost(own, fit if _widths(cells) == "overhead" else None),
        recorded=sum(cell.recorded or 0 for cell in known) if known else None,
        expected_recorded=sum(cell.expected_recorded for cell in known),
        by_suite={suite: versus for suite, versus in by_suite.items() if versus is not None},
    )


def _compare(graphs: Sequence[Mapping[int, float]], floor: Noise | None) -> Comparison | None:
    if not any(graphs):
        return None
    return statistics.compare(graphs, floor or statistics.noise([]))


def _marginal(cells: Sequence[Cell], arm: str) -> MarginalCost | None:
    suite = _widths(cells)
    empty = [c for c in cells if c.suite == suite and c.arm == arm and c.by_block and c.graph.work.kind == "none"]
    return marginal_cost({cell.graph.tasks: cell.by_block for cell in empty})


def _widths(cells: Sequence[Cell]) -> str:
    return next((suite for suite in WIDTHS if any(c.suite == suite for c in cells)), "overhead")


def _reference(cells: Sequence[Cell]) -> AnyGraph | None:
    """The widest of the empty graphs that every arm has: a dear arm has no part in the widest of all."""
    empty = [c for c in cells if c.suite == _widths(cells)]
    arms = Counter(c.graph for c in empty)
    most = max(arms.values(), default=0)
    return max((g for g, n in arms.items() if n == most), key=lambda g: (g.width, g.id), default=None)


def _marginal_versus(own: MarginalCost | None, base: MarginalCost | None, floor: Noise | None) -> Comparison | None:
    if own is None or base is None:
        return None
    logs = {
        block: math.log(slope / base.by_block[block])
        for block, slope in own.by_block.items()
        if slope > 0 and base.by_block.get(block, 0) > 0
    }
    return _compare([logs], floor)


def _retry_cost(own: Sequence[Cell], fit: MarginalCost | None) -> Estimate | None:
    """Seconds a failed attempt adds: (retrying - plain makespan) / failures, paired by block, at the same width."""
    cell = next((c for c in own if c.suite == "retrying" and c.by_block), None)
    failed = cell.graph.width * cell.graph.failures if cell else 0
    if cell is None or not failed:
        return None
    plain = next((c for c in own if c.suite == "overhead" and c.graph.width == cell.graph.width and c.by_block), None)
    if plain is not None:
        added = [(cell.by_block[b] - plain.by_block[b]) / failed for b in cell.by_block if b in plain.by_block]
    elif fit is not None:
        added = [(value - fit.makespan_s(cell.graph.tasks)) / failed for value in cell.by_block.values()]
    else:
        return None
    return statistics.mean([added]) if added else None


def _scaled(estimate: Estimate, by: float) -> Estimate:
    low = None if estimate.low is None else estimate.low * by
    high = None if estimate.high is None else estimate.high * by
    return Estimate(estimate.value * by, low, high, estimate.n)


def _inverse(estimate: Estimate, amount: float) -> Estimate:
    low = None if estimate.high is None else amount / estimate.high
    high = None if estimate.low is None else amount / estimate.low
    return Estimate(amount / estimate.value, low, high, estimate.n)


def _environment(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Every fact of the environment, flattened to `versions.ray` and the like, with all values it took in the run."""
    seen: dict[str, dict[str, None]] = {}
    for record in records:
        for name, value in runs.facts(record.environment):
            seen.setdefault(name, {})[value] = None
    return {name: tuple(values) for name, values in seen.items()}


def _cores(environment: Mapping[str, Sequence[str]]) -> int | None:
    told = environment.get("cores", ())
    return int(told[0]) if len(told) == 1 and told[0].isdecimal() and 0 < int(told[0]) < 10**6 else None
