"""Runs whose truth is known: records as the measuring side would write them, from a few parameters an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from runner_lab.records import run_plan
from runner_lab.records.graph import GraphSpec, UserFlowSpec, Variant, Work, WorkKind
from runner_lab.records.record import FILE_NAME, FlowRun, Latencies, Phases, Record, Role, Usage, to_json
from runner_lab.records.run_plan import RunPlan
from runner_lab.records.task_stages import STAGES, TaskStages


@dataclass(frozen=True)
class Truth:
    """What an arm really costs. Times in seconds; `parallel` workers its CPU work really uses, by kind."""

    name: str
    engine: str = "threads"
    role: Role = "arm"
    bare: bool = False
    lean: bool = False
    startup_s: float = 0.3
    fixed_s: float = 0.02
    per_task_s: float = 0.02
    quadratic_s: float = 0.0
    noise: float = 0.03
    spin_workers: int = 2
    workers: int = 2
    memory_mb: float = 200.0
    retry_s: float = 0.02
    recorded: float = 1.0
    fails: str | None = None
    fails_suite: str | None = None


THREADS = Truth("threads", role="baseline", spin_workers=1)
CONTROL = replace(THREADS, name="control", role="control")
DASK = Truth("dask", "dask", startup_s=6.0, fixed_s=0.05, per_task_s=0.162, memory_mb=620, retry_s=0.16, noise=0.05)
SMOKE = (THREADS, CONTROL, DASK)
STOCK = (
    Truth("sequential", "none", startup_s=0.25, per_task_s=0.0155, spin_workers=1, memory_mb=180),
    THREADS,
    CONTROL,
    Truth(
        "processes", "processes", startup_s=7.5, fixed_s=7.0, per_task_s=0.131, memory_mb=700, retry_s=0.13, noise=0.05
    ),
    DASK,
    Truth("ray", "ray", startup_s=14.0, fixed_s=0.4, per_task_s=0.29, quadratic_s=5e-4, memory_mb=1300, noise=0.04),
    Truth("bare-threads", bare=True, startup_s=0.01, fixed_s=0.001, per_task_s=0.0002, memory_mb=150, spin_workers=1),
    Truth("bare-dask", "dask", bare=True, startup_s=2.0, fixed_s=0.01, per_task_s=0.0038, memory_mb=400),
    Truth("bare-ray", "ray", bare=True, startup_s=7.0, fixed_s=0.02, per_task_s=0.0012, memory_mb=800),
)
LEAN = (
    replace(THREADS, name="lean-threads", role="arm", lean=True, per_task_s=0.007),
    Truth("lean-processes", "processes", lean=True, startup_s=7.0, fixed_s=0.03, per_task_s=0.0145, memory_mb=690),
    Truth("lean-dask", "dask", lean=True, startup_s=6.0, fixed_s=0.04, per_task_s=0.026, memory_mb=600),
    Truth("lean-ray", "ray", lean=True, startup_s=13.0, fixed_s=0.1, per_task_s=0.022, memory_mb=1200),
)
ENVIRONMENT = {
    "versions": {"python": "3.11.7", "prefect": "3.8.8", "dask": "2026.8.0", "ray": "2.60.0"},
    "cpu": "Synthetic CPU @ 2.60GHz",
    "cores": 2,
    "memory_bytes": 24_000_000_000,
    "server": {"database": "sqlite", "lab": True},
    "profile": "quick",
}


def graph(width: int = 16, variant: Variant = "plain", kind: WorkKind = "none", seconds: float = 0, **other: Any):
    return GraphSpec(variant, width, Work(kind, seconds), **other)


def every_suite(
    widths: Sequence[int] = (4, 16, 48), durations: Sequence[float] = (0.02, 0.1, 0.5)
) -> list[tuple[str, GraphSpec]]:
    """(suite, graph) of every cell an arm takes part in."""
    return [
        ("startup", graph(2)),
        *(("overhead", graph(width)) for width in widths),
        *(("work", graph(8, kind=kind, seconds=d)) for kind in ("sleep", "spin", "crunch") for d in durations),
        *(("payload", graph(4, payload_bytes=size)) for size in (0, 100_000, 1_000_000)),
        ("cached", graph(8, "cached")),
        ("retrying", graph(8, "retrying", failures=2)),
        *(("batching", graph(16 // b, kind="sleep", seconds=0.02, batch=b)) for b in (1, 4)),
        ("worker_scaling", graph(4, kind="sleep", seconds=0.2)),
        ("task_stages", graph(25, "chain")),
    ]


def resized(truth: Truth, counts: Sequence[int] = (1, 4)) -> list[Truth]:
    """The arm under other numbers of workers, where the worker_scaling suite has them."""
    if truth.bare or truth.role == "control" or truth.engine == "none":
        return []
    role: Role = "arm"
    return [replace(truth, role=role, workers=n, spin_workers=min(n, truth.spin_workers)) for n in counts]


def records(
    truths: Sequence[Truth],
    cells: Sequence[tuple[str, GraphSpec]] | None = None,
    blocks: int = 3,
    seed: int = 1,
    drift: float = 0.05,
    latencies: int = 48,
    background_cpu: float = 0.02,
) -> list[Record]:
    """Blocks in rotated order; `drift` is the growth of all times per block."""
    rng = np.random.default_rng(seed)
    out = []
    cells = every_suite() if cells is None else cells
    for block in range(blocks):
        order = [*truths[block % len(truths) :], *truths[: block % len(truths)]]
        for suite, spec in cells:
            others = [other for truth in order for other in resized(truth)] if suite == "worker_scaling" else []
            for position, truth in enumerate([*order, *others]):
                out.append(
                    _record(truth, suite, spec, block, position, (1 + drift) ** block, rng, latencies, background_cpu)
                )
    return out


FLOW = UserFlowSpec(name="etl(n=3)", file="etl.py")


def comparison(truths: Sequence[Truth], blocks: int = 5, spec: UserFlowSpec = FLOW, **run: Any) -> list[Record]:
    """A user's flow under each arm, `per_task_s` seconds a run; `run` is what each `FlowRun` holds."""
    rng = np.random.default_rng(7)
    flow_run = FlowRun(**{"states": {"Completed": 7}, "submitted": 7, "result": "same"} | run)
    out = []
    for record in records(truths, [("compare", graph(2))], blocks):
        truth = next(truth for truth in truths if truth.name == record.arm)
        time_s = truth.per_task_s * float(np.exp(rng.normal(0, truth.noise)))
        failed = record.status == "error"
        out.append(
            replace(
                record,
                graph=spec,
                tasks=flow_run.tasks,
                phases=Phases() if failed else Phases(makespan_s=time_s, total_s=time_s),
                latencies=Latencies(),
                recorded=None if failed else flow_run.tasks,
                expected_recorded=flow_run.tasks,
                flow_run=None if failed else flow_run,
            )
        )
    return out


