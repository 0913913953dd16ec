"""The profile of a user's flow: its task runs with what each of them took, and what the flow did between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from runner_lab.records import json_file
from runner_lab.records.validation import STRICT, Count, Number, Printable, RecordError, first_complaint

FILE_NAME = "profile.json"
ADVICE, ADVICE_PAGE = "advise.json", "advise.html"
"""Beside it, and in the folder of a real flow: what was predicted from one run."""
PROFILE_SCHEMA: Literal[1] = 1

StepKind = Literal["own", "submit", "call", "wait", "threads"]


@dataclass(frozen=True)
class Step:
    """What a thread of control, the flow's or a task's, did next.

    kind: `own`: code of its own. `submit`: handed `runs[0]` to a runner. `call`: ran `runs[0]` itself. `wait`: waited
        for all of `runs`. `threads`: waited for threads of the flow's own, each with steps of its own.
    wait_s, cpu_s: of `own`: seconds it waited, for anything but the GIL or a core, and computed.
    where: `FILE:LINE` of a submit or a call.
    """

    __pydantic_config__ = STRICT

    kind: StepKind
    runs: tuple[Count, ...] = ()
    wait_s: Number = 0.0
    cpu_s: Number = 0.0
    where: Printable = ""
    threads: tuple[tuple[Step, ...], ...] = ()


@dataclass(frozen=True)
class TaskProfile:
    """One task run.

    upstream:  places, among the profile's runs, of those whose results it takes.
    start_s, end_s: of its function, from the start of the flow's; of all its attempts, delays between them included.
    wait_s:    seconds it waited, for anything but the GIL or a core.
    cpu_s:     CPU seconds: of its thread, of libraries' threads and of child processes.
    gil_s:     of these, those that hold the GIL.
    width:     cores that it computes on at once, where nothing hinders it.
    queued_s:  seconds it was held up by others, for the GIL or a core.
    walk_s:    CPU seconds, under the GIL, in which Prefect goes once through the items of its arguments.
    key_s:     CPU seconds in which Prefect hashes its arguments for a cache key.
    kept_s:    CPU seconds in which Prefect writes its result to a storage and goes through its items.
    asks:      arguments that are futures: where its slot has them Prefect asks its API for the state of each.
    arg_bytes, out_bytes: arguments and result as pickled; None where that was not taken.
    attempts:  how often its function ran; 0 for a cached result, and for one whose upstream failed.
    lane:      the thread that ran it, counted from 0; None where it did not run.
    direct:    called, and handed to no runner.
    asynchronous: its function is async.
    flow:      name of the sub-flow that submitted it; empty where the flow itself did.
    where:     `FILE:LINE` of its submit or call.
    steps:     what it did, where it handed on tasks itself; else empty.
    """

    __pydantic_config__ = STRICT

    task: Printable
    upstream: tuple[Count, ...] = ()
    start_s: Number = 0.0
    end_s: Number = 0.0
    wait_s: Number = 0.0
    cpu_s: Number = 0.0
    gil_s: Number = 0.0
    width: Number = 1.0
    queued_s: Number = 0.0
    walk_s: Number = 0.0
    key_s: Number = 0.0
    kept_s: Number = 0.0
    asks: Count = 0
    arg_bytes: Number | None = None
    out_bytes: Number | None = None
    attempts: Count = 0
    failed: bool = False
    lane: Count | None = None
    direct: bool = False
    asynchronous: bool = False
    flow: Printable = ""
    where: Printable = ""
    steps: tuple[Step, ...] = ()

    @property
    def alone_s(self) -> float:
        """Seconds its function takes with nothing else on the machine."""
        return self.wait_s + self.cpu_s / self.width


@dataclass(frozen=True)
class Crowding:
    """How a task's runs hinder each other, from two passes: with few of them at a time, and with many.

    few, many: runs at a time.
    cpu:  CPU with many over that with few, at least 1: in one process.
    wait: waiting with many over that with few: for a service that they share, wherever they run.
    """

    __pydantic_config__ = STRICT

    few: Count
    many: Count
    cpu: Number = 1.0
    wait: Number = 1.0

    def at(self, slots: int) -> tuple[float, float]:
        """CPU and waiting with so many slots, over those with few; along a line through both."""
        place = (slots - self.few) / (self.many - self.few)
        cpu = 1 + (self.cpu - 1) * min(max(place, 0.0), 1.0)
        return cpu, max(1 + (self.wait - 1) * min(place, 1.0), 0.0)


OWN_PROCESSES = "processes"
"""In the place of a library: child processes that tasks leave behind, as joblib does."""


@dataclass(frozen=True)
class ThreadPool:
    """Threads, or `OWN_PROCESSES`, that a library keeps for itself in every process that uses it."""

    __pydantic_config__ = STRICT

    library: Printable
    threads: Count


@dataclass(frozen=True)
class Subflow:
    """The runs of a flow that the flow's own thread called.

    around_s: seconds in which one of them at least was not in the flow's function: what Prefect takes for a flow run.
    """

    __pydantic_config__ = STRICT

    runs: Count
    around_s: Number


@dataclass(frozen=True)
class LimitUse:
    """What the flow and its tasks took of a limit of Prefect's: a server that has it lets them wait for it.

    slots:  all that were taken of it.
    held_s: slot-seconds in which they were held; 0 of a rate limit, where they come back by themselves.
    """

    __pydantic_config__ = STRICT

    slots: Count
    held_s: Number


@dataclass(frozen=True)
class FlowProfile:
    """One run of a flow as its author wrote it.

    name:    the flow's, with its parameters.
    runner:  class of the task runner it has.
    engine, slots: of that runner, slots 0 where their number has no limit.
    cores:   of the machine.
    wall_s:  the call of the flow to its return.
    fn_s:    of these, its own function.
    asynchronous: the flow's function is async: what it calls runs in one event loop.
    steps:   what the flow's function did.
    runs:    all its task runs, in the order in which they were submitted or called.
    peak_bytes: most memory, of the flow's process and of those it started.
    base_bytes: memory of the flow's process before the flow begins.
    import_s: CPU seconds of importing the flow's module, as each process that runs its tasks does once.
    import_bytes: memory that this takes.
    subflows: by the name of their function.
    submitting: flow runs, those of sub-flows included, that submit tasks: each has a runner of its own.
    limits: by name, what the code takes of limits.
    tags: by tag of task runs, what a limit that a server sets on the tag would be taken for.
    crowding: by task, where a second pass has told; what its runs wait and compute is then that with few at a time.
    client_s: CPU seconds of making a client of Prefect's API, the CA bundle loaded.
    request_s, request_cpu_s: seconds of asking the API for the state of a task run, and those that it computes here.
    looks:   whether waits were told from waits for the GIL; else what is no CPU counts as waiting.
    """

    __pydantic_config__ = STRICT

    name: Printable
    runner: Printable
    engine: Printable
    slots: Count
    cores: Count
    wall_s: Number
    fn_s: Number
    asynchronous: bool
    steps: tuple[Step, ...]
    runs: tuple[TaskProfile, ...]
    pools: tuple[ThreadPool, ...] = ()
    peak_bytes: Number | None = None
    base_bytes: Number | None = None
    import_s: Number = 0.0
    import_bytes: Number = 0.0
    client_s: Number = 0.0
    request_s: Number = 0.0
    request_cpu_s: Number = 0.0
    subflows: dict[Printable, Subflow] = field(default_factory=dict)
    submitting: Count = 1
    limits: dict[Printable, LimitUse] = field(default_factory=dict)
    tags: dict[Printable, LimitUse] = field(default_factory=dict)
    crowding: dict[Printable, Crowding] = field(default_factory=dict)
    looks: bool = True
    schema: Literal[1] = PROFILE_SCHEMA

    def save(self, folder: Path) -> None:
        json_file.write(folder / FILE_NAME, asdict(self), indent=None)

    @classmethod
    def load(cls, folder: Path) -> FlowProfile:
        """
        Raises:
            RecordError: there is none, or it cannot be used.
        """
        path = folder / FILE_NAME
        try:
            return _ADAPTER.validate_python(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            told = first_complaint(error) if isinstance(error, ValidationError) else str(error)
            raise RecordError(f"{path}: not a readable profile: {told}") from error

    @property
    def submitted(self) -> Iterator[TaskProfile]:
        return (run for run in self.runs if not run.direct)

    @property
    def ran_s(self) -> float:
        """From the start of the flow's function until it and all its task runs have ended."""
        return max([self.fn_s, *(run.end_s for run in self.runs)])

    @property
    def around_s(self) -> float:
        """Of the call of the flow, what was neither: Prefect's own part, and starting and stopping its runner."""
        return max(self.wall_s - self.ran_s, 0.0)

    @property
    def most_at_once(self) -> int:
        """Task runs whose functions went on at the same time, at least 1."""
        moments = [(run.start_s, 1) for run in self.runs if run.attempts]
        moments += [(run.end_s, -1) for run in self.runs if run.attempts]
        return max([1, *accumulate(change for _, change in sorted(moments))])

    @property
    def unplaced(self) -> int:
        """Task runs that ran, and of which no step tells who started them."""
        started: set[int] = set()
        todo = [self.steps, *(run.steps for run in self.runs)]
        while todo:
            for step in todo.pop():
                started.update(step.runs if step.kind in ("submit", "call") else ())
                todo += step.threads
        return sum(run.attempts > 0 and i not in started for i, run in enumerate(self.runs))

    def by_task(self) -> dict[str, list[TaskProfile]]:
        found: dict[str, list[TaskProfile]] = {}
        for run in self.runs:
            found.setdefault(run.task, []).append(run)
        return found


_ADAPTER: TypeAdapter[Any] = TypeAdapter(FlowProfile)
