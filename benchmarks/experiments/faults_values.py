"""Values that are hard to send: they do not pickle, or they are large."""

from __future__ import annotations

from functools import partial

from runner_lab.benchmarks.experiments.flow_runs import NEVER, run_flow, state
from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene
from runner_lab.flows.experiments.noted import marks
from runner_lab.records.findings import Judgement
from runner_lab.runners.spec import RunnerSpec

SUITE = "faults"

SIZE = 50_000_000


def unpicklable(scene: Scene, as_result: bool) -> None:
    from runner_lab.flows.experiments import faults

    found = run_flow(scene, faults.unpicklable, as_result=as_result)
    scene.note(
        executions=len(marks(scene.folder, "give" if as_result else "accept")),
        server_state=state(scene.api_url, "task_runs", found["doomed_id"], 45.0) if "doomed_id" in found else NEVER,
    )


def judge_unpicklable(arm: RunnerSpec, facts: Facts) -> Judgement:
    server = facts["server_state"]
    lost = facts["others"] - facts["others_kept"]
    if lost:
        return Judgement(
            "bad",
            f"{lost} of {facts['others']} other tasks lost ({facts['others_lost_by'].removeprefix('raises ')})",
            "Hand over paths or keys, and open what does not pickle in the task.",
        )
    if facts["submit"] != "returns":
        return Judgement(
            "ok" if server == NEVER else "warn",
            f".submit() {facts['submit']}, in the API {server}",
            "" if server == NEVER else "Catch the error at the submit.",
        )
    if facts["doomed_result"] == "returns":
        return Judgement("ok", "handed over as it is, nothing is pickled")
    words = f".state {facts['doomed_state']}, .result() {facts['doomed_result']}, in the API {server}"
    if server in ("Failed", "Crashed") and facts["doomed_wait"] == "returns":
        return Judgement("ok", words)
    if server == "Completed":
        remedy = "The API says Completed of a result that nobody can have: ask .result(). "
    else:
        remedy = f"The API says {server} of a task that failed: ask .result(). "
    return Judgement("bad", words, remedy + "Hand over paths or keys, and open what does not pickle in the task.")


def large_result(scene: Scene) -> None:
    from runner_lab.flows.experiments import faults

    run_flow(scene, faults.large_result, size=SIZE)


def judge_large(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["sizes"] != [SIZE, SIZE]:
        return Judgement(
            "bad",
            f".result() {facts['result']}, the task that needs it {facts['downstream']}",
            "Write large results to storage, and hand over their place.",
        )
    return Judgement("ok", f"arrives in the flow and in the next task, {facts['through_s']:.1f} s in all")


EXPERIMENTS = (
    Experiment(
        "unpicklable-argument",
        "values",
        "An argument that does not pickle",
        partial(unpicklable, as_result=False),
        judge_unpicklable,
        limit_s=400,
    ),
    Experiment(
        "unpicklable-result",
        "values",
        "A result that does not pickle",
        partial(unpicklable, as_result=True),
        judge_unpicklable,
        limit_s=400,
    ),
    Experiment("large-result", "values", "A result of 50 MB", large_result, judge_large, limit_s=300),
)
