"""A flow that is run under the arm of a scene, and what the server has of such a run in the end.

The server is told late, so it is asked until a state is final, or none comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from runner_lab.benchmarks.experiments.frame.experiment import Scene
from runner_lab.benchmarks.measuring.server_runs import FINAL, POLL_S, ServerRuns
from runner_lab.flows.experiments.noted import notes
from runner_lab.runners.isolation.waiting import last_within

NEVER = "never recorded"
_ANSWER_LIMIT_S = 60.0


def run_flow(scene: Scene, flow: Any, **parameters: Any) -> dict[str, Any]:
    """Run a flow of `flows.experiments.faults`; note and return what it noted, and the state it ended in."""
    folder = str(scene.folder)
    ended = flow.with_options(task_runner=scene.task_runner())(folder, **parameters, return_state=True)
    found = {**notes(folder), "flow_state": ended.name}
    scene.note(**{name: value for name, value in found.items() if not name.endswith(("_id", "_at_s"))})
    return found


def state(api_url: str, kind: Literal["flow_runs", "task_runs"], run_id: str, limit_s: float = 60.0) -> str:
    """Name of the state that the server has of a run: a final one, or the one it is in after `limit_s` seconds.

    `NotReady`, of a task whose upstream failed, is Pending to the server and counts as final.

    Raises:
        UnansweredError: the server does not answer.
    """
    return states(api_url, kind, {"run": run_id}, limit_s)["run"]


def states(
    api_url: str, kind: Literal["flow_runs", "task_runs"], run_ids: Mapping[str, str], limit_s: float = 60.0
) -> dict[str, str]:
    """The same for several runs, by the names given to them, all within one `limit_s`."""
    with ServerRuns(api_url, _ANSWER_LIMIT_S) as runs:
        found = last_within(
            lambda: {name: _state(runs.run(kind, run_id)) for name, run_id in run_ids.items()},
            limit_s,
            POLL_S,
            enough=lambda found: all(over for _, over in found.values()),
        )
    return {name: told for name, (told, _) in found.items()}


def run_count(api_url: str, task_run_id: str) -> int | None:
    """How often the task ran, by the server's account; None where it has no such task run."""
    with ServerRuns(api_url, _ANSWER_LIMIT_S) as runs:
        return runs.run("task_runs", task_run_id).get("run_count")


def _state(run: dict[str, Any]) -> tuple[str, bool]:
    found = run.get("state") or {}
    name = found.get("name", NEVER)
    return name, found.get("type") in FINAL or name == "NotReady"
