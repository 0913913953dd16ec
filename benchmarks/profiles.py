"""How much a run measures: `smoke` to see that it works, `quick` for an answer, `full` for one to rely on, `lean` for
what the lean runners save, `choice` for what `runner-lab choose` and the decision map rest on, `scale` for very wide
graphs, `pieces` for a flow of 100,000 tasks that drops its futures, `calibrate` for what `runner-lab advise` needs.

`cached` and `retrying` are as wide as `overhead`, and `payload` as one of `map`: that is what they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner_lab.records.cell_id import API_FAR, API_NEAR
from runner_lab.records.graph import AnyGraph, GraphSpec, Work, WorkKind
from runner_lab.records.record import BASELINE, CONTROL
from runner_lab.runners.catalog import BARE, LEAN, STOCK
from runner_lab.runners.spec import RunnerSpec


@dataclass(frozen=True)
class Suite:
    """One `bench_*.py` file.

    cold: its cells start and stop a cluster or pool of their own.
    search: the task durations of its cells are searched for, begun at that of the profile's graph.
    resized: its cells run under several numbers of workers.
    slots: its cells run under so many workers, and only where a worker is a thread of the flow's process.
    wide: a cell that by the narrower ones of its arm would take too long is left out, and the run says so.
    drawn: its work is the profile's `draws`, and the runners that measure it are decided when it is reached.
    api_latency_s: round trip between its cells and Prefect's API, where it is not that of the run.
    without: sorts of arms that take no part: `bare` engines, the `control`, `direct` calls.
    """

    name: str
    cold: bool = False
    search: bool = False
    resized: bool = False
    slots: int | None = None
    wide: bool = False
    drawn: bool = False
    api_latency_s: float | None = None
    without: frozenset[str] = frozenset()

    def takes(self, arm: RunnerSpec) -> bool:
        """Whether an arm is of a sort that takes part."""
        sorts = {"bare": arm.bare, "control": arm.name == CONTROL, "direct": arm.direct}
        return not any(sorts[sort] for sort in self.without)


@dataclass(frozen=True)
class Draw:
    """A piece of work to hold the lab's answers against.

    cold: from a cold start.
    free: it may have as many slots as it likes; else those of the run.
    """

    graph: GraphSpec
    cold: bool
    free: bool


@dataclass(frozen=True)
class Thrift:
    """How a run spends its time. Its first block is measured whole; a cell of a later one where it is worth it.

    end_s:      seconds from the run's start after which no cell of a later block is begun.
    known_to:   half width of the 90 % interval of a cell's time, relative, with which it is known well enough.
    longest_s:  a map that by its narrower ones would take longer is not begun: a dear task is known from fewer.
    stock:      suites that Prefect's own runners and direct calls measure, and nobody else.
    """

    end_s: float
    known_to: float
    longest_s: float
    stock: frozenset[str]


@dataclass(frozen=True)
class Profile:
    """Arms, blocks, and the graphs of each suite.

    arms: names, and groups of them (`runners.catalog.Catalog.default`), as every engine that is installed has some.
    first_blocks: suites that are measured in the first blocks only, by how many: those that cost most and decide least.
    cell_timeout_s: seconds one pass over a graph may take, unless told otherwise.
    draws: how many pieces of work are drawn for the suite that is `drawn`, and the seed.
    thrift: what is measured again, and what is not, where the run is to be over in time; None: all of it is.
    counted: the lab's server counts what it is asked.
    baseline: the arm that all others are compared with.
    suitable_slots: where no number of workers is given, each arm has as many as suit it, and not all the same.
    """

    name: str
    arms: tuple[str, ...]
    blocks: int
    suites: Mapping[str, tuple[AnyGraph, ...]]
    first_blocks: Mapping[str, int] = field(default_factory=dict)
    cell_timeout_s: float = 300.0
    draws: tuple[int, int] = (0, 0)
    thrift: Thrift | None = None
    counted: bool = False
    baseline: str = BASELINE
    suitable_slots: bool = False

    def graphs(self, suite: str) -> tuple[AnyGraph, ...]:
        return self.suites.get(suite, ())


def _empty(*widths: int) -> tuple[GraphSpec, ...]:
    return tuple(GraphSpec(width=width) for width in widths)


def _maps(*widths: int) -> tuple[GraphSpec, ...]:
    return tuple(GraphSpec("map", width=width) for width in widths)


def _working(
    width: int, *seconds: float, kinds: tuple[WorkKind, ...] = ("sleep", "spin", "crunch")
) -> tuple[GraphSpec, ...]:
    """Independent tasks of each kind of work."""
    return tuple(GraphSpec("map", width=width, work=Work(kind, duration)) for kind in kinds for duration in seconds)


def _carrying(width: int, *sizes_bytes: int) -> tuple[GraphSpec, ...]:
    return tuple(GraphSpec("map", width=width, payload_bytes=size) for size in sizes_bytes)


def _waiting(width: int, seconds: float) -> tuple[GraphSpec, ...]:
    return _working(width, seconds, kinds=("sleep",))


def _batched(items: int, work: Work, *batches: int) -> tuple[GraphSpec, ...]:
    """The same items, so many to a task."""
    return tuple(GraphSpec("map", width=items // batch, work=work, batch=batch) for batch in batches)


def _both(width: int, seconds: float) -> tuple[GraphSpec, ...]:
    """Tasks that wait, and tasks under the GIL: the kinds of the decision map."""
    return _working(width, seconds, kinds=("sleep", "spin"))


_PREFECT = (BASELINE, CONTROL, "sequential", "gather", STOCK)

FAR_S = 0.08
"""How far from Prefect's API the far suite is: a round trip, as to Prefect Cloud or a company's server elsewhere."""
_DISTANT = (GraphSpec("map", width=8), GraphSpec("map", width=32), GraphSpec("chain", width=15))
"""What a distance does to independent tasks, by two numbers of them, and to tasks that each take another's result."""

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "smoke",
            (BASELINE, CONTROL, "dask"),
            blocks=1,
            suites={
                "startup": _maps(2),
                "map": _maps(4, 16),
                "work": _waiting(4, 0.1),
                "overhead": _empty(2, 6),
                "payload": _carrying(4, 100_000),
                "cached": (GraphSpec("cached", width=6),),
                "retrying": (GraphSpec("retrying", width=6, failures=1),),
            },
        ),
        Profile(
            # What `runner-lab advise` needs where no run is: every term of the model once, in about three minutes.
            "calibrate",
            (BASELINE, "sequential", "gather", STOCK, LEAN),
            blocks=1,
            suites={
                "startup": _maps(2),
                "map": _maps(8, 32),
                "work": (GraphSpec("map", 32, Work("spin", 0.01)),),
                "payload": _carrying(8, 8_000_000),
            },
        ),
        Profile(
            "quick",
            (*_PREFECT, LEAN),
            blocks=5,
            suites={
                "startup": _maps(2),
                "map": _maps(8, 24, 128),
                # Short tasks tell what Prefect's part takes where work is between, and what the machine's cores do.
                "work": (*_working(10, 0.25), GraphSpec("map", 64, Work("spin", 0.01))),
                "slots": _waiting(64, 0.25),
                "payload": _carrying(8, 8_000_000),
                "overhead": _empty(2),
                # A stock remote arm takes a second a task to fill the cache.
                "cached": (GraphSpec("cached", width=2),),
                "retrying": (GraphSpec("retrying", width=2, failures=1),),
            },
            first_blocks={"startup": 4, "work": 1, "slots": 1, "payload": 1, "overhead": 1, "cached": 1, "retrying": 1},
            # With the report it is over within 8 minutes on two quiet cores; the first block is measured whole on any.
            thrift=Thrift(
                end_s=430.0, known_to=0.1, longest_s=2.0, stock=frozenset({"overhead", "cached", "retrying"})
            ),
        ),
        Profile(
            "full",
            (*_PREFECT, LEAN, BARE),
            blocks=7,
            suites={
                "startup": _maps(2),
                "map": _maps(8, 40, 120),
                "work": (
                    *_working(12, 0.05, 0.25),
                    GraphSpec("map", 64, Work("spin", 0.01)),
                    GraphSpec("map", 16, Work("sleep", 0.25), asynchronous=True),
                ),
                "slots": _waiting(64, 0.25),
                "payload": _carrying(8, 100_000, 8_000_000),
                "overhead": _empty(8),
                "cached": (GraphSpec("cached", width=8),),
                "retrying": (GraphSpec("retrying", width=8, failures=1),),
                "metg": _both(4, 0.05),
                "batching": _batched(32, Work("sleep", 0.02), 1, 4, 16),
                "worker_scaling": _both(4, 0.25),
                "task_stages": (GraphSpec("chain", width=25),),
                API_NEAR: _DISTANT,
                API_FAR: _DISTANT,
            },
            first_blocks={
                API_NEAR: 3,
                API_FAR: 3,
                "work": 3,
                "startup": 3,
                "slots": 2,
                "payload": 2,
                "overhead": 2,
                "cached": 2,
                "retrying": 2,
                "metg": 2,
                "task_stages": 2,
                "batching": 1,
                "worker_scaling": 1,
            },
            draws=(15, 0),
        ),
        Profile(
            "choice",
            _PREFECT,
            blocks=2,
            suites={
                "startup": _maps(2),
                "map": _maps(4, 16, 48),
                "work": (*_both(4, 0.05), *_both(4, 0.4)),
                "metg": _both(4, 0.05),
                "batching": _batched(16, Work("sleep", 0.02), 1, 4, 8),
                "worker_scaling": _both(4, 0.25),
            },
            first_blocks={"startup": 1, "batching": 1, "worker_scaling": 1},
        ),
        Profile(
            "lean",
            (*_PREFECT, LEAN),
            blocks=3,
            suites={
                "map": _maps(8, 64, 128),
                "payload": _carrying(8, 8_000_000),
                "overhead": _empty(8),
                "cached": (GraphSpec("cached", width=8),),
                "retrying": (GraphSpec("retrying", width=8, failures=1),),
                "task_stages": (GraphSpec("chain", width=25),),
            },
        ),
        Profile(
            "scale",
            (BASELINE, CONTROL, STOCK, LEAN),
            blocks=2,
            # 10, 100, 1,000, 5,002 and 10,000 tasks; the first so that at 100 there is a slope to hold others against.
            suites={"scale": _empty(3, 33, 333, 1667, 3333)},
            # The widest begun should take half of that: 10,000 tasks of threads and lean arms do.
            cell_timeout_s=1200.0,
            counted=True,
        ),
        Profile(
            # A flow that drops its futures: does its memory stay bounded, and is every task run recorded?
            "pieces",
            (BASELINE, LEAN),
            blocks=1,
            suites={"scale": tuple(GraphSpec("pieces", width) for width in (1_000, 10_000, 100_000))},
            cell_timeout_s=7200.0,
            counted=True,
        ),
    )
}
