"""Faults of a task itself: it raises, it needs retries."""

from __future__ import annotations

from runner_lab.benchmarks.experiments.flow_runs import run_count, run_flow, state, states
from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene
from runner_lab.flows.experiments.noted import marks
from runner_lab.records.findings import Judgement
from runner_lab.runners.spec import RunnerSpec

SUITE = "faults"


def task_raises(scene: Scene) -> None:
    from runner_lab.flows.experiments import faults

    found = run_flow(scene, faults.task_raises)
    ids = {"doomed": found["doomed_id"], "after": found["after_id"]}
    told = states(scene.api_url, "task_runs", ids)
    scene.note(
        executions=len(marks(scene.folder, "broken")),
        server_state=told["doomed"],
        server_state_after=told["after"],
        server_flow_state=state(scene.api_url, "flow_runs", found["flow_run_id"]),
    )


def judge_raises(arm: RunnerSpec, facts: Facts) -> Judgement:
    expected = {
        "executions": 1,
        "doomed_state": "Failed",
        "doomed_result": "raises Broken",
        "server_state": "Failed",
        "server_state_after": "NotReady",
        "flow_state": "Failed",
        "server_flow_state": "Failed",
        "others_kept": facts["others"],
    }
    wrong = {name: facts[name] for name, wanted in expected.items() if facts[name] != wanted}
    if not wrong:
        return Judgement("ok", "Failed, the error reaches the flow, others go on")
    if set(wrong) == {"server_state_after"}:
        return Judgement(
            "warn",
            f"as expected, but the task that depends on it is {wrong['server_state_after']}",
            "Count what a flow run should have against what the API has: the dependent task is missing there.",
        )
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in wrong.items())
    return Judgement("bad", told, "Ask each future for its state, and do not rely on what the API says alone.")


def succeeds_on_retry(scene: Scene) -> None:
    from runner_lab.flows.experiments import faults

    found = run_flow(scene, faults.succeeds_on_retry)
    scene.note(
        executions=len(marks(scene.folder, "lucky")),
        server_state=state(scene.api_url, "task_runs", found["doomed_id"]),
        server_run_count=run_count(scene.api_url, found["doomed_id"]),
    )


def judge_retry(arm: RunnerSpec, facts: Facts) -> Judgement:
    ran, counted = facts["executions"], facts["server_run_count"]
    if (ran, facts["doomed_state"], facts["server_state"]) != (3, "Completed", "Completed"):
        return Judgement(
            "bad",
            f"body ran {ran} times, {facts['doomed_state']}, in the API {facts['server_state']}",
            "Do not rely on retries under this runner.",
        )
    if counted != ran:
        return Judgement("warn", f"Completed; the API counts {counted} runs of {ran}", "Count attempts in the task.")
    return Judgement("ok", "Completed at the third attempt, all counted")


EXPERIMENTS = (
    Experiment("task-raises", "tasks", "A task raises", task_raises, judge_raises, limit_s=300),
    Experiment("retry-succeeds", "tasks", "A task fails twice, then succeeds on retry", succeeds_on_retry, judge_retry),
)
