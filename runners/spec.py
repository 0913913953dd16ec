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
        class_path: dotted path of the Prefect `TaskRunner` class; empty for direct calls and bare arms.
        options: keyword arguments of the class, as the user gave them.
        workers: worker slots; each slot runs one task at a time.
        lean: a runner of `prefect_lean`.
        bare: the graph runs on the engine, with no Prefect.
        summary: what it is, in a few words.
    """

    name: str
    engine: str
    class_path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 2
    lean: bool = False
    bare: bool = False
    summary: str = ""

    @property
    def direct(self) -> bool:
        """Tasks are called, not submitted: no runner takes part."""
        return not self.class_path and not self.bare

    def with_workers(self, workers: int) -> RunnerSpec:
        return replace(self, workers=workers)
