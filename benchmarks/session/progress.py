"""The line a user watches: cells done, time left, and the arm that leads so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from statistics import geometric_mean, mean, median

from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.records.cell_id import RESIZED, CellId
from runner_lab.records.record import Record


class Progress:
    """Counts and predicts; printing is the caller's."""

    def __init__(self, cells: Sequence[PlannedCell], baseline: str) -> None:
        self._left = {cell.id: cell for cell in cells}
        self._total = len(cells)
        self._baseline = baseline
        self._failed = 0
        self._elapsed_by_cell: dict[CellId, list[float]] = defaultdict(list)
        self._elapsed_by_arm: dict[str, list[float]] = defaultdict(list)
        self._values: dict[tuple[object, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def done(self, cell: PlannedCell, records: Sequence[Record]) -> None:
        """`cell` is measured. A search, which counted as one cell until now, has any number of records."""
        if self._left.pop(cell.id, None) is None:
            return
        self._total += len(records) - 1
        good = [record for record in records if record.status == "ok"]
        self._failed += len(records) - len(good)
        if len(good) == len(records):
            self._elapsed_by_cell[cell.id.of_any_block()].append(sum(record.elapsed_s for record in good))
        for record in good:
            self._elapsed_by_arm[record.arm].append(record.elapsed_s)
            # Only arms with the same work on the same workers are held against each other.
            workers = record.workers if record.suite in RESIZED else None
            if record.value_s and not record.bare and record.role != "control":
                self._values[record.suite, record.graph, workers][record.arm].append(record.value_s)

    def left_out(self, cell: PlannedCell) -> None:
        """Take a cell that is not to be measured out of the run."""
        if self._left.pop(cell.id, None):
            self._total -= 1

    @property
    def total(self) -> int:
        """Cells of the run, as far as it is known: a search that is still to come counts as one."""
        return self._total

    @property
    def left(self) -> int:
        """Cells not measured yet."""
        return len(self._left)

    def line(self) -> str:
        done = self._total - len(self._left)
        parts = [f"{done}/{self._total} cells"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._left and (left_s := self.left_s()) is not None:
            parts.append(f"about {spoken(left_s)} left")
        if leader := self.leader():
            parts.append(f"{leader} leads so far")
        return ", ".join(parts)

    def left_s(self) -> float | None:
        """Seconds left: each cell as long as in earlier blocks, else as its arm's others, else as any."""
        expected = [self.expected_s(cell) for cell in self._left.values()]
        return sum(s for s in expected if s is not None) if None not in expected else None

    def expected_s(self, cell: PlannedCell) -> float | None:
        """Seconds a cell will take, as long as in earlier blocks, else as its arm's others, else as any."""
        same_cell = self._elapsed_by_cell.get(cell.id.of_any_block())
        times = same_cell or self._elapsed_by_arm.get(cell.arm.name) or [*chain(*self._elapsed_by_arm.values())]
        return mean(times) if times else None

    def leader(self) -> str | None:
        """The arm with the lowest geometric mean of ratios to the baseline, over the graphs both have run."""
        ratios: dict[str, list[float]] = defaultdict(list)
        for by_arm in self._values.values():
            if self._baseline in by_arm:
                for arm, values in by_arm.items():
                    ratios[arm].append(median(values) / median(by_arm[self._baseline]))
        if len(ratios) < 2:
            return None
        return min(ratios, key=lambda arm: geometric_mean(ratios[arm]))


def spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min"
