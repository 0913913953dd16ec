"""Faults of a worker: it is killed in mid-task, or when its task is done and the result still needed."""

from __future__ import annotations

from functools import partial

from runner_lab.benchmarks.experiments.flow_runs import run_flow, state
from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene, separate_workers
from runner_lab.flows.experiments.noted import marks
from runner_lab.records.findings import Judgement, Symbol
from runner_lab.reports.words import units
from runner_lab.runners import catalog
from runner_lab.runners.spec import RunnerSpec

SUITE = "faults"


def worker_killed(scene: Scene) -> None:
    from runner_lab.flows.experiments import faults

    found = run_flow(scene, faults.worker_killed)
    died_s = found["died_at_s"]
    scene.note(
        executions=len(marks(scene.folder, "die")),
        noticed_s=round(found["doomed_waited_at_s"] - marks(scene.folder, "die")[0].at_s, 1),
        noticed_after_last_death_s=round(found["doomed_waited_at_s"] - died_s, 1),
        server_state=state(scene.api_url, "task_runs", found["doomed_id"]),
        server_flow_state=state(scene.api_url, "flow_runs", found["flow_run_id"]),
    )


def judge_killed(arm: RunnerSpec, facts: Facts) -> Judgement:
    ran = facts["executions"]
    times = "once" if ran == 1 else f"{ran} times"
    lost = facts["others"] - facts["others_kept"]
    others = f"{lost} of {facts['others']} others lost" if lost else "others go on"
    words = (
        f"body ran {times}, noticed after {facts['noticed_s']:.0f} s; .state {facts['doomed_state']}, "
        f".result() {facts['doomed_result']}, in the API {facts['server_state']}; flow {facts['flow_state']}; {others}"
    )
    wrong, todo = [], []
    if facts["server_state"] != "Crashed":
        wrong.append("API")
        todo.append(
            f"the API has {facts['server_state']} for good: watch for task runs that run too long, by an automation "
            "or a job of your own, or take the lean runner, which records Crashed"
        )
    if facts["doomed_wait"] != "returns" or facts["doomed_state"] != "Crashed":
        wrong.append("future")
        todo.append("do not trust .wait() and .state: ask .result(), and catch what it raises")
    if lost:
        wrong.append("others")
        todo.append(
            "the pool is lost with the process: run the flow again (retries= of the flow), or take the lean runner"
        )
    if ran > 1:
        todo.append(f"make the body safe to repeat, or forbid it: {_forbidding(arm)}")
    symbol: Symbol = "bad" if wrong else "warn" if ran > 1 else "ok"
    return Judgement(symbol, words, units.sentence(todo))


def _forbidding(arm: RunnerSpec) -> str:
    """What keeps its runner from running a task again."""
    own = catalog.load().engine(arm).forbids_reruns
    return "crash_reruns=0 for the runner" if own and arm.lean else own or "no option for it"


def killed_when_done(scene: Scene, persisted: bool) -> None:
    from runner_lab.flows.experiments import faults

    run_flow(scene, faults.killed_when_done, persisted=persisted)
    scene.note(executions=len(marks(scene.folder, "produce")))


def judge_done(arm: RunnerSpec, facts: Facts) -> Judgement:
    ran = facts["executions"]
    if facts["consumed"] != "returns":
        return Judgement(
            "bad",
            f"result is there, the pool is not: {facts['consumed'].removeprefix('raises ')}",
            "Run the flow again, with persisted results so that what is done is not repeated; or take the lean runner.",
        )
    if ran > 1:
        return Judgement(
            "warn",
            f"the finished task ran again, {ran} times in all",
            "Persist the result of what must not run twice (persist_result=True with a cache policy and storage that "
            "all workers reach).",
        )
    return Judgement("ok", f"result kept, body ran once, next task {facts['consumed_s']:.1f} s")


EXPERIMENTS = (
    Experiment(
        "worker-killed",
        "workers",
        "A worker is killed (SIGKILL) in mid-task",
        worker_killed,
        judge_killed,
        limit_s=900,
        spoils=True,
        # Elsewhere the worker is the flow's own process, and nothing of the flow is left to be seen.
        engines=separate_workers,
    ),
    Experiment(
        "killed-when-done",
        "workers",
        "A worker is killed after its task, whose result is still needed",
        partial(killed_when_done, persisted=False),
        judge_done,
        limit_s=300,
        engines=separate_workers,
    ),
    Experiment(
        "killed-when-persisted",
        "workers",
        "The same, with a persisted result",
        partial(killed_when_done, persisted=True),
        judge_done,
        limit_s=300,
        engines=separate_workers,
    ),
)
