"""How much a run measures: `smoke` to see that it works, `quick` for an answer, `full` for one to rely on, `lean` for
what the lean runners save, `choice` for what `runner-lab choose` and the decision map rest on, `scale` for very wide
graphs.

The widths of `payload`, `cached` and `retrying` are among those of `overhead`, which they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner_lab.records.graph import AnyGraph, GraphSpec, Work, WorkKind
from runner_lab.runners.catalog import BARE, BASELINE, CONTROL, LEAN, STOCK
from runner_lab.runners.spec import RunnerSpec


@dataclass(frozen=True)
class Suite:
    """One `bench_*.py` file.

    cold: its cells start and stop a cluster or pool of their own.
    search: the task durations of its cells are searched for, begun at that of the profile's graph.
    resized: its cells run under several numbers of workers.
    wide: a cell that by the narrower ones of its arm would take too long is left out, and the run says so.
    without: sorts of arms that take no part: `bare` engines, the `control`, `direct` calls.
    """

    name: str
    cold: bool = False
    search: bool = False
    resized: bool = False
    wide: bool = False
    without: frozenset[str] = frozenset()

    def takes(self, arm: RunnerSpec) -> bool:
        """Whether an arm is of a sort that takes part."""
        sorts = {"bare": arm.bare, "control": arm.name == CONTROL, "direct": arm.direct}
        return not any(sorts[sort] for sort in self.without)


@dataclass(frozen=True)
class Profile:
    """Arms, blocks, and the graphs of each suite.

    arms: names, and groups of them (`runners.catalog.Catalog.default`), as every engine that is installed has some.
    first_blocks: suites that are measured in the first blocks only, by how many: those that cost most and decide least.
    cell_timeout_s: seconds one pass over a graph may take, unless told otherwise.
    counted: the lab's server counts what it is asked.
    """

    name: str
    arms: tuple[str, ...]
    blocks: int
    suites: Mapping[str, tuple[AnyGraph, ...]]
    first_blocks: Mapping[str, int] = field(default_factory=dict)
    cell_timeout_s: float = 300.0
    counted: bool = False

    def graphs(self, suite: str) -> tuple[AnyGraph, ...]:
        return self.suites.get(suite, ())


def _empty(*widths: int) -> tuple[GraphSpec, ...]:
    return tuple(GraphSpec(width=width) for width in widths)


def _working(width: int, *seconds: float) -> tuple[GraphSpec, ...]:
    kinds: tuple[WorkKind, ...] = ("sleep", "spin", "crunch")
    return tuple(GraphSpec(width=width, work=Work(kind, duration)) for kind in kinds for duration in seconds)


def _carrying(width: int, *sizes_bytes: int) -> tuple[GraphSpec, ...]:
    return tuple(GraphSpec(width=width, payload_bytes=size) for size in sizes_bytes)


def _batched(items: int, work: Work, *batches: int) -> tuple[GraphSpec, ...]:
    """The same items, so many to a task."""
    return tuple(GraphSpec(width=items // batch, work=work, batch=batch) for batch in batches)


def _both(width: int, seconds: float) -> tuple[GraphSpec, ...]:
    """Tasks that wait, and tasks under the GIL: the kinds of the decision map."""
    kinds: tuple[WorkKind, ...] = ("sleep", "spin")
    return tuple(GraphSpec(width=width, work=Work(kind, seconds)) for kind in kinds)


_PREFECT = (BASELINE, CONTROL, "sequential", STOCK)

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "smoke",
            (BASELINE, CONTROL, "dask"),
            blocks=1,
            suites={
                "startup": _empty(2),
                "overhead": _empty(2, 6, 12),
                "work": (GraphSpec(width=4, work=Work("sleep", 0.1)),),
                "payload": _carrying(6, 100_000),
                "cached": (GraphSpec("cached", width=6),),
                "retrying": (GraphSpec("retrying", width=6, failures=1),),
            },
        ),
        Profile(
            "quick",
            (*_PREFECT, BARE),
            blocks=3,
            suites={
                "startup": _empty(2),
                "overhead": _empty(2, 4, 10),
                "work": _working(4, 0.2),
                "payload": _carrying(4, 1_000_000),
                # A stock remote arm takes a second a task to fill the cache.
                "cached": (GraphSpec("cached", width=2),),
                "retrying": (GraphSpec("retrying", width=2, failures=1),),
            },
        ),
        Profile(
            "full",
            (*_PREFECT, LEAN, BARE),
            blocks=7,
            suites={
                "startup": _empty(2),
                "overhead": _empty(2, 8, 20),
                "work": _working(4, 0.05, 0.25),
                "payload": _carrying(8, 100_000, 1_000_000),
                "cached": (GraphSpec("cached", width=8),),
                "retrying": (GraphSpec("retrying", width=8, failures=1),),
                "metg": _both(4, 0.05),
                "batching": _batched(32, Work("sleep", 0.02), 1, 4, 16),
                "worker_scaling": _both(4, 0.25),
                "task_stages": (GraphSpec("chain", width=25),),
            },
            first_blocks={
                "work": 4,
                "startup": 3,
                "payload": 2,
                "cached": 2,
                "retrying": 2,
                "metg": 2,
                "task_stages": 2,
                "batching": 1,
                "worker_scaling": 1,
            },
        ),
        Profile(
            "choice",
            _PREFECT,
            blocks=2,
            suites={
                "startup": _empty(2),
                "overhead": _empty(2, 8, 16),
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
                "overhead": _empty(8, 64, 128),
                "payload": _carrying(8, 1_000_000),
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
    )
}
