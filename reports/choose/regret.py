"""How right the answers are: what a run names for work that was drawn at random, beside what was measured.

Regret is the measured time under the runner that is named, over that under the best one (bandits and algorithm
selection call it so; Kerschke et al., Automated Algorithm Selection, 2019). It is what a wrong answer costs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from runner_lab.records.cell_id import DRAWN
from runner_lab.records.graph import AnyGraph
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose.choice import Ranked, rank
from runner_lab.reports.choose.ranking import Request


@dataclass(frozen=True)
class Trial:
    """One arm on one piece of work; seconds. `low` and `high`: the 90 % interval that was predicted."""

    arm: str
    slots: int
    has_slots: bool
    measured_s: float
    predicted_s: float
    low_s: float
    high_s: float

    @property
    def error(self) -> float:
        """Relative, without its sign: 0.1 is 10 % off."""
        return abs(self.predicted_s / self.measured_s - 1)

    @property
    def covered(self) -> bool:
        return self.low_s <= self.measured_s <= self.high_s


@dataclass(frozen=True)
class Tested:
    """One piece of work: what was named for it, and every arm that was measured, fastest first."""

    request: Request
    named: Trial
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        return self.trials[0]

    @property
    def regret(self) -> float:
        """1 where the named arm is the fastest."""
        return self.named.measured_s / self.best.measured_s


@dataclass(frozen=True)
class Regret:
    """All of a run's, in the order they were drawn."""

    tested: tuple[Tested, ...]

    @property
    def trials(self) -> list[Trial]:
        return [trial for one in self.tested for trial in one.trials]

    def regret_at(self, share: float) -> float:
        """The quantile of the regrets: 0.5 for the median, 1 for the worst."""
        return float(np.quantile([one.regret for one in self.tested], share))

    def error_at(self, share: float) -> float:
        """The quantile of the errors of all predictions, relative."""
        return float(np.quantile([trial.error for trial in self.trials], share))

    @property
    def covered(self) -> float:
        """The share of measured times within the 90 % interval that was predicted."""
        return float(np.mean([trial.covered for trial in self.trials]))

    def width_at(self, share: float) -> float:
        """The quantile of the upper over the lower end of the predicted intervals."""
        return float(np.quantile([trial.high_s / trial.low_s for trial in self.trials], share))


def regret(summary: Summary) -> Regret | None:
    """What the run's records of drawn work say; `None` without any, or without an answer to any."""
    drawn: dict[AnyGraph, list[Cell]] = {}
    for cell in summary.of(DRAWN):
        drawn.setdefault(cell.graph, []).append(cell)
    found = (_tested(summary, graph, cells) for graph, cells in drawn.items())
    tested = tuple(one for one in found if one is not None)
    return Regret(tested) if tested else None


def _tested(summary: Summary, graph: AnyGraph, cells: Sequence[Cell]) -> Tested | None:
    slots = None if _free(graph, cells) else own_slots(summary)
    there_s, here_s = cells[0].api_latency_s, {found.costs.api_latency_s for found in summary.model.arms}
    request = Request.of(graph, cells[0].cold, slots, None if there_s in here_s else there_s)
    answer = {arm.arm: arm for arm in rank(summary, request)}
    if not answer:
        return None
    trials = [_trial(answer[name], cell) for cell in cells if (name := summary.label(cell.arm)) in answer]
    named = next(iter(answer.values()))
    of_named = next((trial for trial in trials if trial.arm == named.arm), None)
    if of_named is None:
        return None
    return Tested(request, of_named, tuple(sorted(trials, key=lambda trial: trial.measured_s)))


def _trial(arm: Ranked, cell: Cell) -> Trial:
    assert cell.time_s is not None
    return Trial(arm.arm, arm.slots, arm.has_slots, cell.time_s.value, arm.seconds, arm.low, arm.high)


def own_slots(summary: Summary) -> int:
    """The run's own number of slots."""
    return next(arm.workers for arm in summary.arms if arm.name == summary.run.baseline)


def _free(graph: AnyGraph, cells: Sequence[Cell]) -> bool:
    """Whether it had as many slots as it liked: waiting work that was measured in others than the run's."""
    return graph.work.kind == "sleep" and any(cell.resized for cell in cells)


def to_json(found: Regret) -> str:
    """Every piece of work with its trials, and the figures over all; seconds and ratios."""
    return json.dumps(
        {
            "regret": {"median": found.regret_at(0.5), "p95": found.regret_at(0.95), "max": found.regret_at(1.0)},
            "error": {"median": found.error_at(0.5), "p90": found.error_at(0.9)},
            "covered": found.covered,
            "interval": {"median": found.width_at(0.5), "p90": found.width_at(0.9)},
            "tested": [asdict(one) | {"regret": one.regret} for one in found.tested],
        },
        allow_nan=False,
    )
