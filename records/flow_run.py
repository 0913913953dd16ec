"""What a record carries of a user's flow: its task runs by final state, who ran them, and what became of its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from runner_lab.records import validation
from runner_lab.records.validation import RecordError

SUITE = "compare"

Result = Literal["same", "different", "nothing", "unchecked"]
UNASKED = "--no-check-result"
"""Remark on an `unchecked` result that nobody wanted compared."""


@dataclass(frozen=True)
class FlowRun:
    """One pass of a user's flow.

    states: task runs by the name of their last state on the server, those of sub-flows among them.
    submitted: task runs that the flow's process handed to the arm's runner.
    direct: tasks that the flow's process called, past any runner.
    subflow_tasks: task runs of sub-flows, which run under task runners of their own.
    result: `same` as the first one of the run, `different`, `nothing` (None), or `unchecked`.
    remark: one line that says what differs, or why it is unchecked; empty otherwise.
    """

    states: dict[str, int] = field(default_factory=dict)
    submitted: int = 0
    direct: int = 0
    subflow_tasks: int = 0
    result: Result = "unchecked"
    remark: str = ""

    @property
    def tasks(self) -> int:
        return sum(self.states.values())


def parse(data: Any) -> FlowRun | None:
    """
    Raises:
        RecordError: not what `dataclasses.asdict` makes of a `FlowRun`.
    """
    if data is None:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("states"), dict):
        raise RecordError("not a record: flow_run must be an object with states")
    found = FlowRun(**data)
    for name in found.states:
        validation.text("the name of a flow_run's state", name)
    counts = {**found.states, "submitted": found.submitted, "direct": found.direct, "sub-flows": found.subflow_tasks}
    for name, value in counts.items():
        validation.count(f"flow_run {name}", value)
    if found.result not in get_args(Result) or not isinstance(found.remark, str):
        raise RecordError(f"not a record: flow_run result {found.result!r}")
    return found
