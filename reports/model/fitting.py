"""The cost model's terms, fitted to a run's cells.

What can be read off is read off: CPU seconds a task in driver, workers and server, from slopes over numbers of tasks.
The other terms are fitted to makespans by robust least squares on the logarithm, so that 10 % off counts the same for
0.1 s and for 100 s, each with a log-normal prior around what the CPU seconds say of it (a maximum a posteriori estimate
with Laplace's approximation; Gelman et al., Bayesian Data Analysis, 4.1). A term that no cell tells keeps its prior and
the prior's width, and so never swings an answer by chance.
"""

from __future__ import annotations

import math
import statistics as exact
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize

from runner_lab.records.cell_id import API_FAR, API_NEAR, DRAWN
from runner_lab.records.graph import AnyGraph
from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.model.costs import CPU_KINDS, STIRRED_S, Costs, makespan_s
from runner_lab.reports.model.distance import api_trips
from runner_lab.reports.model.model import ArmModel, MeasuredReach, slots_of

FEWEST_SIZES = 2
MISFIT_PRIOR = 0.10
"""Standard deviation of log(predicted / measured) that a model of this form leaves, before a run has told its own."""
MISFIT_WEIGHT = 4.0
"""Measured cells that the prior of the misfit counts for."""
FEW_TASKS = 10
"""Cells below this say little of what one submit costs."""
SHORTEST_S = 1e-6
HEARTBEAT_S = 1.0
"""How long Prefect's heartbeat thread sleeps at a time; no setting changes it."""
QUICK_START_S, WAITED_S = 0.7, 0.3
"""A cold start with its last result before the first, and an end longer than the second, waited for the heartbeat."""
USUALLY_STIRRED, STIRRED_SD = 1.3, 0.3
"""Times that Prefect's part of a task takes where bodies take a while, before a run has told, and how far from it that
may be."""
READ_TO = 0.05
"""Relative standard deviation of the CPU seconds of a cell, at least. It is that of one measured time in the run."""


@dataclass(frozen=True)
class Prior:
    """A log-normal guess at a term: its median, and the standard deviation of its logarithm."""

    median: float
    log_sd: float


def fit(arm: Arm, cells: Sequence[Cell], cores: int | None, near: Costs | None = None) -> ArmModel | None:
    """The model of one arm from its cells among `cells`, those of the same runner with other workers included.

    Args:
        near: terms of a fit to nearly the same cells, from which the search begins.

    Returns:
        `None` with fewer than two sizes of plain, warm graphs: then nothing tells a fixed cost from that of a task.
    """
    warm = [c for c in cells if usable(c) and c.arm == arm.name]
    if len({c.graph.tasks for c in warm}) < FEWEST_SIZES:
        return None
    cpu = _cpu(warm, max(_spread([c for c in cells if usable(c)]), READ_TO))
    cores = cores if cpu is not None else None
    before_s = None if arm.traits.event_loop else before_heartbeats_s(cells)
    server_fixed_s, server_task_s = _server_cpu(warm)
    noise = _spread(warm)
    known = Costs(
        driver_s=0.0,
        slot_s=0.0,
        cpu_s=cpu.task_s if cpu else 0.0,
        server_cpu_s=server_task_s,
        server_fixed_cpu_s=server_fixed_s,
        fixed_s=0.0,
        fixed_cpu_s=cpu.fixed_s if cpu else 0.0,
        payload_s=None,
        shares_gil=shares_gil(arm),
        cold_s=None,
        server_tasks_per_s=_server_limit(warm),
        starts_slots=not in_driver(arm),
        pool_in_run=arm.traits.reach == "host",
        measured_slots=_slots(arm, warm[0]),
        event_loop=arm.traits.event_loop,
        api_latency_s=warm[0].api_latency_s,
        api_trips=api_trips(arm.name, cells, _slots(arm, warm[0])),
        # In an event loop all bodies wait at the same time, and none is between two tasks.
        stirred=1.0 if arm.traits.event_loop else cpu.stirred if cpu else USUALLY_STIRRED,
        heartbeat_s=0.0 if before_s is None else HEARTBEAT_S,
    )
    priors = _priors(arm, warm, cpu)
    fitted = _fit_makespans(arm, warm, known, priors, cores, noise, near)
    reach = MeasuredReach(
        tasks=max(c.graph.tasks for c in warm),
        body_s=max(c.graph.body_s for c in warm),
        payload_bytes=max(c.graph.payload_bytes * c.graph.width for c in warm),
        worker_counts=tuple(sorted({c.workers for c in warm})),
        kinds=tuple(dict.fromkeys(c.graph.work.kind for c in warm)),
    )
    started = [c for c in cells if c.arm == arm.name and c.cold and c.suite != DRAWN]
    costs, cold_noise = _with_start(fitted.costs, arm, started, cores, before_s)
    return ArmModel(
        arm,
        costs,
        tuple(priors),
        fitted.covariance,
        fitted.misfit,
        fitted.free,
        noise,
        cold_noise,
        cores,
        reach,
    )


