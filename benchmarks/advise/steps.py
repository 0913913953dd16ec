"""What a thread of the flow did between two moments, step by step: a task run's body, or the flow's own code."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from runner_lab.benchmarks.advise.noted import FEW_LOOKS, Entry, Found, Looks
from runner_lab.records.flow_profile import Step

_IDLE_SHARE = 0.5
_IDLE_S = 0.01
"""A gap between two steps that is longer, and less of it CPU, is a wait; for what ended just before its end."""
_JUST_S = 0.05


class Thread(NamedTuple):
    """A thread of a process, and what it does for one body.

    by: the task run whose body it is; None: the flow's own code.
    """

    pid: int
    tid: int
    by: str | None = None


_Acts = deque[tuple[Thread, Entry]]


@dataclass
class _Track:
    """What is known of a thread while its steps are read.

    known: runs that it can have waited for; None: all.
    idle_share: of all gaps between its steps, for those in which it was hardly looked at.
    beside: what the flow's other threads did, and it has not waited for yet.
    waited: runs that it has waited for.
    """

    thread: Thread
    known: set[int] | None
    idle_share: float
    beside: _Acts
    waited: set[int] = field(default_factory=set)

    def may_await(self, run: int) -> bool:
        return run not in self.waited and (self.known is None or run in self.known)


class _Behind:
    """Calls of tasks that go on when they have returned, by thread.

    A coroutine's CPU is all that the loop spent on it, Prefect's part with it; a generator's that of its items, in
    which nobody else had the thread.
    """

    def __init__(self, found: Found) -> None:
        calls: dict[tuple[int, int], list[tuple[float, float, float, float]]] = {}
        for call in found.call:
            if "done" in call:
                calls.setdefault((call["pid"], call["tid"]), []).append((call["t1"], call["done"], call["cpu"], 0.0))
        for body in found.body:
            if "ran" in body and body["call"] is not None:
                calls.setdefault((body["pid"], body["tid"]), []).append(
                    (body["t0"], body["t1"], body["cpu"], body["ran"])
                )
        self._calls = {thread: np.array(rows).T for thread, rows in calls.items()}

    def within(self, thread: Thread, begin_s: float, end_s: float) -> tuple[float, float]:
        """CPU seconds that they take of a stretch of a thread's time, and seconds that were theirs alone."""
        if (calls := self._calls.get((thread.pid, thread.tid))) is None:
            return 0.0, 0.0
        begun_s, done_s, cpu_s, alone_s = calls
        part = np.clip(np.minimum(done_s, end_s) - np.maximum(begun_s, begin_s), 0.0, None)
        part = part / np.maximum(done_s - begun_s, 1e-9)
        return float(part @ cpu_s), float(part @ alone_s)


