"""What the processes of a flow have noted (`probe`), and the looks at their threads (`sampler`), as they are read."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.advise.sampler import LOOKS

Entry = dict[str, Any]
FEW_LOOKS = 5
"""Fewer at a task, and what it waited for cannot be told."""


@dataclass
class Found:
    """Entries by kind."""

    flow: list[Entry] = field(default_factory=list)
    submit: list[Entry] = field(default_factory=list)
    call: list[Entry] = field(default_factory=list)
    wait: list[Entry] = field(default_factory=list)
    body: list[Entry] = field(default_factory=list)
    subflow: list[Entry] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)
    limit: list[Entry] = field(default_factory=list)
    pools: list[Entry] = field(default_factory=list)
    family: list[Entry] = field(default_factory=list)
    profiled: set[int] = field(default_factory=set)
    """Processes that have entries."""
    gil: dict[int, Entry] = field(default_factory=dict)


def read(folder: Path) -> Found:
    """Of all processes; what one that was killed had half written is left out."""
    found = Found()
    for path in sorted(folder.glob("*.jsonl")):
        if not path.stem.isdigit():
            continue
        pid = int(path.stem)
        found.profiled.add(pid)
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            entry["pid"] = pid
            if entry["k"] == "gil":
                found.gil[pid] = entry
            elif entry["k"] != "process":
                getattr(found, entry["k"]).append(entry)
    return found


class Looks:
    """How often a thread was seen waiting, for the GIL or for anything else, in a stretch of time."""

    def __init__(self, folder: Path) -> None:
        self._times: list[float] = []
        self._waits: dict[tuple[int, int], list[float]] = {}
        path = folder / LOOKS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            try:
                look = json.loads(line)
            except ValueError:
                continue
            self._times.append(look["t"])
            for pid, states in look["by"].items():
                for tid in states["wait"]:
                    self._waits.setdefault((int(pid), tid), []).append(look["t"])
        self.any = bool(self._times)

    def helped_s(self, pid: int, threads: Sequence[tuple[int, float, float, float]]) -> float:
        """Seconds in which at least one of these threads was there and did not wait; without looks, was there.

        Args:
            threads: thread, begin, end and CPU of each.
        """
        together_s = covered_s([(begin_s, end_s) for _, begin_s, end_s, _ in threads])
        low = bisect_left(self._times, min(begin_s for _, begin_s, _, _ in threads))
        high = bisect_right(self._times, max(end_s for _, _, end_s, _ in threads))
        waits = {tid: set(self._waits.get((pid, tid), ())) for tid, *_ in threads}
        there = busy = 0
        for at_s in self._times[low:high]:
            alive = [tid for tid, begin_s, end_s, _ in threads if begin_s <= at_s <= end_s]
            there += bool(alive)
            busy += any(at_s not in waits[tid] for tid in alive)
        return together_s * busy / there if there >= FEW_LOOKS else together_s

    def count(self, pid: int, tid: int, begin_s: float, end_s: float) -> tuple[int, int]:
        """Looks in that time, and in how many of them the thread waited for something that is not the GIL."""
        waits = self._waits.get((pid, tid), [])
        return _within(self._times, begin_s, end_s), _within(waits, begin_s, end_s)


def _within(times: Sequence[float], begin_s: float, end_s: float) -> int:
    return bisect_right(times, end_s) - bisect_left(times, begin_s)


def covered_s(stretches: Sequence[tuple[float, float]]) -> float:
    """Seconds in which at least one of them goes on."""
    sum_s, until_s = 0.0, -math.inf
    for begin_s, end_s in sorted(stretches):
        sum_s += max(end_s - max(begin_s, until_s), 0.0)
        until_s = max(until_s, end_s)
    return sum_s