def _slots(arm: Arm, cell: Cell) -> int:
    """Bodies at a time."""
    return int(slots_of(arm, max(cell.workers, 1)))


def in_driver(arm: Arm) -> bool:
    """Whether the slots are in the flow's own process."""
    return arm.traits.reach == "process"


def shares_gil(arm: Arm) -> bool:
    """As the engine says; where it does not, slots in the flow's own process share its GIL."""
    known = arm.traits.slots_share_gil
    return in_driver(arm) if known is None else known


def usable(cell: Cell) -> bool:
    """Warm, of plain tasks, measured, and as far from the API as the run is: what the makespan is fitted to.

    Asynchronous tasks cost a runner something else; an event loop has them in every graph.
    """
    if cell.suite in (DRAWN, API_NEAR, API_FAR) or cell.graph.asynchronous:
        return False
    return not cell.cold and cell.graph.variant in ("plain", "map") and cell.time_s is not None and cell.graph.tasks > 0


def graph_s(costs: Costs, graph: AnyGraph, workers: int, cores: int | None) -> float:
    """The model's makespan of one of the lab's graphs, seconds."""
    tasks, working, body_s, payload_bytes = _shape(graph)
    return float(makespan_s(costs, tasks, working, body_s, graph.work.kind, payload_bytes, workers, cores))


def _shape(graph: AnyGraph) -> tuple[int, int, float, int]:
    """Tasks, those of them that work, seconds of a body, and payload bytes over all."""
    working = graph.width if graph.work.seconds > 0 else 0
    return graph.tasks, working, graph.body_s, graph.payload_bytes * graph.width


@dataclass(frozen=True)
class _Cpu:
    """Core-seconds beyond the bodies' own: of a flow run, and of a task in all, in the driver, and in the workers.

    stirred: times as much a task takes where bodies take a while.
    """

    fixed_s: float
    task_s: float
    driver_task_s: float
    worker_task_s: float
    stirred: float


@dataclass(frozen=True)
class _Fitted:
    costs: Costs
    covariance: tuple[tuple[float, ...], ...]
    misfit: float
    free: int


def _priors(arm: Arm, cells: Sequence[Cell], cpu: _Cpu | None) -> dict[str, Prior]:
    """What is guessed of each term that is to be fitted, before any makespan is looked at."""
    slots = _slots(arm, cells[0])
    empty = [c for c in cells if c.graph.work.seconds == 0 and not c.graph.payload_bytes and c.time_s] or list(cells)
    widest = max(empty, key=lambda c: c.graph.tasks)
    each_s = max(widest.time_s.value / widest.graph.tasks, SHORTEST_S) if widest.time_s else SHORTEST_S
    shortest_s = min(c.time_s.value for c in cells if c.time_s)
    submit_s = _submit(cells)
    priors = {"fixed_s": Prior(0.1 * shortest_s, 2.0)}
    if arm.without_engine:
        priors["slot_s"] = Prior(each_s, 1.0)
    elif in_driver(arm):
        # All that Prefect does for a task is under one GIL; a slot is held for longer, as it waits for its turn.
        priors["driver_s"] = Prior(max(cpu.task_s if cpu else 0.5 * each_s, SHORTEST_S), 0.3)
        priors["slot_s"] = Prior(max(cpu.task_s if cpu else each_s, SHORTEST_S), 1.0)
    else:
        driver_s = max(cpu.driver_task_s if cpu else submit_s, 0.5 * submit_s, SHORTEST_S)
        priors["driver_s"] = Prior(driver_s, 0.5)
        priors["slot_s"] = Prior(max(1.2 * cpu.worker_task_s if cpu else slots * each_s, SHORTEST_S), 0.7)
    carried = [
        c.time_s.value / (c.graph.payload_bytes * c.graph.width) for c in cells if c.graph.payload_bytes and c.time_s
    ]
    if carried:
        priors["payload_s"] = Prior(0.1 * min(carried), 2.0)
    return priors


