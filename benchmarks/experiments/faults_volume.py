"""What many tasks leave: task runs and log lines on the server, memory in the driver and its workers."""

from __future__ import annotations

from runner_lab.benchmarks.experiments.flow_runs import run_flow
from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene, separate_workers
from runner_lab.benchmarks.measuring.quiescence import send_rest, wait_recorded
from runner_lab.benchmarks.measuring.server_runs import POLL_S, ServerRuns
from runner_lab.records.findings import Judgement
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import RunnerSpec

SUITE = "faults"

TALKING, LINES = 60, 3
WAVE, WARM = 100, 300
"""Before the first look at memory the events that Prefect keeps until they are confirmed have reached their most."""
GROWS_MB = 10.0
"""For 1,000 tasks: less is lost in what an interpreter takes anyway."""


def talks(scene: Scene) -> None:
    from runner_lab.flows.experiments import faults

    found = run_flow(scene, faults.talks, tasks=TALKING, lines=LINES)
    send_rest()
    recorded = wait_recorded(scene.api_url, found["flow_run_id"], TALKING, 150.0)
    with ServerRuns(scene.api_url, 60.0) as runs:
        logs = last_within(
            lambda: _lines(runs, found["flow_run_id"]), 20.0, POLL_S, enough=lambda lines: lines >= TALKING * LINES
        )
    scene.note(task_runs=recorded.final, of_task_runs=TALKING, lag_s=round(recorded.lag_s, 1))
    scene.note(logs=logs, of_logs=TALKING * LINES)


def _lines(runs: ServerRuns, flow_run_id: str) -> int:
    """Lines of tasks; those of the flow and of Prefect's engine are not counted."""
    return sum(", line " in message for message in runs.logs(flow_run_id))


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
    from runner_lab.flows.experiments import faults

    stock_remote = separate_workers(scene.engine) and not scene.arm.lean
    # A stock remote runner takes ten times as long for a task.
    tasks = int(scene.settings.get("tasks") or (200 if stock_remote else 2000))
    waves = max(1, tasks // WAVE)
    found = run_flow(scene, faults.many, warm=WARM, tasks=waves * WAVE, wave=WAVE)
    for who in ("driver", "workers"):
        grown = (found[f"{who}_after_mb"] - found[f"{who}_before_mb"]) / (waves * WAVE) * 1000
        scene.note(**{f"{who}_mb_per_1000": round(grown, 1)})
    scene.note(tasks=waves * WAVE)
    # The server works them off for minutes, and what is tried next would wait behind them.
    send_rest()
    wait_recorded(scene.api_url, found["flow_run_id"], WARM + waves * WAVE, 60.0)


def judge_grows(arm: RunnerSpec, facts: Facts) -> Judgement:
    driver, workers = facts["driver_mb_per_1000"], facts["workers_mb_per_1000"]
    words = f"per 1,000 tasks {driver:+.1f} MB in the driver, {workers:+.1f} MB in the workers, over {facts['tasks']:,}"
    if max(driver, workers) <= GROWS_MB:
        return Judgement("ok", words)
    return Judgement(
        "warn", words, "Split a flow of many thousand tasks into sub-flows or flow runs, and let go of futures."
    )


def judge_slow(facts: Facts) -> Judgement:
    return Judgement(
        "unknown", "it was not over by then", "Run it alone, with fewer --tasks, on a machine that is idle."
    )


EXPERIMENTS = (
    Experiment(
        "received",
        "volume",
        "Task runs and log lines that the server has",
        talks,
        judge_talks,
        hangs=judge_slow,
        limit_s=300,
    ),
    Experiment(
        "memory", "volume", "Memory that many tasks leave behind", grows, judge_grows, hangs=judge_slow, limit_s=900
    ),
)
