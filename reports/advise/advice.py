"""The advice: where the flow's time goes, which runner to take, what else to change; as data and in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from runner_lab.records.flow_profile import FlowProfile
from runner_lab.reports.advise import remedies as changes
from runner_lab.reports.advise.prediction import (
    FLOW_START_S,
    FlowPrediction,
    PredictedFlow,
    predict,
    prefect_s,
)
from runner_lab.reports.advise.remedies import Remedy
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose.ranking import AS_GOOD
from runner_lab.reports.model.simulation import handed_bytes
from runner_lab.reports.words import units

_SMALLEST_SHARE = 0.02
_PATH_PARTS = 4
_TOLD_SHARE = 0.1
"""Of a time, from which what Prefect waits at the end is told."""
_TOLD_START_S = 1.0
_WITHOUT_RUNNER = {True: "call the tasks, without .submit", False: "await the tasks together with asyncio.gather"}
_CROWDED = 1.1
"""Times as much CPU from which it is told that many threads make a task slower."""
_MOST_LIMITS = 2
"""Of Prefect's limits that a flow takes, told."""
_UNSURE, _UNSURE_S = 0.15, 0.05
"""Relative, and in seconds: so far off the measured time the replay under the flow's own runner may be untold."""


@dataclass(frozen=True)
class TimeSplit:
    """Shares of the flow's time, along what its end waited for."""

    waiting: float
    computing: float
    prefect: float
    data: float
    own: float


@dataclass(frozen=True)
class Verified:
    """One arm as measured, in blocks, beside what was predicted for it: medians, seconds."""

    arm: str
    slots: int
    measured_s: float
    predicted_s: float


@dataclass(frozen=True)
class Advice:
    """
    code: by arm, what the flow declares to have its runner with those slots.
    imports: by arm, the line that its file needs for that.
    at_least_s: what no runner can go below.
    verified: what `--verify` measured.
    """

    prediction: FlowPrediction
    split: TimeSplit
    remedies: tuple[Remedy, ...]
    path: tuple[tuple[str, float, int], ...]
    at_least_s: float
    code: Mapping[str, str]
    imports: Mapping[str, str] = field(default_factory=dict)
    verified: tuple[Verified, ...] = ()


def advise(
    summary: Summary, prediction: FlowPrediction, code: Mapping[str, str], imports: Mapping[str, str] | None = None
) -> Advice:
    """Everything that a prediction says.

    Args:
        summary: of the run that it was made with.
        code: by arm, what a flow declares to have its runner.
        imports: by arm, the line that its file needs for that.
    """

    def best(changed: FlowProfile) -> PredictedFlow:
        return predict(summary, changed, prediction.target).named

    shown = prediction.yours or prediction.named
    return Advice(
        prediction=prediction,
        split=_split(prediction, shown),
        remedies=changes.remedies(prediction, best),
        path=changes.critical(prediction, shown),
        at_least_s=changes.at_least_s(prediction),
        code=code,
        imports=imports or {},
    )


def _split(prediction: FlowPrediction, shown: PredictedFlow) -> TimeSplit:
    """Of a replay's critical path: a run's time is its wait, and Prefect's part and computing, in the proportion
    that they have alone; between runs it is own code and handing over, in that of the flow's function."""
    profile, handling = prediction.profile, prediction.handling_by(shown)
    waiting = computing = prefect = between = 0.0
    for place, seconds in shown.replay.path:
        if place is None:
            between += seconds
            continue
        run = profile.runs[place]
        cost_s = handling.direct_s if run.direct else handling.slot_s
        cost_s += prefect_s(run, profile, shown.model)
        # What it has handed on it has waited for: their time is its own.
        inner = [profile.runs[i] for step in run.steps if step.kind == "submit" for i in step.runs]
        inner_s, waits_s = sum(one.alone_s for one in inner), sum(one.wait_s for one in inner)
        wait_s = min(run.wait_s, seconds)
        wait_s += (seconds - wait_s) * (waits_s / inner_s if inner_s else 0.0)
        share = cost_s / (cost_s + run.cpu_s / run.width + inner_s) if cost_s else 0.0
        waiting, prefect = waiting + wait_s, prefect + share * (seconds - wait_s)
        computing += (1 - share) * (seconds - wait_s)
    own_s, subflows_s = changes.own_code_s(profile), changes.around_subflows_s(profile)
    submitted = [i for i, run in enumerate(profile.runs) if not run.direct]
    each_bytes = handed_bytes(profile, handling)
    moved_s = handling.payload_s * sum(each_bytes[i] for i in submitted)
    handing_s = handling.driver_s * len(submitted)
    whole = (own_s + subflows_s + moved_s + handing_s) or 1.0
    around_s = max(shown.warm_s - shown.replay.seconds, 0.0)
    total = (waiting + computing + prefect + between + around_s) or 1.0
    return TimeSplit(
        waiting=waiting / total,
        computing=computing / total,
        prefect=(prefect + around_s + between * (handing_s + subflows_s) / whole) / total,
        data=between * moved_s / whole / total,
        own=between * own_s / whole / total,
    )


