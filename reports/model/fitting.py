"""The cost model's terms, fitted to a run's cells.

Two are read off (the driver's submits, the CPU seconds), the others fitted to makespans by bounded least squares on the
logarithm, so that 10 % off counts the same for 0.1 s and for 100 s.
"""

from __future__ import annotations

import math
import statistics as exact
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize

from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.cells import Cell, Graph
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.model.costs import CPU_KINDS, Costs, makespan_s
from runner_lab.reports.model.model import ArmModel, Reach

FEWEST_SIZES = 2
SMALLEST_MISFIT = 0.02
"""No model is believed to be better than 2 %, however few cells it had to please."""
WEIGHT_OF_NO_GIL = 0.03
"""Pulls a GIL share to 0 where another place hides it: no cell then tells it from any other value."""
FEW_TASKS = 10
"""Cells below this say little of what one submit costs."""
AT_ITS_BOUND = 1e-6
"""Share of its starting value below which a fitted term counts as 0."""
PRIOR = 1.0
"""Standard deviation of a term that no cell tells, in sizes of its own: the larger of its fitted and first value."""


def fit(arm: Arm, cells: Sequence[Cell], cores: int | None) -> ArmModel | None:
    """The model of one arm from its cells among `cells`, those of the same runner with other workers included.

    `None` with fewer than two sizes of plain, warm graphs: then nothing tells a fixed cost from that of a task.
    """
    warm = [c for c in cells if usable(c) and c.arm == arm.name]
    if len({c.graph.tasks for c in warm}) < FEWEST_SIZES:
        return None
    cpu = _cpu(warm)
    cores = cores if cpu is not None else None
    read_off = Costs(
        submit_s=_submit(arm, warm),
        slot_s=0.0,
        cpu_s=cpu[1] if cpu else 0.0,
        server_cpu_s=exact.median(
            [c.cpu_s.server / c.graph.tasks for c in warm if c.cpu_s.server is not None] or [0.0]
        ),
        fixed_s=0.0,
        fixed_cpu_s=cpu[0] if cpu else 0.0,
        payload_s=None,
        gil_share={"spin": 1.0} if arm.traits.slots_share_gil else {},
        cold_s=None,
        server_tasks_per_s=_server_limit(warm),
    )
    costs, names, covariance, misfit, free = _fit_makespans(arm, warm, read_off, cores)
    reach = Reach(
        tasks=max(c.graph.tasks for c in warm),
        body_s=max(c.graph.body_s for c in warm),
        payload_bytes=max(c.graph.payload_bytes * c.graph.width for c in warm),
        worker_counts=tuple(sorted({c.workers for c in warm})),
        kinds=tuple(dict.fromkeys(c.graph.work_kind for c in warm)),
    )
    cold_s, cold_noise = _cold_start(costs, arm, [c for c in cells if c.arm == arm.name and c.cold], cores)
    noise = statistics.spread([[math.log(v) for v in c.by_block.values()] for c in warm])
    return ArmModel(
        arm, replace(costs, cold_s=cold_s), names, covariance, misfit, free, noise, cold_noise, cores, reach
    )


def slots_of(arm: Arm, cell: Cell) -> int:
    return 1 if arm.engine == "none" else max(cell.workers, 1)


def usable(cell: Cell) -> bool:
    """Warm, plain, and measured: what the makespan is fitted to."""
    return not cell.cold and cell.graph.variant == "plain" and cell.time_s is not None and cell.graph.tasks > 0


def expected_s(costs: Costs, cell: Cell, workers: int, cores: int | None) -> float:
    """The model's makespan of a measured cell."""
    return graph_s(costs, cell.graph, workers, cores)


def graph_s(costs: Costs, graph: Graph, workers: int, cores: int | None) -> float:
    """The model's makespan of one of the lab's graphs, seconds."""
    working = graph.width if graph.work_s > 0 else 0
    payload = graph.payload_bytes * graph.width
    return float(makespan_s(costs, graph.tasks, working, graph.body_s, graph.work_kind, payload, workers, cores))


