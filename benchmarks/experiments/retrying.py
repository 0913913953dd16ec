"""Experiments on retries: what is done, what is counted, and what the counts mean.

Held against Prefect's documentation: as many retries as asked for, after the delays asked for, while the condition
allows them. Delays are measured between the end of one body and the begin of the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from runner_lab.benchmarks.experiments.counting import entries, experiment, ledger, listed, number, run, saw
from runner_lab.benchmarks.experiments.frame.experiment import Facts, Scene, concurrent
from runner_lab.benchmarks.measuring.server_runs import POLL_S, ServerRuns
from runner_lab.flows.experiments.calls import Seen, Try
from runner_lab.records.findings import Judgement
from runner_lab.reports.words import units
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import RunnerSpec

SUITE = "equivalence"

DELAYS_S = (1.0, 2.0)
JITTERED_S = 1.0
JITTER = 0.5
LANES = 4
HELD_S = 5.0
OTHERS = 4
_CLOCK_S = 0.05
"""What two clocks of one machine may differ by: Prefect reckons a delay by the wall clock, the ledger by another."""
_RECORDED_S = 60.0
"""How long to wait for the server to record a retry; nothing is judged by it."""

WITHIN = "Count retries by the task run's run_count, and let the task itself end what must not be tried again."
LEAST = "Where a pause must not be shorter, set retry_delay_seconds so that its least is enough."
FUNCTION = "Give retry_condition_fn a plain function."
SLOTS = "Give the runner more slots than tasks that may wait at a time, or keep delays short."


def retry_count(scene: Scene) -> None:
    seen = _tried(scene, [Try(0, failures=9, retries=2), Try(1, failures=1, retries=2), Try(2, 0, 2)])
    scene.note(bodies=[_tries(scene, lane) for lane in range(3)], **saw(seen))


def judge_retry_count(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["bodies"] == [3, 2, 1] and facts["states"] == ["Failed", "Completed", "Completed"]:
        return Judgement("ok", "retries=2: 3 bodies when all fail, 2 when one does, 1 when none does")
    return Judgement("bad", f"{listed(facts['bodies'])} bodies, {', '.join(facts['states'])}", WITHIN)


def retry_spacing(scene: Scene) -> None:
    seen = _tried(scene, [Try(0, failures=3, retries=3, delays_s=DELAYS_S)])
    scene.note(bodies=_tries(scene, 0), asked_s=[*DELAYS_S, DELAYS_S[-1]], waited_s=_waited_s(scene, 0), **saw(seen))


def judge_retry_spacing(arm: RunnerSpec, facts: Facts) -> Judgement:
    asked_s, waited_s = facts["asked_s"], facts["waited_s"]
    if facts["bodies"] != 4 or facts["states"] != ["Completed"]:
        return Judgement("bad", f"{number(facts['bodies'])}, {', '.join(facts['states'])}", WITHIN)
    words = f"{_seconds(waited_s)} s waited for {_seconds(asked_s)} s"
    early = any(waited < asked - _CLOCK_S for asked, waited in zip(asked_s, waited_s, strict=True))
    return Judgement("bad", words, LEAST) if early else Judgement("ok", words)


def retry_jitter(scene: Scene) -> None:
    plan = [Try(lane, failures=3, retries=3, delays_s=(JITTERED_S,), jitter=JITTER) for lane in range(LANES)]
    seen = _tried(scene, plan)
    waited_s = [waited for lane in range(LANES) for waited in _waited_s(scene, lane)]
    scene.note(asked_s=JITTERED_S, jitter=JITTER, waited_s=waited_s, **saw(seen))
    scene.note(scheduled_s=[delay for one in seen for delay in _scheduled_s(scene.api_url, one.task_run_id, 3)])


def judge_retry_jitter(arm: RunnerSpec, facts: Facts) -> Judgement:
    asked_s, waited_s, scheduled_s = facts["asked_s"], facts["waited_s"], facts.get("scheduled_s", [])
    if len(scheduled_s) != len(waited_s) or not scheduled_s:
        return Judgement("unknown", f"{len(scheduled_s)} of {len(waited_s)} delays recorded")
    # On a busy machine a wait as counted is longer than the delay that was set, and one as recorded is shorter.
    shortest_s, longest_s = min(waited_s), max(scheduled_s)
    least_s, most_s = jitter_bounds(asked_s, facts["jitter"])
    words = f"{shortest_s:.2f} to {longest_s:.2f} s for {asked_s:g} s"
    if shortest_s < least_s - _CLOCK_S or longest_s > most_s + _CLOCK_S:
        return Judgement("bad", f"{words}, {least_s:.2f} to {most_s:.2f} expected", LEAST)
    if shortest_s < asked_s - _CLOCK_S:
        return Judgement("warn", f"{words}: jitter makes delays shorter, too", LEAST)
    return Judgement("ok", words)


def jitter_bounds(delay_s: float, factor: float) -> tuple[float, float]:
    """Least and most seconds of a jittered delay: as much chance below the delay's median as above it.

    The most is in Prefect's documentation of retries, the least in the docstrings of `prefect.utilities.math`.
    """
    most = 1 + factor
    return delay_s * math.log2(2**most / (2**most - 1)), delay_s * most


def retry_condition(scene: Scene) -> None:
    plan = [Try(0, 1, 3, condition="transient"), Try(1, 1, 3, condition="transient", permanent=True)]
    seen = _tried(scene, plan)
    bodies = [_tries(scene, lane) for lane in range(2)]
    asked = {entry.pid for entry in entries(scene, "condition")}
    ran = {entry.pid for entry in entries(scene, "attempt")}
    scene.note(bodies=bodies, asked=len(entries(scene, "condition")), with_bodies=asked <= ran, **saw(seen))


def judge_retry_condition(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["bodies"] == [2, 1] and facts["states"] == ["Completed", "Failed"] and facts["asked"] == 2:
        where = "the process of the body" if facts["with_bodies"] else "another process than the body"
        return Judgement("ok", f"stops retries, asked in {where}")
    return Judgement("bad", f"{listed(facts['bodies'])} bodies, {', '.join(facts['states'])}", WITHIN)


def retry_condition_object(scene: Scene) -> None:
    seen = _tried(scene, [Try(0, 1, 3, condition="always"), Try(1, 1, 3, condition="object")])
    scene.note(bodies=[_tries(scene, lane) for lane in range(2)], **saw(seen))


def judge_retry_condition_object(arm: RunnerSpec, facts: Facts) -> Judgement:
    function, partial = facts["bodies"]
    if function != 2:
        return Judgement("bad", f"{number(function)} under a function that always allows it", FUNCTION)
    if partial == 2:
        return Judgement("ok", "asked like a function")
    return Judgement("warn", f"{number(partial)}: never asked, and taken for a no", FUNCTION)


def retry_slot(scene: Scene) -> None:
    from runner_lab.flows.experiments.equivalence import delayed

    flow = delayed.with_options(task_runner=scene.task_runner())
    seen = flow(HELD_S, OTHERS, str(ledger(scene)))
    again_s = [ran[1].start_s for lane in range(2) if len(ran := entries(scene, "attempt", lane)) > 1]
    failed_s = max(entries(scene, "attempt", lane)[0].end_s for lane in range(2))
    others = entries(scene, "stamp")
    scene.note(
        delay_s=HELD_S,
        others=len(others),
        meanwhile=sum(entry.start_s < min(again_s) for entry in others) if again_s else None,
        first_other_s=round(others[0].start_s - failed_s, 2) if others else None,
        **saw(seen),
    )


def judge_retry_slot(arm: RunnerSpec, facts: Facts) -> Judgement:
    others, meanwhile = facts["others"], facts["meanwhile"]
    if others != OTHERS or meanwhile is None:
        return Judgement("bad", f"{others} of {OTHERS} waiting tasks ran, {', '.join(facts['states'])}", SLOTS)
    words = f"{meanwhile} of {others} waiting tasks ran in a delay of {facts['delay_s']:g} s"
    return Judgement("ok", f"free: {words}") if meanwhile else Judgement("warn", f"held: {words}", SLOTS)


def _tried(scene: Scene, plan: Sequence[Try]) -> list[Seen]:
    from runner_lab.flows.experiments.equivalence import tries

    seen: list[Seen] = run(scene, tries, list(plan))
    return seen


def _tries(scene: Scene, lane: int) -> int:
    return len(entries(scene, "attempt", lane))


def _waited_s(scene: Scene, lane: int) -> list[float]:
    ran = entries(scene, "attempt", lane)
    return [round(later.start_s - before.end_s, 3) for before, later in pairwise(ran)]


def _scheduled_s(api_url: str, task_run_id: str, retries: int) -> list[float]:
    """The delays of a task run as the engine has reckoned them: from when the state was made, an instant later."""
    with ServerRuns(api_url, _RECORDED_S) as runs:
        states = last_within(
            lambda: [state for state in runs.states(task_run_id) if state["name"] == "AwaitingRetry"],
            _RECORDED_S,
            POLL_S,
            enough=lambda states: len(states) >= retries,
        )
    moments = [(state["state_details"]["scheduled_time"], state["timestamp"]) for state in states]
    return [
        round((datetime.fromisoformat(scheduled) - datetime.fromisoformat(made)).total_seconds(), 3)
        for scheduled, made in moments
    ]


def _seconds(values: list[float]) -> str:
    return units.listed([f"{value:.3g}" for value in values])


EXPERIMENTS = (
    experiment("retries", "retries=2", retry_count, judge_retry_count),
    experiment("retries", "retry_delay_seconds=[1, 2], retries=3", retry_spacing, judge_retry_spacing),
    experiment("retries", "retry_jitter_factor=0.5", retry_jitter, judge_retry_jitter),
    experiment("retries", "retry_condition_fn", retry_condition, judge_retry_condition),
    experiment(
        "retries",
        "retry_condition_fn that is a functools.partial",
        retry_condition_object,
        judge_retry_condition_object,
    ),
    experiment("retries", "does a retry delay hold its slot", retry_slot, judge_retry_slot, concurrent),
)
