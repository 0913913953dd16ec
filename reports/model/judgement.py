"""The models of a run, judged: every graph that can be spared is kept out once, and predicted by what is left."""

from __future__ import annotations

import math
import statistics as exact
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner_lab.records.cell_id import DRAWN
from runner_lab.records.graph import AnyGraph
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Noise, level_with_best
from runner_lab.reports.model import fitting
from runner_lab.reports.model.model import ArmModel

CLOSE = ("metg",)
"""Suites no graph of which is kept out: their durations lie so close that a neighbour would give the answer away."""
ENOUGH_HELD_OUT = 3
"""Held-out cells of an arm from which their error, and not that of the fit, says how good its model is."""

POOLED_WEIGHT = 8
"""Degrees of freedom that what is usual in a run counts for beside an arm's own cells."""
LEAST_MISFIT = 0.08
"""Standard deviation of log(predicted / measured) that a model of this form has at least."""
MOST_OFF = 3.0
"""Times the usual misfit that one held-out cell counts for at most."""
USUAL_NOISE = 0.06
"""Standard deviation of the logarithm of one measurement, before the run has told: that of a quiet machine."""


@dataclass(frozen=True)
class HeldOut:
    """A cell that was predicted by a fit which had not seen its graph; makespans in seconds.

    blocks: how many measurements `measured_s` is the mean of.
    """

    suite: str
    graph: AnyGraph
    arm: str
    workers: int
    measured_s: float
    predicted_s: float
    blocks: int = 1

    @property
    def error(self) -> float:
        """Relative, without its sign: 0.1 is 10 % off."""
        return abs(self.predicted_s / self.measured_s - 1)


@dataclass(frozen=True)
class RunModel:
    """The fitted arms of a run and what became of the cells that were kept out.

    median_error: relative, over all held-out cells; `None` where none could be spared.
    named:        held-out graphs for which the arm with the smallest prediction is the truly fastest one, or cannot be
                  told from it by the paired comparison of the measurements, of so many `judged`; under the run's own
                  number of workers.
    skipped:      arms too few of whose cells were measured for a fit.
    """

    arms: tuple[ArmModel, ...]
    held_out: tuple[HeldOut, ...]
    median_error: float | None
    named: int
    judged: int
    skipped: tuple[str, ...]

    def arm(self, name: str) -> ArmModel | None:
        return next((arm for arm in self.arms if arm.arm.name == name), None)


def judge(arms: Sequence[Arm], cells: Sequence[Cell], cores: int | None, noise: Noise) -> RunModel:
    """Fit every arm that a user can choose: not the engines without Prefect, not the control."""
    choices = {arm.name: arm for arm in arms if arm.choosable}
    fits = {name: fitting.fit(arm, cells, cores) for name, arm in choices.items()}
    fitted = {name: found for name, found in fits.items() if found is not None}
    warm = [c for c in cells if fitting.usable(c) and c.arm in fitted]
    held: list[HeldOut] = []
    named = compared = 0
    for graph in spared([c for c in warm if c.suite not in CLOSE]):
        rest = [c for c in cells if c.graph != graph]
        out = [c for c in warm if c.graph == graph]
        whole = {name: fitted[name] for name in {c.arm for c in out}}
        left = {name: fitting.fit(found.arm, rest, found.cores, found.costs) for name, found in whole.items()}
        predicted = [(c, _expected_s(found, c)) for c in out if (found := left[c.arm]) is not None]
        held += [
            HeldOut(c.suite, graph, c.arm, c.workers, c.time_s.value, expected_s, max(len(c.by_block), 1))
            for c, expected_s in predicted
            if c.time_s
        ]
        under_own = {c.arm: expected_s for c, expected_s in predicted if not c.resized}
        alike = [c for c, _ in predicted if not c.resized]
        if len(alike) > 1:
            compared += 1
            truly = level_with_best({c.arm: c.by_block for c in alike}, noise)
            named += min((c.arm for c in alike), key=lambda name: under_own[name]) in truly
    every = [c for c in cells if c.arm in fitted and c.suite != DRAWN]
    models = tuple(
        _with_error(found, [c for c in every if c.arm == name], every, held) for name, found in fitted.items()
    )
    return RunModel(
        arms=models,
        held_out=tuple(held),
        median_error=exact.median(h.error for h in held) if held else None,
        named=named,
        judged=compared,
        skipped=tuple(arm.label for name, arm in choices.items() if name not in fitted),
    )


