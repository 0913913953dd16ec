"""A user's flow as its source shows it: told before anything is measured, and in the report."""

from __future__ import annotations

from dataclasses import dataclass

from runner_lab.records.graph import UserFlowSpec
from runner_lab.reports.words.units import listed, printable

_MOST_CALLS = 4
"""Direct calls that are named one by one."""


@dataclass(frozen=True)
class FlowDescription:
    """The flow itself, as a record's graph has it; safe to show.

    direct_calls: `FILE:LINE TASK` of each call of a task that goes past the runner.
    submits: whether its source may hand a task to the runner.
    own_runner: class of the task runner it declares; empty where that is Prefect's default.
    """

    name: str
    file: str
    direct_calls: tuple[str, ...] = ()
    submits: bool = True
    own_runner: str = ""

    def notes(self, said: bool = False) -> list[str]:
        """What its source shows; one line each.

        Args:
            said: the reader has been told that none of its tasks goes to a runner.
        """
        return [] if said and not self.submits else self._past_the_runner()

    def _past_the_runner(self) -> list[str]:
        if not self.direct_calls:
            return []
        shown = listed([call.replace(" ", " calls ", 1) for call in self.direct_calls[:_MOST_CALLS]])
        more = len(self.direct_calls) - _MOST_CALLS
        where = f"{shown}{f', and {more} more' if more > 0 else ''}"
        if self.submits:
            return [f"Some tasks are called directly, so no runner can speed them up: {where}."]
        return [
            f"{self.name} calls its tasks directly, never by .submit or .map: no runner can speed them up. {where}. "
            "Write TASK.submit(...), or TASK.map(...) for many, and compare again."
        ]


def described(flow: UserFlowSpec) -> FlowDescription:
    """The flow of a record, made safe to show."""
    return FlowDescription(
        name=printable(flow.name or "the flow", 60),
        file=printable(flow.file, 60),
        direct_calls=tuple(printable(call, 80) for call in flow.direct_calls),
        submits=flow.submits,
        own_runner=printable(flow.own_runner, 60),
    )
