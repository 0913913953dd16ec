"""What names a measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner_lab.records.graph import AnyGraph
from runner_lab.records.validation import Count

WORKER_SCALING = "worker_scaling"
"""The suite whose cells differ by their number of workers alone."""
SLOTS = "slots"
"""The suite of waiting tasks in many slots."""
DRAWN = "regret"
"""The suite of work drawn at random to test answers on: no fit sees it."""
RESIZED = (WORKER_SCALING, SLOTS, DRAWN)
"""Suites whose cells may have other numbers of workers than the run."""
WIDTHS = ("map", "overhead")
"""Suites of empty graphs in several widths; the first one that a run has tells what a task costs."""
API_NEAR, API_FAR = "api_near", "api_far"
"""The suites that have the same graphs beside Prefect's API and with a distance put between."""


@dataclass(frozen=True)
class CellId:
    """One graph under one arm with so many workers, in one block. `block` is None where the cell of any block is meant.

    As text (`overhead/plain-w16/dask`) it is for showing: nothing reads it back.
    """

    suite: str
    graph: AnyGraph
    arm: str
    workers: Count
    block: Count | None = None

    def __str__(self) -> str:
        return f"{self.suite}/{self.graph.id}/{self.arm_label}"

    @property
    def arm_label(self) -> str:
        """The arm's name, with its number of workers where cells of its suite differ by that: `dask@4`."""
        return f"{self.arm}@{self.workers}" if self.suite in RESIZED else self.arm

    def of_any_block(self) -> CellId:
        return replace(self, block=None)