def spared(warm: Sequence[Cell]) -> list[AnyGraph]:
    """The graphs that can be kept out, in the order of the cells, without losing what they alone tell.

    That is: three widths of empty tasks are left with two, and a payload with one other. No term is about one kind of
    work alone, so each graph of work can be spared.
    """
    graphs = list(dict.fromkeys(c.graph for c in warm))
    empty = [g for g in graphs if g.work.seconds == 0 and not g.payload_bytes]
    sizes = {g.tasks for g in empty}

    def can_be(graph: AnyGraph) -> bool:
        if graph.work.seconds:
            return len(sizes) >= fitting.FEWEST_SIZES
        if graph.payload_bytes:
            return any(g != graph and g.payload_bytes for g in graphs)
        return len(sizes - {graph.tasks}) >= fitting.FEWEST_SIZES

    return [graph for graph in graphs if can_be(graph)]


def _expected_s(found: ArmModel, cell: Cell) -> float:
    return fitting.graph_s(found.costs, cell.graph, int(found.slots(max(cell.workers, 1))), found.cores)


def _with_error(found: ArmModel, cells: Sequence[Cell], every: Sequence[Cell], held: Sequence[HeldOut]) -> ArmModel:
    """The arm with its spreads pooled with those of the run's other arms.

    Its own few cells tell little of them, and the arms share the machine and so most of its noise.
    """
    noise = _noise([c for c in cells if not c.cold], [c for c in every if not c.cold])
    logs = [(math.log(h.predicted_s / h.measured_s), h) for h in held if h.predicted_s > 0]
    own = [(log, h) for log, h in logs if h.arm == found.arm.name]
    misfit, free = found.misfit, found.free
    if len(own) >= ENOUGH_HELD_OUT:
        # By the median: one cell that a busy machine spoiled is not the model's error.
        usual = max(1.4826 * exact.median(abs(log) for log, _ in logs), LEAST_MISFIT)
        # What the measurements that it is held against scatter is in `noise`, and counts once.
        scatter = noise**2 * exact.fmean(1 / h.blocks for _, h in own)
        off = _pooled(usual, [min(abs(log), MOST_OFF * usual) ** 2 for log, _ in own])
        misfit = math.sqrt(max(off**2 - scatter, LEAST_MISFIT**2))
        free = POOLED_WEIGHT + len(own)
    return replace(
        found,
        misfit=misfit,
        free=free,
        noise=noise,
        cold_noise=_noise([c for c in cells if c.cold], [c for c in every if c.cold]),
    )


def _noise(own: Sequence[Cell], every: Sequence[Cell]) -> float:
    """Standard deviation of the logarithm of one measurement."""
    return _pooled(_pooled(USUAL_NOISE, _deviations(every)), _deviations(own))


def _pooled(usual: float, squares: Sequence[float]) -> float:
    """A standard deviation from squares of deviations, together with what is usual."""
    return math.sqrt((POOLED_WEIGHT * usual**2 + sum(squares)) / (POOLED_WEIGHT + len(squares)))


def _deviations(cells: Sequence[Cell]) -> list[float]:
    """Squares that sum up to the cells' own spread, as many as its degrees of freedom."""
    found = []
    for cell in cells:
        logs = [math.log(value) for value in cell.by_block.values()]
        if len(logs) > 1:
            found += [exact.variance(logs)] * (len(logs) - 1)
    return found
