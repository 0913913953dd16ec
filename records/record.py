"""The record: one measured cell of one block, one line of `records.jsonl`.

All durations are seconds (`_s`), all sizes bytes (`_bytes`), and each is from readings of one host's clock.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from runner_lab.records import json_file, schema_1
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import AnyGraph
from runner_lab.records.task_stages import TaskStages
from runner_lab.records.validation import SCHEMA, STRICT, Count, Number, Printable, RecordError, first_complaint

FILE_NAME = "records.jsonl"
COMPARE = "compare"
"""The suite of a user's flow."""
YOURS = "yours"
"""The arm that is the runner which a user's flow declares, as its author made it: the baseline of a comparison."""
BASELINE = "threads"
"""The arm that the others of a run are compared with, where it is no comparison of a user's flow."""
CONTROL = "control"
"""The baseline a second time: what it differs by is noise."""

Status = Literal["ok", "error"]
Role = Literal["baseline", "control", "arm"]
Result = Literal["same", "different", "nothing", "unasked", "unsteady", "unchecked"]


@dataclass(frozen=True)
class Phases:
    """Where a cell's wall time went, in seconds; `None` where the phase does not exist or was not reached.

    startup_s:      call of the flow to the start of the first task body.
    first_result_s: call of the flow to the first `greet` result seen by the driver.
    submit_s:       first to last submit, in the driver.
    makespan_s:     first submit to the last result seen by the driver.
    shutdown_s:     last result seen to the return of the flow.
    total_s:        call of the flow to its return; on a cold cell that is everything a user waits for.
    """

    __pydantic_config__ = STRICT

    startup_s: Number | None = None
    first_result_s: Number | None = None
    submit_s: Number | None = None
    makespan_s: Number | None = None
    shutdown_s: Number | None = None
    total_s: Number | None = None


@dataclass(frozen=True)
class Latencies:
    """Per-task latencies, seconds: at most 512 order statistics of all tasks of a kind, ascending.

    queue_s: submit of a `hello` to the start of its body.
    body_s:  start to end of a `hello` body.
    seen_s:  end of a `greet` body to its result seen by the driver.
    """

    __pydantic_config__ = STRICT

    queue_s: tuple[Number, ...] = ()
    body_s: tuple[Number, ...] = ()
    seen_s: tuple[Number, ...] = ()


@dataclass(frozen=True)
class Usage:
    """CPU seconds used, and the highest resident memory seen, in a cell: `None` where it could not be seen.

    `driver` is the process that runs the flow (Dask's local scheduler lives in it), `workers` everything else
    it started, `server` the Prefect server's process tree.
    """

    __pydantic_config__ = STRICT

    driver_cpu_s: Number | None = None
    workers_cpu_s: Number | None = None
    server_cpu_s: Number | None = None
    driver_rss_bytes: Count | None = None
    workers_rss_bytes: Count | None = None
    server_rss_bytes: Count | None = None
    driver_rss_before_bytes: Count | None = None
    """The driver's when the cell began."""
    server_settled_cpu_s: Number | None = None
    """The server's until it had recorded all task runs of the cell, and not only until the flow had returned."""


@dataclass(frozen=True)
class Traffic:
    """What the server was asked and complained of, from the call of the flow until it was at rest.

    The lab's own questions are not counted.

    requests: HTTP requests by the first part of their route: `task_runs`, `logs`, ...
    events: event messages over websockets.
    logs: log lines; one request carries many.
    failed: requests that were answered with 500 or above.
    locked: entries of the server's log on a database that was locked, or on a deadlock.
    dropped: messages that the server's own queues were too full to take.
    errors: other entries of the server's log that name an exception.
    """

    __pydantic_config__ = STRICT

    requests: dict[str, Count]
    events: Count = 0
    logs: Count = 0
    failed: Count = 0
    locked: Count = 0
    dropped: Count = 0
    errors: Count = 0

    @property
    def total_requests(self) -> int:
        return sum(self.requests.values())


TROUBLED = ("Failed", "Crashed", "Cancelled", "NotReady", "not ended")
"""Final states of task runs that a reader has to know of."""


@dataclass(frozen=True)
class FlowRun:
    """One pass of a user's flow.

    states: task runs by the name of their last state on the server, those of sub-flows among them.
    submitted: task runs that the flow's process handed to the arm's runner.
    direct: tasks that the flow's process called, past any runner.
    subflow_tasks: task runs of sub-flows, which run under task runners of their own.
    result: `same` as the first one of the run, `different`, or `nothing` (None). Not compared: `unasked` (nobody wanted
        it), `unsteady` (two passes under one arm differ already), `unchecked` (the remark says why).
    remark: one line that says what differs, or why it is not compared; empty otherwise.
    """

    __pydantic_config__ = STRICT

    states: dict[Printable, Count]
    submitted: Count = 0
    direct: Count = 0
    subflow_tasks: Count = 0
    result: Result = "unchecked"
    remark: str = ""

    @property
    def tasks(self) -> int:
        return sum(self.states.values())


