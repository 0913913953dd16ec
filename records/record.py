"""The record: one measured cell of one block, one line of `records.jsonl`.

All durations are seconds (`_s`), all sizes bytes (`_bytes`), and each is from readings of one host's clock.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from runner_lab.records import flow_run as flow_runs
from runner_lab.records import graph_id as graphs
from runner_lab.records import task_stages as stages
from runner_lab.records import traffic, validation
from runner_lab.records.flow_run import FlowRun
from runner_lab.records.task_stages import TaskStages
from runner_lab.records.traffic import Traffic
from runner_lab.records.validation import RecordError

SCHEMA = 2
FILE_NAME = "records.jsonl"

Status = Literal["ok", "error"]
Role = Literal["baseline", "control", "arm"]


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

    startup_s: float | None = None
    first_result_s: float | None = None
    submit_s: float | None = None
    makespan_s: float | None = None
    shutdown_s: float | None = None
    total_s: float | None = None


@dataclass(frozen=True)
class Latencies:
    """Per-task latencies, seconds: at most 512 order statistics of all tasks of a kind, ascending.

    queue_s: submit of a `hello` to the start of its body.
    body_s:  start to end of a `hello` body.
    seen_s:  end of a `greet` body to its result seen by the driver.
    """

    queue_s: tuple[float, ...] = ()
    body_s: tuple[float, ...] = ()
    seen_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Usage:
    """CPU seconds used, and the highest resident memory seen, in a cell: `None` where it could not be seen.

    `driver` is the process that runs the flow (Dask's local scheduler lives in it), `workers` everything else
    it started, `server` the Prefect server's process tree.
    """

    driver_cpu_s: float | None = None
    workers_cpu_s: float | None = None
    server_cpu_s: float | None = None
    driver_rss_bytes: int | None = None
    workers_rss_bytes: int | None = None
    server_rss_bytes: int | None = None
    driver_rss_before_bytes: int | None = None
    """The driver's when the cell began."""


@dataclass(frozen=True)
class Record:
    """One cell (one graph under one arm), measured once in one block."""

    run_id: str
    suite: str
    """The suite: the `NAME` of a `benchmarks/bench_NAME.py`; `compare` for a user's flow."""
    graph: dict[str, Any]
    """variant, width, work {kind, seconds}, payload_bytes, failures, retry_delay_s, batch. A user's flow: variant
    `flow`, its name, file, direct_calls, submits and own_runner; its width is 0, as nobody knows it."""
    arm: str
    role: Role
    engine: str
    """`none`, `threads`, `processes`, `dask` or `ray`."""
    runner: str
    """Class path of the task runner, or what stands in for it."""
    bare: bool
    """True where the graph ran on the engine without Prefect."""
    lean: bool
    cold: bool
    """True where the cell pays for its own cluster or pool from nothing."""
    workers: int
    block: int
    """From 0."""
    position: int
    """Place in the block's order, from 0."""
    status: Status
    error: str | None
    """One line, where `status` is `error`."""
    started_at: str
    """UTC, ISO 8601."""
    tasks: int
    ideal_s: float
    """The least that the bodies take, in rounds on all workers (`docs/method.md`); 0 for empty tasks."""
    expected_executions: int
    executions: int | None
    """Task bodies that ran, counted outside Prefect."""
    expected_recorded: int
    """Task runs the server should have recorded; 0 for bare arms."""
    recorded: int | None
    """Task runs in a final state on the server when the cell was closed."""
    visibility_lag_s: float | None
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
    traffic: Traffic | None = None
    """What the server was asked, where it counts."""
    elapsed_s: float = 0.0
    """Wall time the cell took of the run, quiescence included."""
    background_cpu: float | None = None
    """Share of the machine's CPU (0 to 1) that processes outside the lab used during the cell."""
    environment: dict[str, Any] = field(default_factory=dict)
    """profile, python, platform, cpu, cores (that the run may use), machine_cores, memory_bytes, governor, server
    {database, lab, settings where it was given any}, versions, commit, bytecode."""
    schema: int = SCHEMA

    @property
    def graph_id(self) -> str:
        """Short, stable name of the graph, e.g. `plain-w16`, `plain-w8-spin100ms`, `plain-w4-1MB`, `retrying-w8-f2`."""
        return graphs.graph_id(self.graph)

    @property
    def cell(self) -> str:
        """`suite/graph/arm`: what is measured once in each block."""
        return f"{self.suite}/{self.graph_id}/{self.arm}"

    @property
    def key(self) -> tuple[str, int]:
        return self.cell, self.block

    @property
    def value_s(self) -> float | None:
        """The one figure of the cell: total time where it is cold, makespan where it is warm."""
        return self.phases.total_s if self.cold else self.phases.makespan_s


def to_json(record: Record) -> str:
    """One line, strict JSON.

    Raises:
        RecordError: a value is NaN or infinite.
    """
    try:
        return json.dumps(asdict(record), allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise RecordError(f"record {record.cell} holds a value that is not a finite number: {error}") from None


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
    by_key: dict[tuple[str, int], Record] = {}
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
        previous = by_key.get(record.key)
        if previous is None or previous.status != "ok" or record.status == "ok":
            by_key[record.key] = record
    if not by_key and warnings:
        raise RecordError(f"{path} holds no usable record ({warnings[0]})")
    return list(by_key.values()), warnings


def parse(line: bytes | str) -> Record:
    """One line of `records.jsonl`.

    Raises:
        RecordError: it is not JSON, not a record, of another schema version, or holds a wrong type.
    """
    try:
        data = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON ({error})" if not isinstance(error, RecordError) else str(error)) from None
    if not isinstance(data, dict):
        raise RecordError("not a record: a JSON object is needed")
    if data.get("schema") != SCHEMA:
        raise RecordError(f"schema version {data.get('schema')!r}; this version reads {SCHEMA}")
    known = {f.name for f in fields(Record)}
    optional = {"phases", "latencies", "usage", "task_stages", "flow_run", "traffic", "hosts"}
    optional |= {"elapsed_s", "background_cpu", "environment"}
    if missing := sorted(known - optional - data.keys()):
        raise RecordError(f"not a record: {', '.join(missing)} missing")
    data = {name: value for name, value in data.items() if name in known}
    try:
        data["phases"] = Phases(**validation.durations(data.get("phases") or {}))
        data["usage"] = Usage(**validation.durations(data.get("usage") or {}))
        latencies = {name: validation.numbers(values) for name, values in (data.get("latencies") or {}).items()}
        data["latencies"] = Latencies(**latencies)
        data["task_stages"] = stages.parse(data.get("task_stages"))
        data["flow_run"] = flow_runs.parse(data.get("flow_run"))
        data["hosts"] = tuple(data.get("hosts") or ())
        data["traffic"] = traffic.parse(data.get("traffic"))
        record = Record(**data)
        _check(record)
    except (TypeError, AttributeError, KeyError, OverflowError) as error:
        raise RecordError(f"not a record: {error}") from None
    return record


def _check(record: Record) -> None:
    for name in ("run_id", "suite", "arm", "engine", "runner", "started_at"):
        if not isinstance(getattr(record, name), str):
            raise RecordError(f"not a record: {name} must be text")
    if not isinstance(record.error, str | None):
        raise RecordError("not a record: error must be text or null")
    for name in ("workers", "block", "position", "tasks", "expected_executions", "expected_recorded"):
        validation.count(name, getattr(record, name))
    for name in ("executions", "recorded"):
        if getattr(record, name) is not None:
            validation.count(name, getattr(record, name))
    if not all(isinstance(host, str) for host in record.hosts):
        raise RecordError("not a record: hosts must be texts")
    for name in ("bare", "lean", "cold"):
        if not isinstance(getattr(record, name), bool):
            raise RecordError(f"not a record: {name} must be true or false")
    if record.status not in get_args(Status) or record.role not in get_args(Role):
        raise RecordError(f"not a record: status {record.status!r}, role {record.role!r}")
    if not isinstance(record.graph, dict) or not isinstance(record.environment, dict):
        raise RecordError("not a record: graph and environment must be objects")
    graphs.check(record.graph)
    validation.number(record.ideal_s)
    validation.number(record.elapsed_s)
    for optional in (record.visibility_lag_s, record.background_cpu):
        if optional is not None:
            validation.number(optional)


def _refuse_constant(name: str) -> None:
    raise RecordError(f"{name} is not a finite number")