def to_json(advice: Advice) -> str:
    """As data and in words; seconds and bytes."""
    return json.dumps(data(advice), allow_nan=False)


def data(advice: Advice) -> dict[str, Any]:
    prediction = advice.prediction
    profile, named = prediction.profile, prediction.named
    return {
        "flow": profile.name,
        "runner": profile.runner,
        "measured_s": profile.wall_s,
        "cores": profile.cores,
        "target": asdict(prediction.target),
        "model": prediction.run_id,
        "named": _in_code(advice, named),
        "named_warm": _in_code(advice, prediction.named_warm),
        "ranked": [
            {
                "arm": one.arm,
                "slots": one.slots,
                "seconds": one.seconds,
                "low": one.low,
                "high": one.high,
                "warm_seconds": one.warm_s,
                "start_seconds": one.start_s,
                "cpu_seconds": one.cpu_s,
                "memory_bytes": one.memory_bytes,
                "leads": one.leads,
                "code": advice.code.get(one.arm, ""),
            }
            for one in prediction.ranked
        ],
        "usual_slots": [
            {"arm": one.arm, "slots": one.slots, "seconds": one.seconds, "low": one.low, "high": one.high}
            for one in prediction.usual
            if math.isfinite(one.seconds)
        ],
        "replayed_s": prediction.yours.warm_s if prediction.yours else None,
        "at_least_s": advice.at_least_s,
        "split": asdict(advice.split),
        "critical_path": [{"task": task, "seconds": s, "runs": n} for task, s, n in advice.path],
        "tasks": _tasks(profile),
        "limits": {name: asdict(use) for name, use in profile.limits.items()},
        "tags": {tag: asdict(use) for tag, use in profile.tags.items()},
        "remedies": [asdict(remedy) for remedy in advice.remedies],
        "verified": [asdict(one) for one in advice.verified],
        "words": list(words(advice)),
    }


def _in_code(advice: Advice, one: PredictedFlow) -> dict[str, Any]:
    code, line = advice.code.get(one.arm, ""), advice.imports.get(one.arm, "")
    return {"arm": one.arm, "slots": one.slots, "code": code, "import": line}


def _tasks(profile: FlowProfile) -> list[dict[str, Any]]:
    """By task: sums, and means a run."""
    found = []
    for name, runs in profile.by_task().items():
        ran = [run for run in runs if run.attempts] or runs
        found.append(
            {
                "task": name,
                "runs": len(runs),
                "direct": sum(run.direct for run in runs),
                "cached": sum(not run.attempts for run in runs),
                "retries": sum(max(run.attempts - 1, 0) for run in runs),
                "failed": sum(run.failed for run in runs),
                "wait_s": sum(run.wait_s for run in ran) / len(ran),
                "cpu_s": sum(run.cpu_s for run in ran) / len(ran),
                "gil_share": _ratio(sum(run.gil_s for run in ran), sum(run.cpu_s for run in ran)),
                "queued_s": sum(run.queued_s for run in ran) / len(ran),
                "width": max(run.width for run in ran),
                "arg_bytes": max((run.arg_bytes or 0.0 for run in ran), default=0.0),
                "out_bytes": max((run.out_bytes or 0.0 for run in ran), default=0.0),
                "where": ran[0].where,
            }
        )
    return found


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def words(advice: Advice) -> tuple[str, ...]:
    """Ten lines or so: the answer, why, what to change, and how sure that is."""
    answer, *others = told(advice)
    return (answer, *(f"{line}: {code}" for line, code in change(advice)), *others)


def told(advice: Advice) -> tuple[str, ...]:
    """These lines but those of `change`, which follow the first."""
    prediction = advice.prediction
    profile = prediction.profile
    lines = [
        *_recommended(advice),
        f"Now: {units.seconds(profile.wall_s)} under its own {profile.runner}{_starting(profile)}, measured once on "
        f"{units.plural(profile.cores, 'core')}{_crowding(profile)}; {units.plural(len(profile.runs), 'task run')} "
        f"of {profile.name}.",
        f"Its time: {_shares(advice.split)}.",
        f"Critical path: {_path(advice)}. No runner can go below {units.seconds(advice.at_least_s)}.",
    ]
    lines += [f"Also: {remedy.what}{_saving(remedy)}" for remedy in advice.remedies[:3]]
    lines += [*_limits(profile), *_others(advice), *_sure(advice), *_verified(advice.verified)]
    if not advice.verified:
        lines.append("Estimates from one profile; --verify measures the named runner beside yours.")
    return tuple(lines)