def _fit_makespans(
    arm: Arm, cells: Sequence[Cell], costs: Costs, cores: int | None
) -> tuple[Costs, tuple[str, ...], tuple[tuple[float, ...], ...], float, int]:
    workers = np.array([slots_of(arm, c) for c in cells])
    kinds = [k for k in CPU_KINDS if any(c.graph.work_kind == k for c in cells)] if workers.max() > 1 else []
    carrying = ["payload_s"] if any(c.graph.payload_bytes for c in cells) else []
    names = ("fixed_s", "slot_s", *carrying, *kinds)
    graphs = [c.graph for c in cells]
    measured = np.array([c.time_s.value for c in cells if c.time_s])
    tasks = np.array([float(g.tasks) for g in graphs])
    working = np.array([float(g.width if g.work_s > 0 else 0) for g in graphs])
    body = np.array([float(g.body_s) for g in graphs])
    payload = np.array([float(g.payload_bytes * g.width) for g in graphs])
    by_kind = {kind: np.array([g.work_kind == kind for g in graphs]) for kind in {g.work_kind for g in graphs}}
    start = _start(names, measured, tasks, working, body, payload, by_kind, workers)
    scale = np.maximum(start, 1e-12)

    first_kind = len(names) - len(kinds)

    def residuals(values: Any) -> Any:
        return np.log(np.maximum(makespans(values * scale), 1e-9) / measured)

    def makespans(terms: Any) -> Any:
        here = costs.with_fitted(terms, names)
        times = np.empty(len(measured))
        for kind, rows in by_kind.items():
            times[rows] = makespan_s(
                here, tasks[rows], working[rows], body[rows], kind, payload[rows], workers[rows], cores
            )
        return times

    def penalised(values: Any) -> Any:
        return np.append(residuals(values), WEIGHT_OF_NO_GIL * (values * scale)[first_kind:])

    highest = np.array([1.0 / unit if name in CPU_KINDS else np.inf for name, unit in zip(names, scale, strict=True)])
    options: dict[str, Any] = {"loss": "soft_l1", "f_scale": 0.15, "ftol": 1e-7, "xtol": 1e-7, "max_nfev": 100}
    # Where the driver or the cores decide, the slots' part is hidden and a start that gives them all of it gets stuck.
    # A GIL share begins too large: one that is too small may lie where another place hides it, and has no slope.
    hidden = np.array([0.0, 0.3 * start[1], *start[2:first_kind], *[0.8] * len(kinds)])
    hidden[0] = max(float(np.median(measured - makespans(hidden))), 0.01 * measured.min())
    found = min(
        (
            optimize.least_squares(penalised, np.minimum(s / scale, 0.999 * highest), bounds=(0.0, highest), **options)
            for s in (start, hidden)
        ),
        key=lambda result: float(result.cost),
    )
    error = residuals(found.x)
    inside = [i for i, x in enumerate(found.x) if AT_ITS_BOUND < x < highest[i] * (1 - AT_ITS_BOUND)]
    free = max(len(measured) - len(inside), 1)
    misfit = max(math.sqrt(float(error @ error) / free), SMALLEST_MISFIT)
    size = np.maximum(found.x[inside], 1.0)
    slopes = optimize.approx_fprime(found.x, residuals, 1e-6)[:, inside] * size
    information = slopes.T @ slopes / misfit**2 + np.eye(len(inside)) / PRIOR**2
    covariance = np.linalg.inv(information) * np.outer(size * scale[inside], size * scale[inside])
    return (
        costs.with_fitted(np.where(found.x < AT_ITS_BOUND, 0.0, found.x) * scale, names),
        tuple(names[i] for i in inside),
        tuple(tuple(map(float, row)) for row in covariance),
        misfit,
        free,
    )


