"""Which cells a run has, and in which order: blocks outermost, arms rotated within their stage.

Arms that share a cluster are measured one after another while it is up, and no other cluster runs beside it: its
idle processes would take CPU from whoever is measured. The control is a place of its own in the rotation, so what it
differs by from the baseline is what any two arms may differ by for standing apart in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import AnyGraph, GraphSpec
from runner_lab.records.record import BASELINE, CONTROL, Role
from runner_lab.runners.spec import RunnerSpec

T = TypeVar("T")


class Stage(NamedTuple):
    """What is up while its cells are measured, one after another: a cluster that arms share, or one arm by itself.

    api_latency_s: round trip between it and Prefect's API. A cluster's processes are told where the API is when they
        start, so that each distance has a cluster of its own.
    """

    name: str
    workers: int
    api_latency_s: float = 0.0


@dataclass(frozen=True)
class PlannedCell:
    """One graph under one arm, in one block.

    cold: the arm starts its own cluster or pool, and stops it, within the cell.
    baseline: name of the arm that the others are compared with.
    """

    suite: str
    graph: AnyGraph
    arm: RunnerSpec
    block: int
    stage: Stage
    cold: bool = False
    baseline: str = BASELINE

    @property
    def id(self) -> CellId:
        return CellId(self.suite, self.graph, self.arm.name, self.arm.workers, self.block)

    @property
    def label(self) -> str:
        """For showing; the same in every block."""
        return str(self.id)

    @property
    def lab_graph(self) -> GraphSpec:
        """The graph, of a cell that has one of the lab's own."""
        assert isinstance(self.graph, GraphSpec)
        return self.graph

    @property
    def role(self) -> Role:
        roles: dict[str, Role] = {self.baseline: "baseline", CONTROL: "control"}
        return roles.get(self.arm.name, "arm")


class CellError(Exception):
    """A cell whose figures mean nothing: the message is one line that says why.

    Args:
        known: fields of its record that are known all the same.
    """

    def __init__(self, message: str, **known: Any) -> None:
        super().__init__(message)
        self.known = known


@dataclass(frozen=True)
class Search(PlannedCell):
    """Cells of one graph under one arm in one block, the task duration of each decided when it is reached.

    graph: the first guess; the cells differ from it by `work.seconds`.
    """

    @property
    def label(self) -> str:
        return f"{self.suite}/{self.lab_graph.work.kind}/{self.arm.name}"

    def at(self, seconds: float) -> PlannedCell:
        """The cell of this search whose work takes so long."""
        graph = replace(self.lab_graph, work=replace(self.lab_graph.work, seconds=seconds))
        return PlannedCell(self.suite, graph, self.arm, self.block, self.stage)


@dataclass(frozen=True)
class Wide(PlannedCell):
    """One that is left out where the narrower ones of its arm say that it would take too long."""


@dataclass(frozen=True)
class Drawn(PlannedCell):
    """One of work drawn at random: whether its arm measures it, and in how many slots, is decided when it is reached.

    slots: that it may have; None: as many as it likes.
    """

    slots: int | None = None

    def at(self, slots: int) -> PlannedCell:
        arm = self.arm.with_workers(slots)
        stage = self.stage._replace(workers=arm.workers)
        return PlannedCell(self.suite, self.graph, arm, self.block, stage, self.cold)


def applies(graph: AnyGraph, arm: RunnerSpec, cold: bool, attached: bool = False, moves_api: bool = False) -> bool:
    """Whether an arm can run a graph.

    A bare engine has no cache and no retries of Prefect's kind, and no flow to start cold. Asynchronous tasks run in an
    event loop or under a runner of Prefect's kind; a chain, whose probe is of other tasks, does not run in a loop.
    Nor do pieces, which drop futures.
    A cluster that the lab attaches to is not the lab's to start, nor to start anew where a suite moves the API; and the
    probe of a chain reads the workers' clocks and wants its code there.
    """
    if attached and (cold or moves_api or graph.variant == "chain"):
        return False
    if isinstance(graph, GraphSpec) and graph.asynchronous and (arm.bare or arm.direct):
        return False
    if arm.event_loop and graph.variant in ("chain", "pieces"):
        return False
    return not arm.bare or (graph.variant in ("plain", "map") and not cold)


def order(cells: Iterable[PlannedCell]) -> list[PlannedCell]:
    """Blocks one after another, those of drawn work last; in a block stages rotated; in a stage cold cells first, then
    by graph, its arms rotated: each is the first as often as the others."""
    cells = list(cells)
    arms = list(dict.fromkeys(_arm(cell) for cell in cells))
    by_arm = sorted(cells, key=lambda cell: arms.index(_arm(cell)))
    stages = list(dict.fromkeys(cell.stage for cell in by_arm))
    # Among those it shares a stage with: in a turn of all arms two of them would hardly ever change places.
    sharing: dict[tuple[Stage, str, AnyGraph], dict[str, int]] = {}
    for cell in by_arm:
        places = sharing.setdefault(_shared(cell), {})
        places.setdefault(cell.arm.name, len(places))
    graphs = list(dict.fromkeys((cell.suite, cell.graph) for cell in cells))
    blocks = 1 + max((cell.block for cell in cells), default=0)
    position = {block: {stage: i for i, stage in enumerate(rotated(stages, block, blocks))} for block in range(blocks)}

    def place(cell: PlannedCell) -> tuple[bool, int, int, bool, int, int]:
        places = sharing[_shared(cell)]
        return (
            isinstance(cell, Drawn),
            cell.block,
            position[cell.block][cell.stage],
            not cell.cold,
            graphs.index((cell.suite, cell.graph)),
            (places[cell.arm.name] - cell.block) % len(places),
        )

    return sorted(cells, key=place)


def _arm(cell: PlannedCell) -> tuple[str, int]:
    return cell.arm.name, cell.arm.workers


def _shared(cell: PlannedCell) -> tuple[Stage, str, AnyGraph]:
    """The same for cells that differ by arm and block alone, and whose arms take turns."""
    return cell.stage, cell.suite, cell.graph


def rotated(items: Sequence[T], block: int, blocks: int) -> list[T]:
    """`items` begun from another one in each block, as far apart over the blocks as they go."""
    if not items:
        return []
    start = (block * len(items) // blocks if blocks < len(items) else block) % len(items)
    return [*items[start:], *items[:start]]