def _starting(profile: FlowProfile) -> str:
    """What its runner took to start and to stop, where that is much of the time."""
    started_s = profile.around_s - FLOW_START_S
    told = started_s > max(_TOLD_SHARE * profile.wall_s, _TOLD_START_S)
    return f" ({units.seconds(started_s)} of it to start and stop that)" if told else ""


def _crowding(profile: FlowProfile) -> str:
    """How much slower tasks are where many of them go on at a time, if a second pass has shown that."""
    submitted = {run.task for run in profile.submitted}
    crowded = {task: one for task, one in profile.crowding.items() if task in submitted}
    told = [(one.cpu, "computes", task) for task, one in crowded.items()]
    told += [(one.wait, "waits", task) for task, one in crowded.items()]
    factor, does, task = max(told, default=(1.0, "", ""))
    return f", where {task} {does} {units.times(factor)} as long as in few threads" if factor >= _CROWDED else ""


def _shares(split: TimeSplit) -> str:
    named = {
        "waiting": split.waiting,
        "computing": split.computing,
        "Prefect": split.prefect,
        "handing over data": split.data,
        "the flow's own code": split.own,
    }
    told = sorted(((share, name) for name, share in named.items() if share >= _SMALLEST_SHARE), reverse=True)
    return ", ".join(f"{name} {units.percent(share)}" for share, name in told) or "too short to tell"


def _path(advice: Advice) -> str:
    parts = []
    for task, seconds, count in advice.path[:_PATH_PARTS]:
        runs = f" ({count} runs)" if task and count > 1 else ""
        parts.append(f"{task or 'own code and handing over'} {units.seconds(seconds)}{runs}")
    return ", ".join(parts) or "no task"


def _recommended(advice: Advice) -> list[str]:
    prediction = advice.prediction
    profile, named = prediction.profile, prediction.named
    lines = []
    own = _own_row(prediction)
    if not any(profile.submitted):
        does = "awaits" if profile.asynchronous else "calls"
        why = f"the flow {does} its tasks, and submits none" if profile.runs else "the flow ran no task"
        told = f"{units.seconds(profile.wall_s)} now" if named.has_slots else _time(named)
        return [f"No runner makes it faster: {why} ({told})."]
    if _stays(prediction, own):
        assert own is not None
        times = f"{_time(own)}{_start(prediction, own)}"
        lines.append(f"Keep {profile.runner}: no other runner is more than 10 % faster ({times}).")
    else:
        how = "" if named.has_slots else f" ({_WITHOUT_RUNNER[named.engine == 'none']})"
        lines.append(f"Take {placed(named)}{how}: {_time(named)}{_start(prediction, named)}.{_gain(prediction, own)}")
    warm = prediction.named_warm
    if prediction.target.cold and warm is not named:
        lines.append(f"On workers that are already up: {placed(warm)}, {units.seconds(warm.warm_s)}.")
    return lines


def _stays(prediction: FlowPrediction, own: PredictedFlow | None) -> bool:
    """Whether the flow keeps its own runner."""
    return own is not None and own.seconds <= AS_GOOD * prediction.named.seconds


def change(advice: Advice) -> tuple[tuple[str, str], ...]:
    """What to change for the named runner, and the code; nothing where the flow's own stays, or none helps."""
    prediction = advice.prediction
    profile, arm = prediction.profile, prediction.named.arm
    code, line = advice.code.get(arm, ""), advice.imports.get(arm, "")
    if not code or not any(profile.submitted) or _stays(prediction, _own_row(prediction)):
        return ()
    changed = (f"Change one line{_of_subflows(profile)}", f"@flow(task_runner={code})")
    return (changed, ("Import it", line)) if line else (changed,)


def _of_subflows(profile: FlowProfile) -> str:
    """Which flows are to have the runner, where it is not this one: a sub-flow's tasks run under its own."""
    flows = list(dict.fromkeys(run.flow for run in profile.submitted))
    if not any(flows):
        return ""
    names = [name or profile.name.partition("(")[0] for name in flows]
    return f" of {units.listed(names)}"


def _start(prediction: FlowPrediction, one: PredictedFlow) -> str:
    """What of a time from a cold start is no work of the flow's."""
    if not prediction.target.cold:
        return ""
    parts = [f"its start of {units.seconds(one.start_s)}"] if one.start_s else []
    waits_s = one.seconds - one.warm_s - (one.start_s or 0.0)
    if waits_s > _TOLD_SHARE * one.seconds:
        parts.append(f"{units.seconds(waits_s)} that Prefect waits at the end of a first flow run")
    return f", with {units.listed(parts)}" if parts else ""


