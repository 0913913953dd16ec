"""What holds a slot: a task that outlasts its timeout, and tasks that wait for tasks."""

from __future__ import annotations

import threading
import time

from runner_lab.benchmarks.experiments.flow_runs import run_flow, state
from runner_lab.benchmarks.experiments.frame.experiment import WORKERS, Experiment, Facts, Scene
from runner_lab.flows.experiments.noted import marks
from runner_lab.records.findings import Judgement
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import RunnerSpec

SUITE = "faults"


def times_out(scene: Scene) -> None:
    from runner_lab.flows.experiments import faults

    found = run_flow(scene, faults.times_out)
    begun_s = marks(scene.folder, "blocked")[0].at_s
    scene.note(
        timeout_s=faults.TIMEOUT_S,
        blocked_s=faults.BLOCKED_S,
        told_s=round(found["doomed_waited_at_s"] - begun_s, 1),
        server_state=state(scene.api_url, "task_runs", found["doomed_id"]),
    )
    ended = last_within(lambda: marks(scene.folder, "unblocked"), faults.BLOCKED_S)
    scene.note(body_held_s=round(ended[0].at_s - begun_s, 1) if ended else None)


def judge_times_out(arm: RunnerSpec, facts: Facts) -> Judgement:
    held, state_then = facts["body_held_s"], facts["server_state"]
    if held is not None and held < facts["blocked_s"] - 1:
        return Judgement("ok", f"stopped after {held:.0f} s, {state_then} in the API")
    return Judgement(
        "warn" if state_then == "TimedOut" else "bad",
        f"not stopped: the body ran its {facts['blocked_s']:.0f} s, told after {facts['told_s']:.0f} s, "
        f"{state_then} in the API",
        "A timeout cannot end a blocking call in a thread: give the call a timeout of its own (socket, HTTP client, "
        "database, subprocess).",
    )


def nested(scene: Scene) -> None:
    from runner_lab.flows.experiments import faults

    threading.Thread(target=_count, args=(scene,), daemon=True).start()
    for width, depth in ((1, 1), (WORKERS, 1), (WORKERS, 2)):
        scene.note(stage=f"{width} x {depth}", leaves_before=len(marks(scene.folder, "leaf")), leaves_wanted=width)
        begun_s = time.monotonic()
        runner = scene.task_runner()
        ended = faults.nested.with_options(task_runner=runner)(str(scene.folder), width, depth, return_state=True)
        took_s = round(time.monotonic() - begun_s, 1)
        scene.note(**{f"nested_{width}x{depth}": ended.name, f"nested_{width}x{depth}_s": took_s})


def _count(scene: Scene) -> None:
    """Note the bodies that have begun, also of a flow that never ends."""
    before = (0, 0)
    while scene.folder.exists():
        counted = len(marks(scene.folder, "branch")), len(marks(scene.folder, "leaf"))
        if counted != before:
            scene.note(branches=counted[0], leaves=counted[1])
        before = counted
        time.sleep(1.0)


def judge_stuck(facts: Facts) -> Judgement:
    stage, begun = facts.get("stage"), facts.get("leaves", 0) - facts.get("leaves_before", 0)
    if begun or "branches" not in facts:
        told = f"{begun} of {facts.get('leaves_wanted')} inner tasks had begun at {stage} (width x depth)"
        return Judgement("unknown", told, "Run it alone, on a machine that is idle.")
    return Judgement(
        "bad",
        f"deadlock at {stage} (width x depth): each slot is held by a task that waits for one",
        "Submit from the flow, not from tasks; or give the runner more slots than tasks that wait.",
    )


def judge_nested(arm: RunnerSpec, facts: Facts) -> Judgement:
    told = {name.removeprefix("nested_"): value for name, value in facts.items() if name.startswith("nested_")}
    failed = [name for name, value in told.items() if not name.endswith("_s") and value != "Completed"]
    if failed:
        return Judgement(
            "bad", f"{failed[0]} (width x depth) ends as {told[failed[0]]}", "Submit from the flow, not from tasks."
        )
    took = ", ".join(f"{name.removesuffix('_s')} {value:.0f} s" for name, value in told.items() if name.endswith("_s"))
    return Judgement("ok", f"no deadlock (width x depth): {took}")


EXPERIMENTS = (
    Experiment("timeout", "slots", "timeout_seconds on a blocking task", times_out, judge_times_out, limit_s=180),
    Experiment(
        "nested",
        "slots",
        "Tasks that submit tasks on a full pool, and wait",
        nested,
        judge_nested,
        hangs=judge_stuck,
        limit_s=150,
        spoils=True,
    ),
)
