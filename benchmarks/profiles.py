"""How much a run measures: `smoke` to see that it works, `quick` for an answer, `full` for one to rely on, `lean` for
what the lean runners save.

The widths of `payload`, `cached` and `retrying` are among those of `overhead`, which they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.graph import GraphSpec, Work, WorkKind
from runners.catalog import BASELINE, CONTROL


@dataclass(frozen=True)
class Suite:
    """One `bench_*.py` file.

    cold: its cells start and stop a cluster or pool of their own.
    """

    name: str
    cold: bool = False


@dataclass(frozen=True)
class Profile:
    """Arms, blocks, and the graphs of each suite."""

    name: str
    arms: tuple[str, ...]
    blocks: int
    suites: Mapping[str, tuple[GraphSpec, ...]]

    def graphs(self, suite: str) -> tuple[GraphSpec, ...]:
        return self.suites.get(suite, ())


def _empty(*widths: int) -> tuple[GraphSpec, ...]:
    return tuple(GraphSpec(width=width) for width in widths)


def _working(width: int, *seconds: float) -> tuple[GraphSpec, ...]:
    kinds: tuple[WorkKind, ...] = ("sleep", "spin", "crunch")
    return tuple(GraphSpec(width=width, work=Work(kind, duration)) for kind in kinds for duration in seconds)


def _carrying(width: int, *sizes_bytes: int) -> tuple[GraphSpec, ...]:
    return tuple(GraphSpec(width=width, payload_bytes=size) for size in sizes_bytes)


_PREFECT = (BASELINE, CONTROL, "sequential", "processes", "dask", "ray")
_BARE = ("bare-threads", "bare-dask", "bare-ray")
_LEAN = ("lean-threads", "lean-processes", "lean-dask", "lean-ray")

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
            (*_PREFECT, *_BARE),
            blocks=3,
            suites={
                "startup": _empty(2),
                "overhead": _empty(2, 6, 12),
                "work": _working(4, 0.2),
                "payload": _carrying(6, 1_000_000),
                "cached": (GraphSpec("cached", width=6),),
                "retrying": (GraphSpec("retrying", width=6, failures=1),),
            },
        ),
        Profile(
            "full",
            (*_PREFECT, *_LEAN, *_BARE),
            blocks=7,
            suites={
                "startup": _empty(2),
                "overhead": _empty(4, 12, 24, 48),
                "work": _working(8, 0.05, 0.5),
                "payload": _carrying(12, 100_000, 1_000_000),
                "cached": (GraphSpec("cached", width=12),),
                "retrying": (GraphSpec("retrying", width=12, failures=1),),
                "tax": (GraphSpec("chain", width=45),),
            },
        ),
        Profile(
            "lean",
            (*_PREFECT, *_LEAN),
            blocks=3,
            suites={
                "overhead": _empty(8, 32, 64),
                "payload": _carrying(8, 1_000_000),
                "cached": (GraphSpec("cached", width=8),),
                "retrying": (GraphSpec("retrying", width=8, failures=1),),
                "tax": (GraphSpec("chain", width=25),),
            },
        ),
    )
}