def _others(advice: Advice) -> list[str]:
    prediction = advice.prediction
    own = _own_row(prediction)
    lines = []
    level = [one for one in prediction.ranked[1:] if one.leads and (own is None or one.arm != own.arm)]
    if level:
        lines.append(f"As fast, as far as this can tell: {units.listed([placed(one) for one in level[:4]])}.")
    behind = next((one for one in prediction.ranked if not one.leads), None)
    if behind is not None:
        lines.append(f"Next: {placed(behind)}, {units.seconds(behind.seconds)}.")
    return lines


def _own_row(prediction: FlowPrediction) -> PredictedFlow | None:
    """The ranked arm that is the flow's own runner, with its own slots; on another machine, if these are enough."""
    yours, profile = prediction.yours, prediction.profile
    if yours is None:
        return None
    row = next((one for one in prediction.ranked if one.arm == yours.arm), None)
    if row is None:
        return None
    same_machine = prediction.target.cores in (None, profile.cores) and prediction.target.hosts == 1
    if not same_machine:
        return None if row.has_slots and profile.slots and profile.slots < row.slots else row
    # With the slots that it has now, which may be too many or too few.
    seconds = yours.warm_s + (row.seconds - row.warm_s)
    scale = seconds / row.seconds
    return replace(row, seconds=seconds, warm_s=yours.warm_s, low=row.low * scale, high=row.high * scale)


def _gain(prediction: FlowPrediction, own: PredictedFlow | None) -> str:
    now_s = (
        own.seconds if own is not None else prediction.yours.warm_s if prediction.yours else prediction.profile.wall_s
    )
    ratio = now_s / prediction.named.seconds
    # What was measured is without the start that the prediction is with, and its replay may be off.
    how = "from the same start" if own is not None and prediction.target.cold else "replayed"
    same = f" ({units.seconds(now_s)}, {how})" if now_s != prediction.profile.wall_s else ""
    return f" {units.two_digits(ratio)} faster than now{same}." if ratio > AS_GOOD else ""


def placed(one: PredictedFlow) -> str:
    return one.arm if not one.has_slots else f"{one.arm} with {units.plural(one.slots, 'slot')}"


def _time(one: PredictedFlow) -> str:
    return f"{units.seconds(one.seconds)}, {units.span(units.seconds(one.low), units.seconds(one.high))}"


def _sure(advice: Advice) -> list[str]:
    """Where the replay of what was measured is off, before anybody relies on the others."""
    prediction = advice.prediction
    if unplaced := prediction.profile.unplaced:
        of = len(prediction.profile.runs)
        return [
            f"Check: {units.plural(unplaced, 'task run')} of {of} began where nothing is noted, and are not in these "
            "times: measure with compare."
        ]
    if prediction.yours is None:
        return []
    replayed_s, ran_s = prediction.yours.replay.seconds + prediction.yours.pool_s, prediction.profile.ran_s
    if abs(replayed_s - ran_s) <= max(_UNSURE * ran_s, _UNSURE_S):
        return []
    return [
        f"Check: replayed under its own runner the flow's function takes {units.seconds(replayed_s)}, measured were "
        f"{units.seconds(ran_s)}. The machine may have been busy: measure with --verify."
    ]


def _limits(profile: FlowProfile) -> list[str]:
    """Tell what limits on the user's server allow at most. The predicted times are without limits."""
    if not profile.limits:
        return [
            f"If your server limits the tag {tag} to N task runs, no runner can go below "
            f"{units.seconds(use.held_s)} / N."
            for tag, use in list(profile.tags.items())[:_MOST_LIMITS]
        ]
    lines = []
    for name, use in list(profile.limits.items())[:_MOST_LIMITS]:
        if use.held_s:
            lines.append(
                f"Limit {name}: held for {units.seconds(use.held_s)} in all. Where your server gives N slots, no "
                f"runner can go below {units.seconds(use.held_s)} / N."
            )
        else:
            lines.append(
                f"Rate limit {name}: {units.plural(use.slots, 'slot')} taken. Where your server gives N a second, no "
                f"runner can go below {use.slots} / N seconds."
            )
    return lines


def _saving(remedy: Remedy) -> str:
    return "" if remedy.saves_s is None else f" Saves {units.seconds(remedy.saves_s)}."


def _verified(verified: Sequence[Verified]) -> list[str]:
    return [
        f"Measured: {one.arm} {units.seconds(one.measured_s)} (predicted {units.seconds(one.predicted_s)})."
        for one in verified
    ]
