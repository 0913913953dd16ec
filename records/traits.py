"""What a run's readers are told of its arms by their engines, which the readers need not have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Reach = Literal["process", "host", "cluster"]
Slots = Literal["counted", "no limit", "unknown"]
Nested = Literal["held", "lent", "own"]


@dataclass(frozen=True)
class ArmTraits:
    """One arm's, as its engine describes it.

    rank: from the simplest to run, 0, to the one with the most to look after.
    reach: how far tasks go from the flow: no further than its own `process`, processes of its `host`, or a `cluster`.
    slots_share_gil: all worker slots are in one process (True), or each in its own (False); None: neither, or unknown.
    caveat: what no stopwatch shows, in one sentence.
    palette: place in the charts' palette; None: one is drawn from the arm's name.
    event_loop: all tasks run in one event loop: those that wait do so all at once, those that compute take turns,
        whether they hold the GIL or not. Its number of workers is 1 and limits nothing.
    slots: whether the arm's number of workers is one; it is 0 where there is no limit, or none is known.
    nested: what becomes of the slot of a task that waits for tasks of its own. It is `held`, it is `lent` to others, or
        these tasks have a pool of their `own`.
    """

    rank: int = 50
    reach: Reach = "process"
    slots_share_gil: bool | None = None
    caveat: str = ""
    palette: int | None = None
    event_loop: bool = False
    slots: Slots = "counted"
    nested: Nested = "held"


def before(engine: str, arm: str, variant: bool) -> ArmTraits:
    """Those of an arm of a run that does not tell them.

    Args:
        variant: it is the lean or bare form of an arm.
    """
    stem = arm.removeprefix("lean-").removeprefix("bare-") if variant else arm
    found = replace(_ENGINES.get(engine, ArmTraits()), palette=_PALETTE.get(stem))
    lends = variant and arm.startswith("lean-") and found.nested == "held"
    return replace(found, nested="lent") if lends else found


_ENGINES = {
    "none": ArmTraits(
        0, caveat="Direct calls run one after another in the flow's own process: nothing runs at the same time."
    ),
    "threads": ArmTraits(
        10,
        slots_share_gil=True,
        caveat="Threads share the flow's process: no other host takes part, and a crash of it takes all tasks along.",
    ),
    "processes": ArmTraits(
        20,
        "host",
        slots_share_gil=False,
        nested="own",
        caveat="A process pool stays on the flow's host, and one killed worker loses the pool with all its tasks.",
    ),
    "dask": ArmTraits(
        30,
        "cluster",
        slots_share_gil=False,
        caveat="Dask's workers may be on other hosts, all of which need your code, its packages and Prefect's API.",
    ),
    "ray": ArmTraits(
        40,
        "cluster",
        slots_share_gil=False,
        nested="lent",
        caveat="Ray's workers may be on other hosts, all of which need your code, its packages and Prefect's API.",
    ),
}
"""The engines that the lab had when runs did not say."""
_PALETTE = {"sequential": 0, "threads": 1, "control": 2, "processes": 3, "dask": 4, "ray": 5}
"""By the arm's name."""
