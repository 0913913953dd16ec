"""`RunnerSpec`: one runner as an arm names it, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


class ArmError(ValueError):
    """An arm that cannot be used as declared; the message is one line that names the arm and what to do."""

    def __init__(self, arm: str, message: str) -> None:
        super().__init__(f"arm {arm!r}: {message}")
        self.arm = arm


@dataclass(frozen=True)
class RunnerSpec:
    """One runner.

    Args:
        name: the arm's name.
        engine: name of what executes: `none` is the caller's own thread, any other is one of `runners.catalog`.
        class_path: dotted path of the Prefect `TaskRunner` class; empty where no runner takes part.
        options: keyword arguments of the class, as the user gave them.
        workers: worker slots; each slot runs one task at a time. 1 where no runner and no bare engine has slots; 0: no
            limit, or a number that is not known.
        lean: a runner of `prefect_lean`.
        bare: the graph runs on the engine, with no Prefect.
        event_loop: the tasks are asynchronous, and awaited together in the event loop of an asynchronous flow.
        summary: what it is, in a few words.
        as_declared: it is the runner that a user's flow declares, used as its author made it. The lab neither builds
            nor resizes it, and gives it no cluster.
    """

    name: str
    engine: str
    class_path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 2
    lean: bool = False
    bare: bool = False
    event_loop: bool = False
    summary: str = ""
    as_declared: bool = False

    @property
    def direct(self) -> bool:
        """Tasks are called one after another, not submitted: no runner takes part."""
        return not (self.class_path or self.bare or self.event_loop)

    @property
    def has_slots(self) -> bool:
        """How many tasks run at the same time is a number to be set: of a runner, or of a bare engine."""
        return bool(self.class_path) or self.bare

    @property
    def runner(self) -> str:
        """What runs the tasks, for records: the runner's class, or what stands in for it."""
        if self.class_path:
            return self.class_path
        return "asyncio.gather" if self.event_loop else "direct calls" if self.direct else f"bare {self.engine}"

    @property
    def import_line(self) -> str:
        """What a flow's file needs to name the runner; empty where no runner takes part."""
        module, _, name = self.class_path.rpartition(".")
        return f"from {module} import {name}" if module else ""

    def with_workers(self, workers: int) -> RunnerSpec:
        """The same in so many worker slots; itself where it has none to set."""
        return replace(self, workers=workers) if self.has_slots else self


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
