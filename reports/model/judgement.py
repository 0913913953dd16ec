"""The models of a run, judged: every graph that can be spared is kept out once, and predicted by what is left."""

from __future__ import annotations

import math
import statistics as exact
from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class HeldOut:
    """A cell that was predicted by a fit which had not seen its graph; makespans in seconds."""

    suite: str
    graph: AnyGraph
    arm: str
    workers: int
    measured_s: float
    predicted_s: float

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
    choices = {arm.name: arm for arm in arms if not arm.bare and arm.role != "control"}
    fits = {name: fitting.fit(arm, cells, cores) for name, arm in choices.items()}
    fitted = {name: found for name, found in fits.items() if found is not None}
    warm = [c for c in cells if fitting.usable(c) and c.arm in fitted]
    held: list[HeldOut] = []
    named = compared = 0
    for graph in spared([c for c in warm if c.suite not in CLOSE]):
        rest = [c for c in cells if c.graph != graph]
        out = [c for c in warm if c.graph == graph]
        left = {name: fitting.fit(fitted[name].arm, rest, fitted[name].cores) for name in {c.arm for c in out}}
        predicted = [(c, _expected_s(found, c)) for c in out if (found := left[c.arm]) is not None]
        held += [
            HeldOut(c.suite, graph, c.arm, c.workers, c.time_s.value, expected_s)
            for c, expected_s in predicted
            if c.time_s
        ]
        under_own = {c.arm: expected_s for c, expected_s in predicted if not c.resized}
        alike = [c for c, _ in predicted if not c.resized]
        if len(alike) > 1:
            compared += 1
            truly = level_with_best({c.arm: c.by_block for c in alike}, noise)
            named += min((c.arm for c in alike), key=lambda name: under_own[name]) in truly
    models = tuple(_with_error(found, [h for h in held if h.arm == name]) for name, found in fitted.items())
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
    return fitting.expected_s(found.costs, cell, fitting.slots_of(found.arm, cell), found.cores)


def _with_error(found: ArmModel, held: Sequence[HeldOut]) -> ArmModel:
    if len(held) < ENOUGH_HELD_OUT:
        return found
    squares = [math.log(h.predicted_s / h.measured_s) ** 2 for h in held if h.predicted_s > 0]
    weight = fitting.MISFIT_WEIGHT
    misfit = math.sqrt((weight * found.misfit**2 + sum(squares)) / (weight + len(squares)))
    return replace(found, misfit=misfit, free=int(weight) + len(squares))
