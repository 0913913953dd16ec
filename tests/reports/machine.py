"""A simulated machine whose runners are known exactly: a discrete-event simulation of driver, slots, GIL and cores.

It shares nothing with the cost model: tasks queue, bodies take turns, and what the makespan is comes out of that.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Latencies, Phases, Record, Usage
from tests.reports.synthetic import ENVIRONMENT, graph

CORES = 2
QUANTUM_S = 0.005
SERVER_CPU_S = 0.02
"""Of Prefect's server for a task run: on one core at most, beside the flow and after it."""


@dataclass(frozen=True)
class Runner:
    """What a simulated runner costs; seconds.

    submit_s: driver CPU a task. slot_cpu_s and slot_wait_s: a task's slot beyond its body, on a core and off it.
    fixed_s: before the first task of every flow run. cold_s: of a start from nothing. payload_s: a byte, on a core.
    event_loop: a slot for every task, and one thread for whatever computes.
    """

    name: str
    engine: str
    submit_s: float
    slot_cpu_s: float
    slot_wait_s: float
    fixed_s: float = 0.0
    cold_s: float = 1.0
    payload_s: float = 0.0
    gil: bool = False
    event_loop: bool = False
    lean: bool = False
    memory_mb: float = 200.0


THREADS = Runner("threads", "threads", 0.0003, 0.008, 0.030, cold_s=1.0, gil=True)
RUNNERS = (
    Runner("sequential", "none", 0.0, 0.004, 0.001, cold_s=1.0, gil=True, memory_mb=180),
    THREADS,
    replace(THREADS, name="lean-threads", lean=True, slot_wait_s=0.006),
    Runner("processes", "processes", 0.001, 0.12, 0.02, fixed_s=7.0, cold_s=1.0, payload_s=1e-8, memory_mb=700),
    Runner("dask", "dask", 0.030, 0.1, 0.06, cold_s=4.5, payload_s=2e-8, memory_mb=620),
    Runner("lean-dask", "dask", 0.004, 0.012, 0.006, cold_s=4.0, payload_s=2e-8, lean=True, memory_mb=600),
    Runner("ray", "ray", 0.020, 0.12, 0.10, cold_s=13.0, payload_s=5e-9, memory_mb=1300),
)
GATHER = Runner("gather", "asyncio", 0.0001, 0.004, 0.002, cold_s=1.0, gil=True, event_loop=True, memory_mb=180)
FULL = (
    ("startup", graph(2)),
    *(("overhead", graph(width)) for width in (4, 12, 24, 48)),
    *(("work", graph(8, kind=kind, seconds=d)) for kind in ("sleep", "spin", "crunch") for d in (0.05, 0.5)),
    *(("payload", graph(12, payload_bytes=size)) for size in (100_000, 1_000_000)),
)
"""A fan-out of several widths, as runs had it before there were maps."""
QUICK = (
    ("startup", graph(2, "map")),
    *(("map", graph(width, "map")) for width in (8, 24, 128)),
    *(("work", graph(10, "map", kind, 0.25)) for kind in ("sleep", "spin", "crunch")),
    ("work", graph(64, "map", "spin", 0.01)),
    ("slots", graph(64, "map", "sleep", 0.25)),
    ("payload", graph(8, "map", payload_bytes=1_000_000)),
)
"""The cells of the quick profile that a cost model is fitted to."""
MANY_SLOTS = 32

Step = tuple[str, Any]
Process = Generator[Step, None, None]


@dataclass
class _Resource:
    free: int
    waiting: deque[Process] = field(default_factory=deque)


