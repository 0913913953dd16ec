"""The line a user watches: how far the run is, the time left, and what is measured now."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from statistics import mean

from runner_lab.benchmarks.session.plan import Drawn, PlannedCell
from runner_lab.records.cell_id import CellId
from runner_lab.records.record import Record

BAR_WIDTH = 20


def _none(cell: PlannedCell) -> bool:
    return False


def _no_end() -> float:
    return math.inf


class Progress:
    """Counts and predicts; printing is the caller's.

    Args:
        spared: whether a cell that is still to come would be left out, by what is known now.
        repeats_s: gives the seconds that are left for cells of later blocks, if no work is drawn for them.
    """

    def __init__(
        self,
        cells: Sequence[PlannedCell],
        spared: Callable[[PlannedCell], bool] = _none,
        repeats_s: Callable[[], float] = _no_end,
    ) -> None:
        self._left = {cell.id: cell for cell in cells}
        self._total = len(cells)
        self._spared = spared
        self._repeats_s = repeats_s
        self._failed = 0
        self._elapsed_by_cell: dict[CellId, list[float]] = defaultdict(list)
        self._elapsed_by_arm: dict[str, list[float]] = defaultdict(list)

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

    @property
    def only_drawn(self) -> bool:
        """Whether no other cells than those of drawn work are left."""
        return all(isinstance(cell, Drawn) for cell in self._left.values())

    def line(self, now: str | None = None) -> str:
        """`[#####...............] 34/130, about 4 min left, 1 failed: dask map 120`.

        Args:
            now: what is measured next.
        """
        coming = self._coming()
        done = self._total - len(self._left)
        total = done + len(coming)
        filled = BAR_WIDTH * done // total if total else BAR_WIDTH
        parts = [f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total}"]
        if coming and (left_s := self.left_s()) is not None:
            parts.append(f"about {spoken(left_s)} left")
        if self._failed:
            parts.append(f"{self._failed} failed")
        return ", ".join(parts) + (f": {now}" if now else "")

    def left_s(self) -> float | None:
        """Seconds left: each cell as long as in earlier blocks, else as its arm's others, else as any."""
        coming = self._coming()
        expected = {cell.id: self.expected_s(cell) for cell in coming}
        if None in expected.values():
            return None
        repeats = [cell.id for cell in coming if cell.block > 0 and not isinstance(cell, Drawn)]
        repeats_s = sum(expected[one] or 0.0 for one in repeats)
        others_s = sum(seconds or 0.0 for seconds in expected.values()) - repeats_s
        return others_s + min(repeats_s, max(self._repeats_s() - others_s, 0.0))

    def _coming(self) -> list[PlannedCell]:
        return [cell for cell in self._left.values() if not self._spared(cell)]

    def expected_s(self, cell: PlannedCell) -> float | None:
        """Seconds a cell will take, as long as in earlier blocks, else as its arm's others, else as any."""
        same_cell = self._elapsed_by_cell.get(cell.id.of_any_block())
        times = same_cell or self._elapsed_by_arm.get(cell.arm.name) or [*chain(*self._elapsed_by_arm.values())]
        return mean(times) if times else None


def spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min"
