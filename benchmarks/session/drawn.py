"""Work drawn at random, to hold the lab's answers against: what is drawn, and which runners measure it.

Answers are judged by regret: the measured time under the runner that is named, over that under the best one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runner_lab.benchmarks.profiles import Draw
from runner_lab.benchmarks.session.plan import Drawn, PlannedCell
from runner_lab.records.graph import GraphSpec, Work, WorkKind
from runner_lab.records.record import Record

if TYPE_CHECKING:
    from runner_lab.reports.choose.choice import Ranked
    from runner_lab.reports.choose.ranking import Request

FEWEST_TASKS, MOST_TASKS = 10, 1000
SHORTEST_S, LONGEST_S = 0.01, 5.0
MOST_EMPTY = 300
"""Empty tasks: the server takes down some 30 a second, and each cell waits for that."""
LONGEST_RUN_S = 5.0
"""Seconds that the bodies of a draw may take on their slots."""
MANY_SLOTS = 32
"""Slots that the bodies of a waiting draw are reckoned with where it may have as many as it likes."""
PAYLOADS_BYTES = (10_000, 100_000, 1_000_000)
MOST_PAYLOAD_BYTES = 50e6
WORTH_MEASURING = 2.0
"""A runner that by the prediction takes more than this many times the best one's time is not measured."""
WORTH_REPEATING = 1.25
"""One that was measured within this many times the best one's time is measured a second time, as the named one is."""
_SHAPES: tuple[tuple[WorkKind, bool], ...] = (
    ("sleep", True),
    ("spin", False),
    ("crunch", False),
    ("sleep", False),
    ("none", False),
)
"""Kinds of work, and whether it may have as many slots as it likes."""


def draws(count: int, seed: int | str, slots: int) -> tuple[Draw, ...]:
    """`count` different pieces of work, the same for a seed: kinds in turn, every second one from a cold start, every
    third one with a payload.

    Args:
        slots: that work has unless it may have as many as it likes.
    """
    source = random.Random(seed)
    found: dict[GraphSpec, Draw] = {}
    while len(found) < count:
        number = len(found)
        kind, free = _SHAPES[number % len(_SHAPES)]
        graph = _graph(source, kind, MANY_SLOTS if free else slots, carrying=number % 3 == 2)
        found.setdefault(graph, Draw(graph, cold=number % 2 == 1, free=free))
    return tuple(found.values())


def _graph(source: random.Random, kind: WorkKind, slots: int, carrying: bool) -> GraphSpec:
    while True:
        tasks = round(_between(source, FEWEST_TASKS, MOST_TASKS if kind != "none" else MOST_EMPTY))
        seconds = float(f"{_between(source, SHORTEST_S, LONGEST_S):.2g}")
        payload = source.choice(PAYLOADS_BYTES) if carrying else 0
        if kind == "none":
            seconds = 0.0
        if math.ceil(tasks / slots) * seconds <= LONGEST_RUN_S and tasks * payload <= MOST_PAYLOAD_BYTES:
            return GraphSpec("map", width=tasks, work=Work(kind, seconds), payload_bytes=payload)


def _between(source: random.Random, low: float, high: float) -> float:
    return math.exp(source.uniform(math.log(low), math.log(high)))


class Draws:
    """Which runners measure a draw, and in how many slots: by what the run says of it before any draw is measured."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._ranked_by: dict[Request, dict[str, Ranked]] = {}

    @cached_property
    def _summary(self):
        from runner_lab.reports.analysis.summary import summarise

        return summarise(self._run_dir)

    def spared(self, cell: Drawn, records: Sequence[Record]) -> str | None:
        """Why `cell` is not measured, in words; None where it is."""
        ranked = self._ranked(cell)
        if cell.arm.name not in ranked:
            return "the run says nothing of it"
        best_s = min(arm.seconds for arm in ranked.values())
        if (times := ranked[cell.arm.name].seconds / best_s) > WORTH_MEASURING:
            return f"by the prediction {times:.1f}x the best time"
        if cell.block == 0:
            return None
        done = _first_times(cell, records)
        if cell.arm.name not in done:
            return "not measured"
        named = cell.arm.name == next(iter(ranked))
        return None if named or done[cell.arm.name] <= WORTH_REPEATING * min(done.values()) else "not near the best"

    def expected(self, cell: Drawn, records: Sequence[Record]) -> bool:
        """Whether a cell that is still to come will be measured, as far as is known: before its first measurement, a
        second one is where by the prediction it is."""
        if cell.block == 0 or cell.arm.name in _first_times(cell, records):
            return self.spared(cell, records) is None
        ranked = self._ranked(cell)
        if cell.arm.name not in ranked:
            return False
        best_s = min(arm.seconds for arm in ranked.values())
        return cell.arm.name == next(iter(ranked)) or ranked[cell.arm.name].seconds <= WORTH_REPEATING * best_s

    def at(self, cell: Drawn) -> PlannedCell:
        """The cell in the slots that its arm should have for this work."""
        return cell.at(self._ranked(cell)[cell.arm.name].slots)

    def _ranked(self, cell: Drawn) -> dict[str, Ranked]:
        """By arm. One that leads is measured whatever it is predicted to take."""
        from runner_lab.records.record import RecordError
        from runner_lab.reports.choose import choice
        from runner_lab.reports.choose.ranking import Request

        request = Request.of(cell.lab_graph, cell.cold, cell.slots, cell.stage.api_latency_s)
        if request not in self._ranked_by:
            try:
                self._ranked_by[request] = {arm.arm: arm for arm in choice.rank(self._summary, request)}
            except RecordError:
                # Nothing else is measured: the run says nothing of anything.
                return {}
        return self._ranked_by[request]


def _first_times(cell: Drawn, records: Sequence[Record]) -> dict[str, float]:
    """Seconds of its work in the first block, by arm."""
    return {
        record.arm: record.value_s
        for record in records
        if (record.suite, record.graph, record.block) == (cell.suite, cell.graph, 0) and record.value_s
    }