class Simulation:
    """Processes that yield `("hold", seconds)`, `("take", resource)` or `("give", resource)`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Process]] = []

    def start(self, process: Process) -> None:
        heapq.heappush(self._events, (self.now, next(self._order), process))

    def run(self) -> float:
        while self._events:
            self.now, _, process = heapq.heappop(self._events)
            self._advance(process)
        return self.now

    def _advance(self, process: Process) -> None:
        for what, value in process:
            if what == "hold":
                heapq.heappush(self._events, (self.now + value, next(self._order), process))
                return
            if what == "take":
                if not value.free:
                    value.waiting.append(process)
                    return
                value.free -= 1
            elif value.waiting:
                self.start(value.waiting.popleft())
            else:
                value.free += 1


@dataclass(frozen=True)
class Task:
    """`needs` are the places of the tasks it waits for."""

    body_s: float = 0.0
    kind: str = "none"
    payload_bytes: float = 0.0
    needs: tuple[int, ...] = ()


def fan_out(spec: GraphSpec) -> list[Task]:
    """The lab's graph: hellos, worlds, greetings, and the gather; or the hellos of a map alone."""
    width, work = spec.width, spec.work
    if spec.variant == "map":
        return independent(width, work.seconds * spec.batch, work.kind, spec.payload_bytes)
    hellos = [Task(work.seconds * spec.batch, work.kind)] * width
    greets = [Task(payload_bytes=spec.payload_bytes, needs=(i, width + i)) for i in range(width)]
    return [*hellos, *[Task()] * width, *greets, Task(needs=tuple(range(2 * width, 3 * width)))]


def independent(tasks: int, body_s: float, kind: str, payload_bytes: float = 0.0) -> list[Task]:
    return [Task(body_s, kind, payload_bytes)] * tasks


def makespan_s(runner: Runner, tasks: list[Task], workers: int = 2, cores: int = CORES) -> tuple[float, float, float]:
    """(makespan, time of all submits, core-seconds) of the tasks under a runner, exactly as simulated."""
    simulation = Simulation()
    slots = len(tasks) if runner.event_loop else 1 if runner.engine == "none" else workers
    core, gil, slot = _Resource(cores), _Resource(1), _Resource(slots)
    server = _Resource(1)
    # Where the slots are in the flow's process, Prefect's own code takes turns with the bodies.
    own_process = (gil, core) if runner.gil else (core,)

    def in_turn(kind: str) -> bool:
        return runner.event_loop or (runner.gil and kind == "spin")

    done: set[int] = set()
    blocked: dict[int, list[tuple[int, Task]]] = {}
    missing = {place: len(task.needs) for place, task in enumerate(tasks)}
    submitted_at = used = ended_at = 0.0

    def compute(seconds: float, held: Iterable[_Resource], own: bool = True) -> Process:
        nonlocal used
        used += seconds if own else 0.0
        while seconds > 1e-12:
            for resource in held:
                yield "take", resource
            yield "hold", min(seconds, QUANTUM_S)
            for resource in held:
                yield "give", resource
            seconds -= QUANTUM_S

    def record() -> Process:
        yield "take", server
        yield from compute(SERVER_CPU_S, (core,), own=False)
        yield "give", server

    def perform(place: int, task: Task) -> Process:
        nonlocal ended_at
        yield "take", slot
        yield from compute(runner.slot_cpu_s + runner.payload_s * task.payload_bytes, own_process)
        yield "hold", runner.slot_wait_s
        if task.kind == "sleep":
            yield "hold", task.body_s
        elif task.body_s:
            yield from compute(task.body_s, (gil, core) if in_turn(task.kind) else (core,))
        yield "give", slot
        done.add(place)
        ended_at = simulation.now
        simulation.start(record())
        for waiting, other in blocked.pop(place, []):
            missing[waiting] -= 1
            if not missing[waiting]:
                simulation.start(perform(waiting, other))

    def drive() -> Process:
        nonlocal submitted_at
        yield "hold", runner.fixed_s
        for place, task in enumerate(tasks):
            yield from compute(runner.submit_s, own_process)
            left = [need for need in task.needs if need not in done]
            missing[place] = len(left)
            for need in left:
                blocked.setdefault(need, []).append((place, task))
            if not left:
                simulation.start(perform(place, task))
        submitted_at = simulation.now

    simulation.start(drive())
    simulation.run()
    return ended_at, submitted_at - runner.fixed_s, used