@dataclass(frozen=True)
class Record:
    """One cell (one graph under one arm), measured once in one block."""

    run_id: str
    suite: str
    """The suite: the `NAME` of a `benchmarks/bench_NAME.py`; `compare` for a user's flow."""
    graph: AnyGraph
    arm: str
    role: Role
    engine: str
    """Name of what executes: `none`, `asyncio`, `threads`, `processes`, `dask`, `ray`, or that of another engine."""
    runner: str
    """Class path of the task runner, or what stands in for it."""
    bare: bool
    """True where the graph ran on the engine without Prefect."""
    lean: bool
    cold: bool
    """True where the cell pays for its own cluster or pool from nothing."""
    workers: Count
    block: Count
    """From 0."""
    position: Count
    """Place in the block's order, from 0."""
    status: Status
    error: str | None
    """One line, where `status` is `error`."""
    started_at: str
    """UTC, ISO 8601."""
    tasks: Count
    ideal_s: Number
    """The least that the bodies take, in rounds on all workers (`docs/method.md`); 0 for empty tasks."""
    expected_executions: Count
    executions: Count | None
    """Task bodies that ran, counted outside Prefect."""
    expected_recorded: Count
    """Task runs the server should have recorded; 0 for bare arms."""
    recorded: Count | None
    """Task runs in a final state on the server when the cell was closed."""
    visibility_lag_s: Number | None
    """Return of the flow to the last task run recorded."""
    phases: Phases = field(default_factory=Phases)
    latencies: Latencies = field(default_factory=Latencies)
    usage: Usage = field(default_factory=Usage)
    task_stages: TaskStages | None = None
    """Stage by stage, where the cell was probed."""
    flow_run: FlowRun | None = None
    """What a user's flow did."""
    hosts: tuple[str, ...] = ()
    """Names of hosts other than the driver's on which bodies ran. Where there is one, no startup, queue and seen
    latency: they would subtract one host's clock from another's."""
    api_latency_s: Number = 0.0
    """Round trip that was put between the cell and Prefect's API."""
    traffic: Traffic | None = None
    """What the server was asked, where it counts."""
    elapsed_s: Number = 0.0
    """Wall time the cell took of the run, quiescence included."""
    background_cpu: Number | None = None
    """Share of the machine's CPU (0 to 1) that processes outside the lab used during the cell."""
    environment: dict[str, Any] = field(default_factory=dict)
    """profile, python, platform, cpu, cores (that the run may use), machine_cores, memory_bytes, governor, server
    {database, lab, settings where it was given any}, api_latency_s (of the run), versions, commit, bytecode."""
    schema: Literal[2] = SCHEMA

    @property
    def id(self) -> CellId:
        return CellId(self.suite, self.graph, self.arm, self.workers, self.block)

    @property
    def cell(self) -> CellId:
        """What is measured once in each block."""
        return CellId(self.suite, self.graph, self.arm, self.workers)

    @property
    def value_s(self) -> float | None:
        """The one figure of the cell: total time where it is cold, makespan where it is warm."""
        return self.phases.total_s if self.cold else self.phases.makespan_s


_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def to_json(record: Record) -> str:
    """One line, strict JSON.

    Raises:
        RecordError: a value is NaN or infinite.
    """
    try:
        return json_file.to_text(asdict(record))
    except ValueError as error:
        raise RecordError(f"record {record.id} holds a value that is not a finite number: {error}") from None


def append(run_dir: Path, record: Record) -> None:
    """Append to `records.jsonl`, on disk when this returns; a half line a kill left there is closed off first."""
    path = run_dir / FILE_NAME
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(to_json(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(run_dir: Path) -> tuple[list[Record], list[str]]:
    """The records of a run, in file order, and a warning for each line that had to be dropped.

    A cell measured twice in one block (a resumed run whose last record was in doubt) keeps the last `ok` one.

    Args:
        run_dir: the run's folder, or the `records.jsonl` itself.

    Raises:
        RecordError: there is no such file, it is another schema's, or not one line of it is a record.
    """
    path = run_dir if run_dir.is_file() else run_dir / FILE_NAME
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from None
    by_id: dict[CellId, Record] = {}
    warnings: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = parse(line)
        except RecordError as error:
            cut = number == len(lines)
            warnings.append(f"{path.name} line {number} dropped: {'cut off in mid-write' if cut else error}")
            continue
        previous = by_id.get(record.id)
        if previous is None or previous.status != "ok" or record.status == "ok":
            by_id[record.id] = record
    if not by_id and warnings:
        raise RecordError(f"{path} holds no usable record ({warnings[0]})")
    return list(by_id.values()), warnings


def has_suite(path: Path, suite: str) -> bool:
    """Whether a `records.jsonl` holds a record of `suite`, without reading all of it; old or new.

    Raises:
        OSError: it cannot be read.
    """
    names = [f'"{key}":"{suite}"'.encode() for key in ("suite", "bench")]
    with path.open("rb") as file:
        return any(name in line for line in file for name in names)


def parse(line: bytes | str) -> Record:
    """One line of `records.jsonl`, of this schema or the one before.

    Raises:
        RecordError: it is not JSON, not a record, of another schema version, or holds a wrong value.
    """
    try:
        return _RECORD.validate_json(line, strict=True)
    except ValidationError as error:
        complaint = first_complaint(error)
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON ({error})") from None
    if not isinstance(data, dict):
        raise RecordError("not a record: a JSON object is needed")
    schema = data.get("schema")
    if schema == schema_1.SCHEMA:
        try:
            return _RECORD.validate_json(json.dumps(schema_1.record(data)), strict=True)
        except ValidationError as error:
            complaint = first_complaint(error)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            complaint = f"{type(error).__name__} {error}"
    elif schema != SCHEMA:
        raise RecordError(f"schema version {str(schema)[:40]}; this version reads {schema_1.SCHEMA} and {SCHEMA}")
    raise RecordError(f"not a record: {complaint}")
