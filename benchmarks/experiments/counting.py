"""What experiments on caching and retries share: a flow run under the scene's arm, and what its bodies left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene, every_engine
from runner_lab.flows.experiments.calls import Seen
from runner_lab.flows.graph.ledger import Execution, Ledger
from runner_lab.records.findings import Judgement
from runner_lab.reports.words import units
from runner_lab.runners.engine import Engine
from runner_lab.runners.spec import RunnerSpec

_LIMIT_S = 600.0
"""For one experiment, with a second driver: generous, since what passes it is called a hang."""


def experiment(
    group: str,
    title: str,
    measure: Callable[[Scene], None],
    judge: Callable[[RunnerSpec, Facts], Judgement],
    engines: Callable[[Engine], bool] = every_engine,
    id: str = "",
) -> Experiment:
    """An experiment that is called like the function which measures it, unless it is given an `id`."""
    named = id or measure.__name__.replace("_", "-")
    return Experiment(named, group, title, measure, judge, limit_s=_LIMIT_S, engines=engines)


def run(scene: Scene, flow: Any, *arguments: Any) -> Any:
    """Run a flow of `flows.experiments.equivalence`, by direct calls where the arm has no runner."""
    if scene.arm.direct:
        return flow(*arguments, str(ledger(scene)), True)
    return flow.with_options(task_runner=scene.task_runner())(*arguments, str(ledger(scene)), False)


def ledger(scene: Scene) -> Path:
    return folder(scene, "ledger")


def folder(scene: Scene, name: str) -> Path:
    """One of the scene's own, made if need be."""
    made = scene.folder / name
    made.mkdir(exist_ok=True)
    return made


def entries(scene: Scene, name: str, lane: int | None = None) -> list[Execution]:
    """The executions so far of one body, in the order in which they began."""
    found = [
        entry
        for entry in Ledger(ledger(scene)).entries()
        if entry.name == name and (lane is None or entry.lane == lane)
    ]
    return sorted(found, key=lambda entry: entry.start_s)


def saw(seen: Sequence[Seen | dict[str, Any]]) -> dict[str, Any]:
    """What the flow saw of its calls, as facts."""
    found = [one if isinstance(one, dict) else asdict(one) for one in seen]
    return {
        "states": [one["state"] for one in found],
        "values": [one["value"] for one in found],
        "errors": sorted({one["error"] for one in found if one["error"]}),
    }


def number(bodies: int) -> str:
    return f"{bodies} {'body' if bodies == 1 else 'bodies'}"


def listed(values: Sequence[object]) -> str:
    """`2`, or `2, 1 and 2` where they differ."""
    texts = [str(value) for value in values]
    return units.listed(texts if len(set(texts)) > 1 else texts[:1]) or "no"