def records(
    runners: Iterable[Runner] = RUNNERS,
    cells: Iterable[tuple[str, GraphSpec]] = FULL,
    blocks: int = 7,
    noise: float = 0.04,
    seed: int = 1,
    workers: int = 2,
    scale_s: float = 1.0,
    cores: int = CORES,
) -> list[Record]:
    """A run on the simulated machine; `scale_s` stretches every clock, as another unit of time would."""
    rng = np.random.default_rng(seed)
    out = []
    control = replace(THREADS, name="control")
    for runner in (*runners, *([control] if any(r.name == "threads" for r in runners) else [])):
        for suite, spec in cells:
            if suite == "slots" and (runner.engine == "none" or not runner.gil or runner is control):
                continue
            slots = MANY_SLOTS if suite == "slots" else workers
            makespan, submit, cpu = makespan_s(runner, fan_out(spec), slots, cores)
            out += [
                _record(runner, suite, spec, block, slots, makespan, submit, cpu, rng, noise, scale_s, cores)
                for block in range(blocks)
            ]
    return sorted(out, key=lambda record: record.block)


def _record(
    runner: Runner,
    suite: str,
    spec: GraphSpec,
    block: int,
    workers: int,
    makespan: float,
    submit: float,
    cpu: float,
    rng: np.random.Generator,
    noise: float,
    scale_s: float,
    cores: int,
) -> Record:
    factor = scale_s * float(np.exp(rng.normal(0, noise)))
    cold = suite == "startup"
    start = factor * (runner.cold_s * 0.8 if cold else 0.1)
    total = start + makespan * factor + factor * (runner.cold_s * 0.2 if cold else 0.05)
    spec = replace(spec, work=replace(spec.work, seconds=spec.work.seconds * scale_s))
    tasks = spec.tasks
    remote = runner.engine in ("processes", "dask", "ray")
    return Record(
        run_id="simulated",
        suite=suite,
        graph=spec,
        arm=runner.name,
        role={"threads": "baseline", "control": "control"}.get(runner.name, "arm"),  # type: ignore[arg-type]
        engine=runner.engine,
        runner=f"lab.{runner.name}",
        bare=False,
        lean=runner.lean,
        cold=cold,
        workers=workers,
        block=block,
        position=0,
        status="ok",
        error=None,
        started_at=f"2026-11-23T01:{block:02d}:00Z",
        tasks=tasks,
        ideal_s=_ideal_s(spec, spec.width if runner.event_loop else 1 if runner.engine == "none" else workers, cores),
        expected_executions=tasks,
        executions=tasks,
        expected_recorded=tasks,
        recorded=tasks,
        visibility_lag_s=0.03,
        phases=Phases(start, start + 0.1 * factor, submit * factor, makespan * factor, 0.05 * factor, total),
        latencies=Latencies((0.01,), (0.001,), (0.01,)),
        usage=Usage(
            factor * (runner.submit_s * tasks if remote else cpu),
            factor * (cpu - runner.submit_s * tasks) if remote else 0.0,
            factor * SERVER_CPU_S * tasks,
            150_000_000,
            int((runner.memory_mb - 150) * 1e6),
            300_000_000,
            server_settled_cpu_s=factor * SERVER_CPU_S * tasks,
        ),
        elapsed_s=total + 0.5,
        background_cpu=0.01,
        environment=ENVIRONMENT | {"profile": "full", "cores": cores},
    )


def _ideal_s(spec: GraphSpec, slots: int, cores: int) -> float:
    body_s = spec.batch * spec.work.seconds
    computed_s = spec.width * body_s / min(slots, cores) if spec.work.kind in ("spin", "crunch") else 0.0
    return max(-(-spec.width // slots) * body_s, computed_s)


def resized(runner: Runner, workers: int, **options: Any) -> list[Record]:
    """The worker_scaling suite of a runner under another number of workers."""
    found = records([runner], workers=workers, **options)
    return [replace(record, role="arm") for record in found if record.arm == runner.name]


def fastest(runners: Iterable[Runner], tasks: Callable[[], list[Task]], workers: int = 2) -> dict[str, float]:
    """True makespans by runner, seconds."""
    return {runner.name: makespan_s(runner, tasks(), workers)[0] for runner in runners}


__all__ = ["FULL", "RUNNERS", "Runner", "fan_out", "fastest", "independent", "makespan_s", "records"]
