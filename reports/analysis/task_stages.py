"""Where a task's time goes under each arm, over all blocks, and what looking cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from runner_lab.records.record import Record
from runner_lab.records.task_stages import STAGES, TaskStages
from runner_lab.reports.analysis import statistics
from runner_lab.reports.analysis.statistics import Estimate

SUITE = "task_stages"
ALLOWED = 0.02
"""Share of a task's time that the probe may add before the report warns of it."""


@dataclass(frozen=True)
class ArmStages:
    """One arm's tasks of the task_stages suite, one at a time.

    stages_s: mean seconds a task by stage; what could not be measured in every block is missing.
    total_s:  mean seconds from submit to done, with the probe on: the sum of all stages, the missing ones too.
    tasks:    that the stages are of.
    probe:    time of a task with the probe on over that with it off, in the same flow runs.
    """

    arm: str
    stages_s: dict[str, float]
    total_s: float
    tasks: int
    probe: Estimate | None

    @property
    def untold_s(self) -> float:
        """What belongs to stages that could not be told apart."""
        return max(0.0, self.total_s - sum(self.stages_s.values())) if len(self.stages_s) < len(STAGES) else 0.0


@dataclass(frozen=True)
class StagesOfArms:
    """All arms of the task_stages suite, in display order. `probe` is pooled over them: the A/A of the probe."""

    arms: tuple[ArmStages, ...]
    probe: Estimate | None


def collect(records: Sequence[Record], arms: Sequence[str]) -> StagesOfArms:
    """What these records tell; those of cells that failed do not count."""
    by_arm: dict[str, list[TaskStages]] = {}
    for record in records:
        # The chains of other suites are there for other questions, one of them far from the API.
        if record.suite != SUITE or record.status != "ok" or record.task_stages is None:
            continue
        if record.task_stages.probed_s:
            by_arm.setdefault(record.arm, []).append(record.task_stages)
    strata = [logs for found in by_arm.values() if (logs := _log_ratios(found))]
    return StagesOfArms(
        arms=tuple(_arm_stages(arm, by_arm[arm]) for arm in arms if arm in by_arm),
        probe=_ratio(strata) if strata else None,
    )


def _arm_stages(arm: str, found: Sequence[TaskStages]) -> ArmStages:
    logs = _log_ratios(found)
    return ArmStages(
        arm=arm,
        stages_s={
            stage: fmean(stages.stages_s[stage] for stages in found)
            for stage in STAGES
            if all(stage in stages.stages_s for stages in found)
        },
        total_s=fmean(fmean(stages.probed_s) for stages in found),
        tasks=sum(len(stages.probed_s) for stages in found),
        probe=_ratio([logs]) if logs else None,
    )


def _log_ratios(found: Sequence[TaskStages]) -> list[float]:
    """Of medians, a value a block: a task that something else held up would move the mean of a few tasks."""
    pairs = [(median(stages.probed_s), median(stages.unprobed_s)) for stages in found if stages.unprobed_s]
    return [math.log(on / off) for on, off in pairs if on > 0 and off > 0]


def _ratio(strata: Sequence[Sequence[float]]) -> Estimate:
    return statistics.from_logs(statistics.mean(strata))