def _start(
    names: tuple[str, ...],
    measured: Any,
    tasks: Any,
    working: Any,
    body: Any,
    payload: Any,
    by_kind: dict[str, Any],
    workers: Any,
) -> Any:
    """Where to begin: non-negative least squares as if slots decided all, then each kind's GIL share from the rest."""
    linear = np.column_stack([np.ones(len(tasks)), tasks / workers, payload])[:, : 3 if "payload_s" in names else 2]
    waves = body * np.ceil(working / workers)
    free = ~np.any(
        [rows for kind, rows in by_kind.items() if kind in CPU_KINDS] or [np.zeros(len(tasks), bool)], axis=0
    )
    known = free if len(np.unique(tasks[free])) > 1 else np.ones(len(tasks), bool)
    unit = np.maximum(linear[known].max(axis=0), 1e-12)
    rows, seen = linear[known] / unit / measured[known, None], np.maximum(measured - waves, 0)[known] / measured[known]
    costs = optimize.nnls(rows, seen)[0] / unit
    rest = measured - linear @ costs - waves
    alone = np.maximum(body * (working - np.ceil(working / workers)), 1e-12)
    shares = [float(np.clip(np.median((rest / alone)[by_kind[k]]), 0.02, 0.98)) for k in names if k in CPU_KINDS]
    smallest = 0.01 * np.array([measured.min(), (workers * measured / tasks).min(), *(measured.min() / unit[2:])])
    return np.array([*np.maximum(costs, smallest), *shares])


def _submit(arm: Arm, cells: Sequence[Cell]) -> float:
    """The smallest mean submit of any cell: where the driver did not wait for the CPU. 0 where tasks are called."""
    if arm.engine == "none":
        return 0.0
    known = [(c.graph.tasks, c.submit_s.value) for c in cells if c.submit_s is not None]
    large = [(tasks, seconds) for tasks, seconds in known if tasks >= FEW_TASKS] or known
    return min((seconds / tasks for tasks, seconds in large), default=0.0)


def _cpu(cells: Sequence[Cell]) -> tuple[float, float] | None:
    """Core-seconds (of a flow run, of a task) of driver and workers beyond the bodies' own; `None` where not seen."""
    rows, seen = [], []
    for cell in cells:
        if cell.cpu_s.driver is None or cell.cpu_s.workers is None:
            continue
        bodies = cell.graph.width * cell.graph.body_s if cell.graph.work_kind in CPU_KINDS else 0.0
        total = cell.cpu_s.driver + cell.cpu_s.workers
        weight = 1 / max(total, 0.05)
        rows.append([weight, weight * cell.graph.tasks])
        seen.append(weight * max(total - bodies, 0.0))
    if len({row[1] / row[0] for row in rows}) < FEWEST_SIZES:
        return None
    fixed, per_task = optimize.nnls(np.array(rows), np.array(seen))[0]
    return float(fixed), float(per_task)


def _server_limit(cells: Sequence[Cell]) -> float | None:
    """Task runs a second taken down in the cells after which the server was still behind, the best of them."""
    rates = [
        c.graph.tasks / ((c.total_s or 0.0) + c.visibility_lag_s)
        for c in cells
        if c.visibility_lag_s and c.total_s and c.visibility_lag_s > 0.3 * c.total_s and c.graph.tasks >= FEW_TASKS
    ]
    return max(rates, default=None)


def _cold_start(costs: Costs, arm: Arm, cells: Sequence[Cell], cores: int | None) -> tuple[float | None, float]:
    """Seconds that a start from nothing adds, and the standard deviation of its logarithm."""
    cell = next((c for c in cells if c.graph.variant == "plain" and c.by_block), None)
    if cell is None:
        return None, 0.0
    warm = expected_s(costs, cell, slots_of(arm, cell), cores)
    total = exact.median(cell.by_block.values())
    return max(total - warm, 0.0), max(statistics.spread([[math.log(v) for v in cell.by_block.values()]]), 0.05)