class Steps:
    """
    Args:
        place: of each task run, by its id.
        ends: when each ended, and its place; in the order of time.
    """

    def __init__(
        self, found: Found, begin: Entry, looks: Looks, place: Mapping[str, int], ends: Sequence[tuple[float, int]]
    ) -> None:
        self._looks = looks
        self._place = place
        self._ends = ends
        self._acts: dict[Thread, list[Entry]] = {}
        for entry in sorted([*found.submit, *found.call, *found.wait], key=lambda entry: entry["t0"]):
            self._acts.setdefault(Thread(entry["pid"], entry["tid"], entry.get("by")), []).append(entry)
        self._behind = _Behind(found)
        self._beside = self._threads_beside(begin)

    def of(
        self, thread: Thread, begin_s: float, begin_cpu: float, end_s: float, end_cpu: float, whole: bool = True
    ) -> tuple[Step, ...]:
        """What was done in a thread between two moments.

        Args:
            whole: with what the flow's other threads did meanwhile, where it is the flow's own code.
        """
        entries = [e for e in self._acts.get(thread, ()) if begin_s <= e["t0"] and e["t1"] <= end_s]
        outermost: list[Entry] = []
        for entry in entries:
            if not outermost or entry["t0"] >= outermost[-1]["t1"]:
                outermost.append(entry)
        if thread.by is not None and not outermost:
            return ()
        ended = {"k": "end", "t0": end_s, "c0": end_cpu, "t1": end_s, "c1": end_cpu}
        track = _Track(
            thread,
            # A task knows no runs but those that it has handed on itself.
            known=None if thread.by is None else {self._place[e["id"]] for e in entries if e["k"] != "wait"},
            idle_share=self._idle_share(
                thread, [begin_s, *(e["t1"] for e in outermost)], [e["t0"] for e in [*outermost, ended]]
            ),
            beside=self._beside if thread.by is None and whole else deque(),
        )
        steps: list[Step] = []
        at_s, at_cpu = begin_s, begin_cpu
        for entry in [*outermost, ended]:
            behind_cpu_s, behind_s = self._behind.within(thread, at_s, entry["t0"])
            cpu_s = entry["c0"] - at_cpu - behind_cpu_s
            steps += self._gap(track, at_s, entry["t0"] - behind_s, cpu_s, entry is ended)
            at_s, at_cpu = entry["t1"], entry["c1"]
            if entry["k"] == "wait":
                places = tuple(self._place[run] for run in entry["ids"] if run in self._place)
                track.waited.update(places)
                if places:
                    steps.append(Step("wait", places))
            elif entry["k"] in ("submit", "call"):
                place = self._place[entry["id"]]
                awaited = entry["k"] == "call" and not entry["async"]
                deps = tuple(self._place[run] for run in entry["deps"] if run in self._place)
                track.waited.update([place, *deps] if awaited else [])
                # A call waits for the results that it takes; who submits does not.
                steps += [Step("wait", deps)] if awaited and deps else []
                steps.append(Step("call" if awaited else "submit", (place,), where=entry["where"]))
        return tuple(_joined(steps))

    def _idle_share(self, thread: Thread, begins_s: Sequence[float], ends_s: Sequence[float]) -> float:
        """Share of the time between a thread's steps in which it waited, and not for the GIL; 1 where nobody knows."""
        looks = [
            self._looks.count(thread.pid, thread.tid, begin_s, end_s)
            for begin_s, end_s in zip(begins_s, ends_s, strict=True)
            if end_s > begin_s
        ]
        seen, idle = (sum(counts) for counts in zip(*looks, strict=True)) if looks else (0, 0)
        return idle / seen if seen >= FEW_LOOKS else 1.0

    def _gap(self, track: _Track, begin_s: float, end_s: float, cpu_s: float, last: bool) -> list[Step]:
        """Code of its own between two steps, and a wait that nobody noted: an idle gap in which task runs ended.

        Args:
            last: nothing comes behind it.
        """
        wall_s = max(end_s - begin_s, 0.0)
        cpu_s = min(max(cpu_s, 0.0), wall_s)
        off_s = wall_s - cpu_s
        idles = wall_s > _IDLE_S and off_s > _IDLE_SHARE * wall_s
        if (idles or last) and (threads := self._taken(track.beside, begin_s, end_s)):
            track.waited.update(run for steps in threads for step in steps for run in step.runs)
            return [Step("threads", threads=threads), Step("own", cpu_s=cpu_s)]
        if idles:
            ended = [(at, run) for at, run in self._between(begin_s, end_s) if track.may_await(run)]
            if ended and end_s - ended[-1][0] < max(_JUST_S, 0.1 * wall_s):
                track.waited.update(run for _, run in ended)
                return [Step("wait", tuple(run for _, run in ended)), Step("own", cpu_s=cpu_s)]
        seen, idle = self._looks.count(track.thread.pid, track.thread.tid, begin_s, end_s)
        wait_s = min(off_s, wall_s * (track.idle_share if seen < FEW_LOOKS else idle / seen))
        return [Step("own", wait_s=wait_s, cpu_s=cpu_s)]

    def _threads_beside(self, begin: Entry) -> _Acts:
        """Tasks that the flow's other threads submit, call and wait for, in the order of time."""
        found = [
            (thread, entry)
            for thread, entries in self._acts.items()
            if thread.by is None
            and thread.pid == begin["pid"]
            and thread.tid != begin["tid"]
            # A runner's threads wait for what its tasks take.
            and any(entry["k"] != "wait" for entry in entries)
            for entry in entries
        ]
        return deque(sorted(found, key=lambda pair: pair[1]["t0"]))

    def _taken(self, beside: _Acts, begin_s: float, end_s: float) -> tuple[tuple[Step, ...], ...]:
        """What each of the flow's other threads did until a moment, taken out of `beside`."""
        by_thread: dict[Thread, list[Entry]] = {}
        while beside and beside[0][1]["t0"] < end_s:
            thread, entry = beside.popleft()
            by_thread.setdefault(thread, []).append(entry)
        found = []
        for thread, entries in by_thread.items():
            first, last = entries[0], max(entries, key=lambda entry: entry["t1"])
            steps = self.of(thread, first["t0"], first["c0"], last["t1"], last["c1"], whole=False)
            found.append((Step("own", wait_s=max(first["t0"] - begin_s, 0.0)), *steps))
        return tuple(found)

    def _between(self, begin_s: float, end_s: float) -> Sequence[tuple[float, int]]:
        low = bisect_left(self._ends, (begin_s, -1))
        high = bisect_right(self._ends, (end_s, len(self._place)))
        return self._ends[low:high]


def _joined(steps: Sequence[Step]) -> Iterator[Step]:
    """Own code in one piece; none of no length."""
    own_wait = own_cpu = 0.0
    for step in steps:
        if step.kind == "own":
            own_wait, own_cpu = own_wait + step.wait_s, own_cpu + step.cpu_s
            continue
        if own_wait + own_cpu > 0:
            yield Step("own", wait_s=own_wait, cpu_s=own_cpu)
            own_wait = own_cpu = 0.0
        yield step
    if own_wait + own_cpu > 0:
        yield Step("own", wait_s=own_wait, cpu_s=own_cpu)