def write(run_dir: Path, lines: Sequence[Record], plan: RunPlan | None = None) -> Path:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / FILE_NAME).write_text("".join(to_json(record) + "\n" for record in lines))
    if plan is not None:
        run_plan.write(run_dir, plan)
    return run_dir


def plan(lines: Sequence[Record], **changes: Any) -> RunPlan:
    """A plan that these records fulfil."""
    fulfilled = RunPlan(
        run_id=lines[0].run_id,
        profile="quick",
        arms=tuple(dict.fromkeys(record.arm for record in lines)),
        blocks=max(record.block for record in lines) + 1,
        workers=2,
        baseline="threads",
        command="pytest benchmarks --benchmark-only",
        started_at="2026-11-23T01:00:00Z",
        finished_at="2026-11-23T01:11:00Z",
        planned_cells=len(lines),
    )
    return replace(fulfilled, **changes)


def makespan_s(truth: Truth, suite: str, spec: GraphSpec) -> float:
    """The makespan without noise."""
    tasks = 3 * spec.width + 1
    kind, seconds = spec.work.kind, spec.work.seconds
    workers = 1 if truth.engine == "none" else truth.spin_workers if kind == "spin" else truth.workers or 1
    body = spec.width * spec.batch * seconds / workers
    cost = truth.fixed_s + truth.per_task_s * tasks * (0.6 if suite == "cached" else 1) + truth.quadratic_s * tasks**2
    payload = spec.payload_bytes * 2e-8 * spec.width * (1 if truth.engine in ("none", "threads") else 5)
    return cost + body + payload + spec.failures * spec.width * truth.retry_s


