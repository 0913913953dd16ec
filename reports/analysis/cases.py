"""The real flows under every runner, read from the run folder of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from runner_lab.records import cases as cases_file
from runner_lab.records import record as record_files
from runner_lab.records.cases import ArmTime, CasesPlan, MeasuredCase, MeasuredCases, NamedTime, Predicted
from runner_lab.records.record import COMPARE, CONTROL, YOURS
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Estimate, Noise, level_with_best
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.words import comparison, units

DEFAULT = "threads"
"""What a flow that declares no runner has."""
_FEWEST_PAIRS = 3


def measured(folder: Path, plan: CasesPlan, does: dict[str, str]) -> MeasuredCases:
    """What was measured so far.

    Args:
        does: what each case does, in a sentence.

    Raises:
        RecordError: records or a prediction cannot be used.
    """
    summaries = {name: summarise(folder / name) for name in plan.cases if _has_records(folder / name)}
    noise = {name: found.noise_by_suite.get(COMPARE, found.noise) for name, found in summaries.items()}
    shared = _shared(list(noise.values()))
    return MeasuredCases(
        plan=plan,
        cases=tuple(
            _case(folder, name, does.get(name, ""), summaries.get(name), shared or noise.get(name))
            for name in plan.cases
        ),
    )


def _has_records(run: Path) -> bool:
    records = run / record_files.FILE_NAME
    return records.exists() and records.stat().st_size > 0


def _shared(noise: Sequence[Noise]) -> Noise | None:
    """Of flows that were measured once each: one pair of identical runs tells nothing, those of all flows do."""
    logs = [math.log(one.ratio.value) for one in noise if one.ratio is not None and one.sigma is None]
    if len(logs) < max(len(noise), _FEWEST_PAIRS):
        return None
    sigma = math.sqrt(sum(log * log for log in logs) / len(logs))
    # As many degrees of freedom as pairs: that identical runs are equally fast on average is known.
    return Noise(ratio=Estimate(1.0, None, None, len(logs) + 1), sigma=sigma, threshold=0.0)


def _case(folder: Path, name: str, does: str, summary: Summary | None, noise: Noise | None) -> MeasuredCase:
    predicted = cases_file.read_predicted(folder / name)
    if summary is None or noise is None:
        return MeasuredCase(case=name, does=does, folder=name, predicted=predicted)
    names = _names(summary)
    cells = {cell.arm: cell for cell in summary.cells if cell.suite == COMPARE}
    arms = [arm for arm in summary.arms if arm.role != "control" and arm.name in cells]
    times = tuple(_time(names[arm.name], arm, cells[arm.name]) for arm in arms)
    by_block = {names[arm.name]: cells[arm.name].by_block for arm in arms if cells[arm.name].by_block}
    level = level_with_best(by_block, noise) if by_block else ()
    best = level[0] if level else None
    case = MeasuredCase(
        case=name,
        does=does,
        folder=name,
        arms=times,
        best=best,
        level=level,
        results=_results(summary),
        predicted=predicted,
        ratios=_ratios(times, predicted),
    )
    return case.model_copy(update={"named": _named(folder, case)})


def _names(summary: Summary) -> dict[str, str]:
    """The flow's own runner by the name of what it is, where that is Prefect's default."""
    taken = {arm.name for arm in summary.arms}
    default = summary.flow is not None and not summary.flow.own_runner and DEFAULT not in taken
    return {arm.name: DEFAULT if arm.name == YOURS and default else arm.label for arm in summary.arms}


def _time(name: str, arm: Arm, cell: Cell) -> ArmTime:
    time = cell.time_s
    interval = time is not None and not time.vague
    return ArmTime(
        arm=name,
        slots=comparison.slots(arm, "no limit"),
        workers=arm.workers,
        seconds=time.value if time else None,
        low=time.low if time and interval else None,
        high=time.high if time and interval else None,
        blocks=cell.ok,
        failed=cell.failed,
        error=units.printable(cell.errors[0][1]) if cell.errors else "",
    )


def _results(summary: Summary) -> Literal["same", "different", "unknown"]:
    """Of all runs of the flow, those that failed before they had a result left out."""
    judged = {run.result for run in comparison.flow_runs(summary)}
    if "different" in judged:
        return "different"
    ended = {cell.flow_runs[block].result for cell in summary.cells for block in cell.by_block}
    return "same" if ended and ended <= {"same", "nothing"} else "unknown"


def _named(folder: Path, case: MeasuredCase) -> NamedTime | None:
    """From the run of the case, or from its own where the slots that were recommended are no runner's usual ones."""
    if case.predicted is None:
        return None
    named = case.predicted.named
    seconds = {time.arm: time.seconds for time in case.arms if time.seconds}
    arm = named.arm
    if not case.measured_as_named:
        if not _has_records(run := beside(folder, case.case)):
            return None
        arm = named.resized
        summary = summarise(run)
        names = _names(summary)
        times = {names[cell.arm]: cell.time_s for cell in summary.cells if cell.suite == COMPARE and cell.arm in names}
        seconds = {name: time.value for name, time in times.items() if time is not None and name != CONTROL}
    if arm not in seconds or len(seconds) < 2:
        return None
    best = min((name for name in seconds if name != arm), key=seconds.__getitem__)
    return NamedTime(seconds=seconds[arm], best=best, best_s=seconds[best])


def beside(folder: Path, name: str) -> Path:
    """Where the runner that was recommended for a case is measured beside the best one."""
    return folder / f"{name}-named"


def _ratios(times: tuple[ArmTime, ...], predicted: Predicted | None) -> dict[str, float]:
    of = {ranked.arm: ranked.seconds for ranked in predicted.usual_slots} if predicted else {}
    return {time.arm: of[time.arm] / time.seconds for time in times if time.seconds and time.arm in of}