def _fit_makespans(
    arm: Arm,
    cells: Sequence[Cell],
    known: Costs,
    priors: dict[str, Prior],
    cores: int | None,
    noise: float,
    near: Costs | None,
) -> _Fitted:
    names = tuple(priors)
    middle = np.log([p.median for p in priors.values()])
    width = np.array([p.log_sd for p in priors.values()])
    measured = np.array([c.time_s.value for c in cells if c.time_s])
    blocks = np.array([max(len(c.by_block), 1) for c in cells])
    unsure = np.sqrt(MISFIT_PRIOR**2 + max(noise, 0.02) ** 2 / blocks)
    rows = _rows(arm, cells)

    def residuals(logs: Any) -> Any:
        here = known.with_fitted(np.exp(np.clip(logs, -60, 60)), names)
        times = np.empty(len(measured))
        for kind, (at, shape) in rows.items():
            tasks, working, body_s, payload_bytes, slots = shape
            times[at] = makespan_s(here, tasks, working, body_s, kind, payload_bytes, slots, cores)
        return np.log(np.maximum(times, 1e-9) / measured)

    def penalised(logs: Any) -> Any:
        return np.append(residuals(logs) / unsure, (logs - middle) / width)

    # Where another place decides, a change of a term changes nothing: each is also tried as the one that decides.
    starts = [middle, middle - width, middle + 0.5 * width]
    starts += [middle + 2 * width * (np.array(names) == name) for name in ("driver_s", "slot_s") if name in names]
    if near is not None:
        starts = [np.array([math.log(getattr(near, name) or prior.median) for name, prior in priors.items()])]
    found = min(
        (optimize.least_squares(penalised, start, loss="soft_l1", f_scale=2.0, max_nfev=200) for start in starts),
        key=lambda result: float(result.cost),
    )
    error = residuals(found.x)
    slopes = optimize.approx_fprime(found.x, lambda x: residuals(x) / unsure, 1e-5)
    information = slopes.T @ slopes + np.diag(width**-2)
    free = MISFIT_WEIGHT + len(measured) - 1
    # A cell that a busy machine spoiled says little of the form of the model.
    kept = np.sort(np.abs(error))[: max(1, math.ceil(0.9 * len(error)))]
    misfit = math.sqrt((MISFIT_WEIGHT * MISFIT_PRIOR**2 + float(kept @ kept)) / (MISFIT_WEIGHT + len(kept)))
    return _Fitted(
        known.with_fitted(np.exp(found.x), names),
        tuple(tuple(map(float, row)) for row in np.linalg.inv(information)),
        misfit,
        int(free),
    )


def _rows(arm: Arm, cells: Sequence[Cell]) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """By kind of work: which cells, and their tasks, working tasks, seconds of a body, payload bytes and slots."""
    kinds = np.array([c.graph.work.kind for c in cells])
    columns = np.array([(*_shape(c.graph), _slots(arm, c)) for c in cells], dtype=float).T
    return {kind: (kinds == kind, tuple(columns[:, kinds == kind])) for kind in dict.fromkeys(kinds)}


def _submit(cells: Sequence[Cell]) -> float:
    """The smallest mean submit of any cell, seconds a task: where the driver did not wait for the CPU."""
    known = [(c.graph.tasks, c.submit_s.value) for c in cells if c.submit_s is not None]
    large = [(tasks, seconds) for tasks, seconds in known if tasks >= FEW_TASKS] or known
    return min((seconds / tasks for tasks, seconds in large), default=0.0)


def _spread(cells: Sequence[Cell]) -> float:
    """Standard deviation of the logarithm of one measurement, over the blocks of a cell."""
    return statistics.spread([[math.log(v) for v in c.by_block.values()] for c in cells])


