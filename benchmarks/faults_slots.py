"""What holds a slot: a task that outlasts its timeout, tasks that wait for tasks; and what grows with their number."""

from __future__ import annotations

import time

import httpx

from benchmarks.api_states import state
from benchmarks.experiment import WORKERS, Experiment, Facts, Judgement, Scene
from benchmarks.faults_tasks import run_flow
from benchmarks.quiescence import wait_recorded
from flows.noted import marks
from runners.spec import RunnerSpec

TALKING, LINES = 60, 3
WAVE = 100
GROWS_MB = 10.0
"""For 1,000 tasks: less is lost in what an interpreter takes anyway."""


def times_out(scene: Scene) -> None:
    from flows import faults

    found = run_flow(scene, faults.times_out)
    begun_s = marks(scene.folder, "blocked")[0].at_s
    scene.note(
        timeout_s=faults.TIMEOUT_S,
        blocked_s=faults.BLOCKED_S,
        told_s=round(found["doomed_waited_at_s"] - begun_s, 1),
        server_state=state(scene.api_url, "task_runs", found["doomed_id"]),
    )
    deadline = time.monotonic() + faults.BLOCKED_S
    while not (ended := marks(scene.folder, "unblocked")) and time.monotonic() < deadline:
        time.sleep(0.1)
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
    from flows import faults

    for width, depth in ((1, 1), (WORKERS, 1), (WORKERS, 2)):
        scene.note(stage=f"{width} x {depth}")
        begun_s = time.monotonic()
        runner = scene.task_runner()
        ended = faults.nested.with_options(task_runner=runner)(str(scene.folder), width, depth, return_state=True)
        took_s = round(time.monotonic() - begun_s, 1)
        scene.note(**{f"nested_{width}x{depth}": ended.name, f"nested_{width}x{depth}_s": took_s})


def judge_nested(arm: RunnerSpec, facts: Facts) -> Judgement:
    told = {name.removeprefix("nested_"): value for name, value in facts.items() if name.startswith("nested_")}
    failed = [name for name, value in told.items() if not name.endswith("_s") and value != "Completed"]
    if failed:
        return Judgement(
            "bad", f"{failed[0]} (width x depth) ends as {told[failed[0]]}", "Submit from the flow, not from tasks."
        )
    took = ", ".join(f"{name.removesuffix('_s')} {value:.0f} s" for name, value in told.items() if name.endswith("_s"))
    return Judgement("ok", f"no deadlock (width x depth): {took}")


def talks(scene: Scene) -> None:
    from benchmarks.quiescence import send_rest
    from flows import faults

    found = run_flow(scene, faults.talks, tasks=TALKING, lines=LINES)
    send_rest()
    recorded = wait_recorded(scene.api_url, found["flow_run_id"], TALKING, 60.0)
    deadline = time.monotonic() + 20.0
    while (logs := _logs(scene.api_url, found["flow_run_id"])) < TALKING * LINES and time.monotonic() < deadline:
        time.sleep(0.5)
    scene.note(task_runs=recorded.final, of_task_runs=TALKING, lag_s=round(recorded.lag_s, 1))
    scene.note(logs=logs, of_logs=TALKING * LINES)


def _logs(api_url: str, flow_run_id: str) -> int:
    """Lines of tasks; those of the flow and of Prefect's engine are not counted."""
    count = offset = 0
    with httpx.Client(base_url=api_url, timeout=60) as client:
        while True:
            body = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "limit": 200, "offset": offset}
            page = client.post("/logs/filter", json=body).raise_for_status().json()
            count += sum(", line " in entry["message"] for entry in page)
            offset += len(page)
            if len(page) < 200:
                return count


def judge_talks(arm: RunnerSpec, facts: Facts) -> Judgement:
    words = (
        f"task runs {facts['task_runs']}/{facts['of_task_runs']}, log lines {facts['logs']}/{facts['of_logs']}; "
        f"all there {facts['lag_s']:.0f} s after the end"
    )
    if facts["task_runs"] < facts["of_task_runs"] or facts["logs"] < facts["of_logs"]:
        remedy = "Keep what you must not lose in a place of your own: a log file, a table."
        return Judgement("bad" if facts["task_runs"] < facts["of_task_runs"] else "warn", words, remedy)
    return Judgement("ok", words)


def grows(scene: Scene) -> None:
    from flows import faults

    stock_remote = scene.arm.engine != "threads" and not scene.arm.lean
    # A stock remote runner takes ten times as long for a task.
    tasks = int(scene.settings.get("tasks") or (200 if stock_remote else 2000))
    waves = max(1, tasks // WAVE)
    found = run_flow(scene, faults.many, tasks=waves * WAVE, wave=WAVE)
    for who in ("driver", "workers"):
        grown = (found[f"{who}_after_mb"] - found[f"{who}_before_mb"]) / (waves * WAVE) * 1000
        scene.note(**{f"{who}_mb_per_1000": round(grown, 1)})
    scene.note(tasks=waves * WAVE)


def judge_grows(arm: RunnerSpec, facts: Facts) -> Judgement:
    driver, workers = facts["driver_mb_per_1000"], facts["workers_mb_per_1000"]
    words = f"driver {driver:+.1f} MB, workers {workers:+.1f} MB for 1,000 tasks, over {facts['tasks']:,}"
    if max(driver, workers) <= GROWS_MB:
        return Judgement("ok", words)
    return Judgement(
        "warn", words, "Split a flow of many thousand tasks into sub-flows or flow runs, and let go of futures."
    )


EXPERIMENTS = (
    Experiment("timeout", "slots", "timeout_seconds on a blocking task", times_out, judge_times_out, limit_s=180),
    Experiment(
        "nested",
        "slots",
        "Tasks that submit tasks on a full pool, and wait",
        nested,
        judge_nested,
        hangs=Judgement(
            "bad",
            "deadlock, each slot held by a task that waits for one",
            "Submit from the flow, not from tasks; or give the runner more slots than tasks that wait.",
        ),
        limit_s=150,
        spoils=True,
    ),
    Experiment(
        "received", "slots", "Task runs and log lines that the server has received", talks, judge_talks, limit_s=300
    ),
    Experiment("memory", "slots", "Memory that many tasks leave behind", grows, judge_grows, limit_s=600),
)
