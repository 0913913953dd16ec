"""Where a task's time goes, as a record carries it: seconds a task in each stage, and the probe's own cost."""

from __future__ import annotations

from dataclasses import dataclass

from runner_lab.records.validation import STRICT, Number

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

    __pydantic_config__ = STRICT

    stages_s: dict[str, Number]
    probed_s: tuple[Number, ...] = ()
    unprobed_s: tuple[Number, ...] = ()
