"""What names a measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner_lab.records.graph import AnyGraph
from runner_lab.records.validation import Count

WORKER_SCALING = "worker_scaling"
"""The suite whose cells differ by their number of workers alone."""


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
        """The arm's name, with its number of workers where only this tells cells apart: `dask@4`."""
        return f"{self.arm}@{self.workers}" if self.suite == WORKER_SCALING else self.arm

    def of_any_block(self) -> CellId:
        return replace(self, block=None)