SHARES = dict(zip(STAGES, (0.05, 0.2, 0.05, 0.2, 0.3, 0.1, 0.02, 0.08), strict=True))
"""Of a synthetic task's time, by stage."""


def task_stages(truth: Truth, rng: np.random.Generator, probe: float = 1.005) -> TaskStages:
    """What the probe would have seen of 8 tasks with it on, `probe` times as long for it, and 12 with it off."""
    unprobed = truth.per_task_s * np.exp(rng.normal(0, truth.noise, 12))
    probed = truth.per_task_s * probe * np.exp(rng.normal(0, truth.noise, 8))
    stages = {stage: share * float(probed.mean()) for stage, share in SHARES.items()}
    return TaskStages(stages, tuple(map(float, probed)), tuple(map(float, unprobed)))


def _record(
    truth: Truth,
    suite: str,
    spec: GraphSpec,
    block: int,
    position: int,
    drift: float,
    rng: np.random.Generator,
    latencies: int,
    background_cpu: float,
) -> Record:
    tasks, cold = 3 * spec.width + 1, suite == "startup"
    failed = truth.fails is not None and truth.fails_suite in (None, suite)
    makespan = makespan_s(truth, suite, spec) * drift * float(np.exp(rng.normal(0, truth.noise)))
    startup = (
        (truth.startup_s if cold else min(truth.startup_s, 0.2)) * drift * float(np.exp(rng.normal(0, truth.noise)))
    )
    first = startup + 4 * truth.per_task_s
    items = spec.width * spec.batch
    ideal = items * spec.work.seconds / (1 if truth.engine == "none" else truth.workers or 1)
    waits = np.sort(rng.gamma(2.0, makespan / 6, latencies))
    executions = 0 if suite == "cached" else tasks + spec.failures * spec.width
    expected = 0 if truth.bare else tasks
    return Record(
        run_id="synthetic",
        suite=suite,
        graph=spec,
        arm=truth.name,
        role=truth.role,
        engine=truth.engine,
        runner=f"lab.{truth.name}",
        bare=truth.bare,
        lean=truth.lean,
        cold=cold,
        workers=truth.workers,
        block=block,
        position=position,
        status="error" if failed else "ok",
        error=truth.fails if failed else None,
        started_at=f"2026-11-23T01:{block:02d}:00Z",
        tasks=tasks,
        ideal_s=ideal,
        expected_executions=executions,
        executions=None if failed else executions,
        expected_recorded=expected,
        recorded=None if failed else round(expected * truth.recorded),
        visibility_lag_s=None if failed or truth.bare else 0.4,
        phases=Phases()
        if failed
        else Phases(startup, first, makespan * 0.7, makespan, 0.1 * startup, startup + makespan + 0.1 * startup),
        latencies=Latencies()
        if failed
        else Latencies(tuple(waits), tuple(np.sort(rng.normal(0.001, 1e-5, latencies))), tuple(waits / 4)),
        usage=Usage()
        if failed
        else Usage(
            0.4 * makespan + 0.05,
            0.0 if truth.engine in ("none", "threads") else 1.1 * makespan,
            0.0 if truth.bare else 0.06 * tasks,
            150_000_000,
            max(0, int((truth.memory_mb - 150) * 1e6)),
            0 if truth.bare else 310_000_000,
        ),
        task_stages=task_stages(truth, rng) if suite == "task_stages" and not failed and not truth.bare else None,
        elapsed_s=makespan + startup + 0.6,
        background_cpu=background_cpu,
        environment=ENVIRONMENT,
    )
