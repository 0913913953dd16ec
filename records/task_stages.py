"""Where a task's time goes, as a record carries it: seconds a task in each stage, and the probe's own cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner_lab.records import validation
from runner_lab.records.validation import RecordError

HINTS = {
    "submit": "The driver in .submit, outside serialization, until the worker has the task.",
    "serialize": "The driver pickles the call and its context.",
    "queue": "From the end of .submit to the worker that runs it: the engine's scheduler and transport.",
    "hydrate": "The worker unpickles the call and rebuilds settings and context.",
    "client": "HTTP clients and TLS contexts are made and closed, and requests to the API waited for.",
    "engine": "Prefect's task engine, less the stages that are within it.",
    "body": "The task's function, with its arguments bound.",
    "result": "From the end of the engine to the driver being told that it is done.",
}
"""The stages in the order of a task's life, each in a sentence; docs/method.md says more."""

STAGES = tuple(HINTS)

ABSORBERS = {
    "serialize": ("serialize", "submit", "queue"),
    "unpickle": ("hydrate", "queue"),
    "hydrate": ("hydrate", "engine", "queue"),
    "client": ("client", "hydrate", "engine"),
    "body": ("body", "engine"),
    "task": STAGES,
}
"""What cannot be told where a stage is not timed: it, and the stages that its time would be counted to."""


@dataclass(frozen=True)
class TaskStages:
    """Of the tasks of one chain, which run one at a time.

    stages_s: mean seconds a task by stage; a stage that could not be measured is missing.
    probed_s: submit to result of each task that the stages are of, the probe on.
    unprobed_s: the same of the tasks between them, the probe off.
    """

    stages_s: dict[str, float] = field(default_factory=dict)
    probed_s: tuple[float, ...] = ()
    unprobed_s: tuple[float, ...] = ()


def parse(data: Any) -> TaskStages | None:
    """
    Raises:
        RecordError: not what `dataclasses.asdict` makes of a `TaskStages`.
    """
    if data is None:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("stages_s"), dict):
        raise RecordError("not a record: task_stages must be an object with stages_s")
    stages = {name: validation.number(value) for name, value in data["stages_s"].items() if name in STAGES}
    return TaskStages(
        stages, validation.numbers(data.get("probed_s", [])), validation.numbers(data.get("unprobed_s", []))
    )