def _cpu(cells: Sequence[Cell], read_to: float) -> _Cpu | None:
    """Core-seconds from the slopes over numbers of tasks, empty and with a body; `None` where they were not seen.

    Args:
        read_to: relative standard deviation of a cell's CPU seconds.
    """
    rows, whole, driver = [], [], []
    least = 0.02 * max((c.cpu_s.own or 0.0 for c in cells), default=0.0)
    for cell in cells:
        if cell.cpu_s.driver is None or cell.cpu_s.workers is None:
            continue
        bodies = cell.graph.width * cell.graph.body_s if cell.graph.work.kind in CPU_KINDS else 0.0
        total = cell.cpu_s.driver + cell.cpu_s.workers
        weight = 1 / max(total, least, 1e-9)
        stirring = cell.graph.width * min(cell.graph.body_s / STIRRED_S, 1.0)
        rows.append([weight, weight * cell.graph.tasks, weight * stirring])
        whole.append(weight * max(total - bodies, 0.0))
        driver.append(weight * min(cell.cpu_s.driver, max(total - bodies, 0.0)))
    if len({row[1] / row[0] for row in rows}) < FEWEST_SIZES:
        return None
    table = np.array(rows)
    _, roughly = optimize.nnls(table[:, :2], np.array(whole))[0]
    # What bodies add is near what is usual, unless the cells say otherwise.
    usual = read_to / (STIRRED_SD * max(roughly, 1e-9)) * np.array([[0.0, 1.0 - USUALLY_STIRRED, 1.0]])
    fixed, per_task, added = optimize.nnls(np.vstack([table, usual]), np.append(whole, 0.0))[0]
    _, in_driver, _ = optimize.nnls(np.vstack([table, usual]), np.append(driver, 0.0))[0]
    in_driver = min(in_driver, per_task)
    return _Cpu(
        float(fixed),
        float(per_task),
        float(in_driver),
        float(per_task - in_driver),
        1.0 + float(added / per_task) if per_task > 0 else USUALLY_STIRRED,
    )


def _server_cpu(cells: Sequence[Cell]) -> tuple[float, float]:
    """Core-seconds of a flow run and of a task on the server, until all task runs were recorded.

    While the flow runs the server does as much of it as there is time for. Older runs have only that: it is read off
    their wider cells.
    """
    whole = [(c.graph.tasks, c.server_cpu_s) for c in cells if c.server_cpu_s]
    if len({tasks for tasks, _ in whole}) >= FEWEST_SIZES:
        rows = np.array([[1 / cpu_s, tasks / cpu_s] for tasks, cpu_s in whole])
        fixed, per_task = optimize.nnls(rows, np.ones(len(rows)))[0]
        return float(fixed), float(per_task)
    known = sorted((c.graph.tasks, c.cpu_s.server / c.graph.tasks) for c in cells if c.cpu_s.server is not None)
    wide = [each for _, each in known[len(known) // 2 :]]
    return 0.0, exact.median(wide or [0.0])


def _server_limit(cells: Sequence[Cell]) -> float | None:
    """Task runs a second taken down in the cells after which the server was still behind, the best of them."""
    rates = [
        c.graph.tasks / ((c.total_s or 0.0) + c.visibility_lag_s)
        for c in cells
        if c.visibility_lag_s and c.total_s and c.visibility_lag_s > 0.3 * c.total_s and c.graph.tasks >= FEW_TASKS
    ]
    return max(rates, default=None)


def before_heartbeats_s(cells: Sequence[Cell]) -> float | None:
    """Seconds from the call of a cold flow to the start of its heartbeat thread; None if flows do not wait for one.

    Prefect's thread sleeps a second at a time, and a flow that is not `async` waits for it at its end. So the flow
    returns a whole number of seconds after the thread began (`prefect.flow_engine._send_heartbeats`). It is seen in
    cold starts that take almost no time themselves.
    """
    ends = [(c.total_s, c.shutdown_s) for c in cells if c.cold and c.suite != DRAWN and c.total_s and c.shutdown_s]
    waited = [
        total_s - HEARTBEAT_S
        for total_s, shutdown_s in ends
        if total_s - shutdown_s < QUICK_START_S and total_s > HEARTBEAT_S and shutdown_s > WAITED_S
    ]
    return min(waited, default=None)


def _with_start(
    costs: Costs, arm: Arm, cells: Sequence[Cell], cores: int | None, before_s: float | None
) -> tuple[Costs, float]:
    """The terms with what a start from nothing adds, and the standard deviation of that one's logarithm."""
    cell = next((c for c in cells if c.graph.variant in ("plain", "map") and c.by_block), None)
    if cell is None:
        return costs, 0.0
    warm_s = graph_s(costs, cell.graph, _slots(arm, cell), cores)
    total_s = exact.median(cell.by_block.values())
    noise = max(_spread([cell]), 0.05)
    if before_s is None or cell.shutdown_s is None:
        return replace(costs, cold_s=max(total_s - warm_s, 0.0), heartbeat_s=0.0), noise
    # Until the last result; what follows is the wait for the next heartbeat, and what ends after it.
    last_s = max(total_s - cell.shutdown_s - before_s, 0.0)
    outside_s = max(total_s - HEARTBEAT_S * math.ceil(last_s / HEARTBEAT_S), before_s)
    return replace(costs, cold_s=max(last_s - warm_s, 0.0), outside_s=outside_s), noise
