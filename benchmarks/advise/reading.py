"""From the entries of the processes of a flow (`probe`, `sampler`) to its profile."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from runner_lab.benchmarks.advise.sampler import LOOKS
from runner_lab.benchmarks.compare.driver import PROCESS
from runner_lab.records.flow_profile import (
    OWN_PROCESSES,
    Crowding,
    FlowProfile,
    LimitUse,
    Step,
    Subflow,
    TaskProfile,
    ThreadPool,
)

Entry = dict[str, Any]

_FEW_LOOKS = 5
"""Fewer at a task, and what it waited for cannot be told."""
_GIL_PRIOR = 1.0
"""Share of a task's CPU that is taken to hold the GIL where nothing was seen: that of Python code."""
_PRIOR_CPU_S = 0.002
"""CPU seconds of a task that weigh as much as the prior."""
_POOL_SHARE = 0.3
"""Of a task's CPU: from there on what it waits for is its library's threads, as far as these are busy."""
_IDLE_SHARE = 0.5
_IDLE_S = 0.01
"""A gap between two steps that is longer, and less of it CPU, is a wait; for what ended just before its end."""
_JUST_S = 0.05
_WIDE = 1.2
"""Cores from which a task computes in more than its own thread."""
_LEAST_WALK_S = 0.001
"""CPU seconds below which going through a task's arguments is in the terms of any task."""
_MOST_SLOWER = 4.0
"""Times as much CPU that many threads may cost; and waits, beyond those for a service that does one thing at a time."""
_LIKE_BYTES = 0.2
"""Of what two passes return, relative."""
_LEAST_S = 0.001
"""Seconds of a run below which two passes are not compared."""


class NoProfileError(ValueError):
    """The entries make no profile; one line for the user."""


@dataclass(frozen=True)
class Described:
    """What is known of the flow beside its entries."""

    name: str
    runner: str
    engine: str
    slots: int
    cores: int
    wall_s: float
    peak_bytes: float | None


@dataclass
class _Found:
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


def read(folder: Path, known: Described) -> FlowProfile:
    """
    Raises:
        NoProfileError: the flow's function has no entries.
    """
    found = _entries(folder)
    begins = [entry for entry in found.flow if not entry["end"]]
    ends = [entry for entry in found.flow if entry["end"]]
    if not begins or not ends:
        raise NoProfileError(f"{known.name} cannot be profiled: its function was not run to its end")
    begin, end = begins[0], ends[-1]
    looks = _Looks(folder)
    shares = _gil_shares(found.gil.values())
    runs = _Runs(found, begin, looks, shares, known.cores)
    steps = runs.steps(_Thread(begin["pid"], begin["tid"]), begin["t"], begin["c"], end["t"], end["c"])
    facts = _facts(folder)
    return FlowProfile(
        name=known.name,
        runner=known.runner,
        engine=known.engine,
        slots=known.slots,
        cores=known.cores,
        wall_s=known.wall_s,
        fn_s=end["t"] - begin["t"],
        asynchronous=bool(begin.get("async")),
        steps=steps,
        runs=tuple(_sized(list(runs.profiles()))),
        pools=_pools(found),
        subflows=_subflows(
            [e for e in found.subflow if (e["pid"], e["tid"], e.get("by")) == (begin["pid"], begin["tid"], None)],
            found.wait,
        ),
        submitting=max(len({e["run"] for e in found.submit if "run" in e and e.get("by") is None}), 1),
        limits=_uses(
            (name, use["slots"], 0.0 if use["t2"] is None else use["t2"] - use["t1"])
            for use in found.limit
            for name in use["names"]
        ),
        tags=_uses((tag, 1, body["t1"] - body["t0"]) for body in found.body for tag in body.get("tags", ())),
        peak_bytes=known.peak_bytes,
        base_bytes=facts.get("base_bytes"),
        import_s=facts.get("import_s", 0.0),
        import_bytes=facts.get("import_bytes", 0.0),
        client_s=facts.get("client_s", 0.0),
        request_s=facts.get("request_s", 0.0),
        request_cpu_s=facts.get("request_cpu_s", 0.0),
        looks=looks.any,
    )


def _sized(runs: Sequence[TaskProfile]) -> Iterator[TaskProfile]:
    """With the mean of its task where the size of a value was not taken."""
    known: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for what in ("arg_bytes", "out_bytes"):
            if (size := getattr(run, what)) is not None:
                known.setdefault((run.task, what), []).append(size)
    means = {key: sum(sizes) / len(sizes) for key, sizes in known.items()}
    for run in runs:
        if not run.attempts:
            yield run
            continue
        arg_bytes, out_bytes = (
            size if (size := getattr(run, what)) is not None else means.get((run.task, what))
            for what in ("arg_bytes", "out_bytes")
        )
        yield replace(run, arg_bytes=arg_bytes, out_bytes=out_bytes)


def uncrowded(crowded: FlowProfile, alone: FlowProfile, slots: int) -> FlowProfile:
    """The first pass with what its tasks wait and compute where fewer of them go on at a time, by a second pass.

    Args:
        alone: the second pass, under `slots` threads.
    """
    before, after = crowded.by_task(), alone.by_task()
    like = [task for task, runs in before.items() if _did_the_same(runs, after.get(task, ()))]
    lasted_s = sum(run.end_s - run.start_s for run in crowded.runs)
    many = max(round(lasted_s / max(crowded.fn_s, 1e-9)), slots + 1)
    # What libraries' own threads compute is told from task to task by time alone: it is one factor for all of these.
    wide = [task for task in like if before[task][0].width > _WIDE or after[task][0].width > _WIDE]
    together = _ratio([run for task in wide for run in before[task]], [run for task in wide for run in after[task]])
    told = {
        task: Crowding(
            few=slots,
            many=many,
            cpu=round(max(together if task in wide else _ratio(before[task], after[task]), 1.0), 3),
            wait=round(_ratio(before[task], after[task], "wait_s"), 3),
        )
        for task in like
    }
    # So much slower a task is not for others beside it: what it had to do once it found done the second time.
    told = {
        task: one for task, one in told.items() if one.cpu <= _MOST_SLOWER and one.wait <= _MOST_SLOWER * many / slots
    }

    def by_itself(run: TaskProfile) -> TaskProfile:
        if (crowding := told.get(run.task)) is None:
            return run
        cpu_s, gil_s = _total(after[run.task], "cpu_s"), _total(after[run.task], "gil_s")
        own_s = run.cpu_s / crowding.cpu
        return replace(
            run,
            cpu_s=own_s,
            gil_s=own_s * gil_s / cpu_s if cpu_s > 0 else 0.0,
            wait_s=run.wait_s / crowding.wait if crowding.wait > 0 else 0.0,
        )

    return replace(crowded, runs=tuple(map(by_itself, crowded.runs)), crowding=told)


def _did_the_same(before: Sequence[TaskProfile], after: Sequence[TaskProfile]) -> bool:
    """Whether two passes ran the same bodies, as far as their number and what they returned tell."""
    if len(before) != len(after) or sum(run.attempts > 0 for run in before) != sum(run.attempts > 0 for run in after):
        return False
    one, other = (sum(run.out_bytes or 0.0 for run in runs) for runs in (before, after))
    return bool(before[0].attempts) and abs(one - other) <= _LIKE_BYTES * max(one, other)


def _ratio(before: Sequence[TaskProfile], after: Sequence[TaskProfile], what: str = "cpu_s") -> float:
    """Of two sums; 1 where either is next to nothing."""
    one_s, other_s = _total(before, what), _total(after, what)
    least_s = _LEAST_S * len(before)
    return one_s / other_s if one_s > least_s and other_s > least_s else 1.0


def _total(runs: Sequence[TaskProfile], what: str) -> float:
    return float(sum(getattr(run, what) for run in runs))


def _facts(folder: Path) -> dict[str, float]:
    """What the process of the flow says of itself; see `driver.PROCESS`."""
    path = folder / PROCESS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _entries(folder: Path) -> _Found:
    found = _Found()
    for path in sorted(folder.glob("*.jsonl")):
        if not path.stem.isdigit():
            continue
        pid = int(path.stem)
        found.profiled.add(pid)
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                # The last line of a process that was killed.
                continue
            entry["pid"] = pid
            if entry["k"] == "gil":
                found.gil[pid] = entry
            elif entry["k"] != "process":
                getattr(found, entry["k"]).append(entry)
    return found


class _Looks:
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
        covered_s = _covered([(begin_s, end_s) for _, begin_s, end_s, _ in threads])
        low = bisect_left(self._times, min(begin_s for _, begin_s, _, _ in threads))
        high = bisect_right(self._times, max(end_s for _, _, end_s, _ in threads))
        waits = {tid: set(self._waits.get((pid, tid), ())) for tid, *_ in threads}
        there = busy = 0
        for at_s in self._times[low:high]:
            alive = [tid for tid, begin_s, end_s, _ in threads if begin_s <= at_s <= end_s]
            there += bool(alive)
            busy += any(at_s not in waits[tid] for tid in alive)
        return covered_s * busy / there if there >= _FEW_LOOKS else covered_s

    def count(self, pid: int, tid: int, begin_s: float, end_s: float) -> tuple[int, int]:
        """Looks in that time, and in how many of them the thread waited for something that is not the GIL."""
        waits = self._waits.get((pid, tid), [])
        return _within(self._times, begin_s, end_s), _within(waits, begin_s, end_s)


def _within(times: Sequence[float], begin_s: float, end_s: float) -> int:
    return bisect_right(times, end_s) - bisect_left(times, begin_s)


def _gil_shares(entries: Any) -> dict[str, float]:
    """By task, the share of its CPU that holds the GIL; see `knocker`."""
    names = sorted({name for entry in entries for name in entry["names"]})
    place = {name: i for i, name in enumerate(names)}
    xtx, xty = np.zeros((len(names), len(names))), np.zeros(len(names))
    for entry in entries:
        at = [place[name] for name in entry["names"]]
        xtx[np.ix_(at, at)] += np.array(entry["xtx"])
        xty[at] += np.array(entry["xty"])
    if not names:
        return {}
    # An interval is some 7 ms long: so much CPU in each of them weighs as much as was seen in them.
    prior = np.eye(len(names)) * _PRIOR_CPU_S * 0.007
    root = np.linalg.cholesky(xtx + prior).T
    target = np.linalg.solve(root.T, xty + prior @ np.full(len(names), _GIL_PRIOR))
    shares = optimize.lsq_linear(root, target, bounds=(0.0, 1.0)).x
    return {name: float(share) for name, share in zip(names, shares, strict=True)}


class _Thread(NamedTuple):
    """A thread of a process, and what it does for one body.

    by: the task run whose body it is; None: the flow's own code.
    """

    pid: int
    tid: int
    by: str | None = None


_Acts = deque[tuple[_Thread, Entry]]


@dataclass
class _Track:
    """What is known of a thread while its steps are read.

    known: runs that it can have waited for; None: all.
    idle_share: of all gaps between its steps, for those in which it was hardly looked at.
    beside: what the flow's other threads did, and it has not waited for yet.
    waited: runs that it has waited for.
    """

    thread: _Thread
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

    def __init__(self, found: _Found) -> None:
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

    def within(self, thread: _Thread, begin_s: float, end_s: float) -> tuple[float, float]:
        """CPU seconds that they take of a stretch of a thread's time, and seconds that were theirs alone."""
        if (calls := self._calls.get((thread.pid, thread.tid))) is None:
            return 0.0, 0.0
        begun_s, done_s, cpu_s, alone_s = calls
        part = np.clip(np.minimum(done_s, end_s) - np.maximum(begun_s, begin_s), 0.0, None)
        part = part / np.maximum(done_s - begun_s, 1e-9)
        return float(part @ cpu_s), float(part @ alone_s)


class _Runs:
    """The task runs, each in its place, and what the threads of the flow did with them."""

    def __init__(self, found: _Found, begin: Entry, looks: _Looks, shares: Mapping[str, float], cores: int) -> None:
        self._begin = begin
        self._looks = looks
        self._shares = shares
        self._cores = cores
        self._attempts: dict[str, list[Entry]] = {}
        called: dict[tuple[int, int], str] = {}
        for body in sorted(found.body, key=lambda entry: entry["t0"]):
            run_id = body["id"] or f"body-{body['pid']}-{body['t0']}"
            self._attempts.setdefault(run_id, []).append(body)
            if body["call"] is not None:
                called[body["pid"], body["call"]] = run_id
        for call in found.call:
            call["id"] = called.get((call["pid"], call["call"])) or f"call-{call['pid']}-{call['call']}"
        self._made = sorted([*found.submit, *found.call], key=lambda entry: entry["t0"])
        # What was submitted in a worker whose entries are lost has attempts only.
        lost = [run_id for run_id in self._attempts if run_id not in {entry["id"] for entry in self._made}]
        self._made += [{"k": "submit", "id": run_id, **_as_made(self._attempts[run_id][0])} for run_id in lost]
        self._place = {entry["id"]: i for i, entry in enumerate(self._made)}
        self._children_s = _children(found.body)
        for at, more_s in _lasting_children(found).items():
            self._children_s[at] += more_s
        self._kept_s: dict[str, float] = {}
        for kept in found.kept:
            self._kept_s[kept["id"]] = self._kept_s.get(kept["id"], 0.0) + kept["cpu"]
        self._limited_s = _waited_for_limits(found)
        self._pool_s = self._pools_of_tasks(found)
        self._pool_busy = self._busy_pools(found)
        self._waiting = self._wait_shares()
        self._unhelped_by_task: dict[str, float] = {}
        self._acts: dict[_Thread, list[Entry]] = {}
        for entry in sorted([*found.submit, *found.call, *found.wait], key=lambda entry: entry["t0"]):
            self._acts.setdefault(_Thread(entry["pid"], entry["tid"], entry.get("by")), []).append(entry)
        self._ends = sorted((attempts[-1]["t1"], self._place[run_id]) for run_id, attempts in self._attempts.items())
        self._lanes: dict[tuple[int, int], int] = {}
        self._behind = _Behind(found)
        self._beside = self._threads_beside(begin)

    def _unhelped(self, task: str) -> float:
        """Share of a task's waits that are no waits for threads that it has started itself, and that compute."""
        if task not in self._unhelped_by_task:
            bodies = [body for attempts in self._attempts.values() for body in attempts if body["task"] == task]
            wall_s = sum(body["t1"] - body["t0"] for body in bodies)
            helped_s = sum(self._looks.helped_s(body["pid"], body["threads"]) for body in bodies if body.get("threads"))
            self._unhelped_by_task[task] = 1 - min(helped_s / wall_s, 1.0) if wall_s > 0 else 1.0
        return self._unhelped_by_task[task]

    def _busy_pools(self, found: _Found) -> dict[str, float]:
        """By task, the share of the time in which what it waits for, threads of libraries or children, had the cores.

        Runs beside each other wait for one pool: as far as it is busy, they wait for each other. So do children, where
        there are more of them at a time than cores.
        """
        busy: dict[str, float] = {}
        for what in ("pool", "queued"):
            for entry in found.gil.values():
                for name, seconds in entry.get(what, {}).items():
                    busy[name] = busy.get(name, 0.0) + seconds
        bodies: dict[str, list[Entry]] = {}
        for body in found.body:
            bodies.setdefault(body["task"], []).append(body)
        spans = {name: _covered([(body["t0"], body["t1"]) for body in own]) for name, own in bodies.items()}
        for name, own in bodies.items():
            children_s = sum(self._children_s[id(body)] for body in own)
            if children_s and sum(body["t1"] - body["t0"] for body in own) > self._cores * spans[name]:
                busy[name] = busy.get(name, 0.0) + children_s
        return {name: min(busy[name] / (spans[name] * self._cores), 1.0) for name in busy if spans.get(name)}

    def _pools_of_tasks(self, found: _Found) -> dict[str, float]:
        """CPU of libraries' threads a second of a task's time, by task."""
        pool: dict[str, float] = {}
        for entry in found.gil.values():
            for name, seconds in entry["pool"].items():
                pool[name] = pool.get(name, 0.0) + seconds
        walls: dict[str, float] = {}
        for body in found.body:
            walls[body["task"]] = walls.get(body["task"], 0.0) + body["t1"] - body["t0"]
        return {name: seconds / walls[name] for name, seconds in pool.items() if walls.get(name)}

    def _wait_shares(self) -> dict[str, float]:
        """By task, the share of its time without CPU in which it waited for something that is neither GIL nor core."""
        looks: dict[str, list[float]] = {}
        for attempts in self._attempts.values():
            for body in attempts:
                seen, waited = self._looks.count(body["pid"], body["tid"], body["t0"], body["t1"])
                wall_s = body["t1"] - body["t0"]
                total = looks.setdefault(body["task"], [0.0, 0.0, 0.0, 0.0])
                off_s = max(wall_s - body["cpu"] - (body["queued"] or 0.0), 0.0)
                for i, value in enumerate((seen, waited, wall_s, off_s)):
                    total[i] += value
        return {
            name: 1.0 if seen < _FEW_LOOKS or off_s <= 0 else min(waited / seen * wall_s / off_s, 1.0)
            for name, (seen, waited, wall_s, off_s) in looks.items()
        }

    def profiles(self) -> Iterator[TaskProfile]:
        for entry in self._made:
            attempts = self._attempts.get(entry["id"], [])
            run = TaskProfile(
                task=entry["task"],
                upstream=tuple(self._place[dep] for dep in entry.get("deps", ()) if dep in self._place),
                direct=entry["k"] == "call",
                asynchronous=bool(entry.get("async")),
                where=entry.get("where", ""),
                asks=entry.get("asks", 0),
                flow=entry.get("flow", ""),
                kept_s=self._kept_s.get(entry["id"], 0.0),
            )
            yield self._ran(run, attempts) if attempts else run

    def _ran(self, run: TaskProfile, attempts: Sequence[Entry]) -> TaskProfile:
        first, last = attempts[0], attempts[-1]
        wall_s = sum(body.get("ran", body["t1"] - body["t0"]) for body in attempts)
        thread_s = sum(body["cpu"] for body in attempts)
        queued_s = sum(body["queued"] or 0.0 for body in attempts)
        between_s = max(last["t1"] - first["t0"] - sum(body["t1"] - body["t0"] for body in attempts), 0.0)
        # Another server has other limits, or none.
        wall_s = max(wall_s - self._limited_s.get(first["id"], 0.0), thread_s)
        children_s = sum(self._children_s[id(body)] for body in attempts)
        within = [thread for body in attempts for thread in body.get("threads", ())]
        helpers_s = sum(cpu for *_, cpu in within)
        beside_s = children_s + helpers_s + self._pool_s.get(run.task, 0.0) * wall_s
        off_s = max(wall_s - thread_s - queued_s, 0.0)
        late = [body["late"] for body in attempts if body.get("late") is not None]
        waits_s = max(off_s - sum(late), 0.0) if late else self._waiting[run.task] * off_s
        wait_s = waits_s * self._unhelped(run.task)
        helped_s = waits_s - wait_s
        # While others compute for it, its own thread waits for them.
        lasts_s = thread_s + wait_s
        if beside_s > _POOL_SHARE * (thread_s + beside_s):
            wait_s *= 1 - self._pool_busy.get(run.task, 0.0)
            # The threads of a library are one pool for all that wait for it; a child process is its parent's own.
            lasts_s = lasts_s if children_s > 0.5 * beside_s else thread_s + wait_s
        width = max(1.0, min((thread_s + beside_s) / max(lasts_s, 1e-9), float(self._cores)))
        computing_s = (thread_s + beside_s) / width
        thread = _Thread(last["pid"], last["tid"], last["id"] or "")
        steps = self.steps(thread, last["t0"], last["c0"], last["t1"], last["c1"])
        idle_s = max(wait_s - max(computing_s - thread_s - helped_s, 0.0), 0.0)
        if steps:
            idle_s = min(sum(step.wait_s for step in steps if step.kind == "own"), idle_s)
        gil = 1.0 if first["async"] else self._shares.get(run.task, _GIL_PRIOR)
        return replace(
            run,
            start_s=first["t0"] - self._begin["t"],
            end_s=last["t1"] - self._begin["t"],
            wait_s=idle_s + between_s,
            cpu_s=thread_s + beside_s,
            gil_s=gil * (thread_s + helpers_s),
            width=width,
            queued_s=max(wall_s - computing_s - idle_s, 0.0) if not steps else 0.0,
            key_s=first.get("key", 0.0),
            walk_s=walk_s if (walk_s := first.get("walk", 0.0)) >= _LEAST_WALK_S else 0.0,
            arg_bytes=_mean(body["arg"] for body in attempts),
            out_bytes=last["out"],
            attempts=len(attempts),
            failed=last["failed"],
            lane=self._lanes.setdefault((last["pid"], last["tid"]), len(self._lanes)),
            steps=steps,
        )

    def steps(
        self, thread: _Thread, begin_s: float, begin_cpu: float, end_s: float, end_cpu: float, whole: bool = True
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

    def _idle_share(self, thread: _Thread, begins_s: Sequence[float], ends_s: Sequence[float]) -> float:
        """Share of the time between a thread's steps in which it waited, and not for the GIL; 1 where nobody knows."""
        looks = [
            self._looks.count(thread.pid, thread.tid, begin_s, end_s)
            for begin_s, end_s in zip(begins_s, ends_s, strict=True)
            if end_s > begin_s
        ]
        seen, idle = (sum(counts) for counts in zip(*looks, strict=True)) if looks else (0, 0)
        return idle / seen if seen >= _FEW_LOOKS else 1.0

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
        wait_s = min(off_s, wall_s * (track.idle_share if seen < _FEW_LOOKS else idle / seen))
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
        by_thread: dict[_Thread, list[Entry]] = {}
        while beside and beside[0][1]["t0"] < end_s:
            thread, entry = beside.popleft()
            by_thread.setdefault(thread, []).append(entry)
        found = []
        for thread, entries in by_thread.items():
            first, last = entries[0], max(entries, key=lambda entry: entry["t1"])
            steps = self.steps(thread, first["t0"], first["c0"], last["t1"], last["c1"], whole=False)
            found.append((Step("own", wait_s=max(first["t0"] - begin_s, 0.0)), *steps))
        return tuple(found)

    def _between(self, begin_s: float, end_s: float) -> list[tuple[float, int]]:
        low = bisect_left(self._ends, (begin_s, -1))
        high = bisect_right(self._ends, (end_s, len(self._made)))
        return self._ends[low:high]


def _children(bodies: Sequence[Entry]) -> dict[int, float]:
    """CPU seconds of child processes, by the `id` of a body's entry.

    A process knows those of all its children that have ended, and not whose they were. What was added between two
    beginnings or ends of bodies is that of the one that has ended then, as a body waits for its child; else of all.
    """
    found = dict.fromkeys(map(id, bodies), 0.0)
    by_process: dict[int, list[tuple[float, float, bool, Entry]]] = {}
    for body in bodies:
        before_s, after_s = body["children"]
        moments = [(body["t0"], before_s, False, body), (body["t1"], after_s, True, body)]
        by_process.setdefault(body["pid"], []).extend(moments)
    for moments in by_process.values():
        going: set[int] = set()
        known_s: float | None = None
        for _, seconds, over, body in sorted(moments, key=lambda moment: moment[:3]):
            added_s = max(seconds - known_s, 0.0) if known_s is not None else 0.0
            known_s = max(seconds, known_s or 0.0)
            theirs = [id(body)] if over else going
            for one in theirs:
                found[one] += added_s / len(theirs)
            if over:
                going.discard(id(body))
            else:
                going.add(id(body))
    return found


def _lasting_children(found: _Found) -> dict[int, float]:
    """CPU seconds of children that outlive the tasks, such as joblib's, by the `id` of a body's entry.

    They belong to no body: those that go on between two looks share what was computed, by how long they did. Children
    that are profiled themselves are workers of a runner's.
    """
    shares: dict[int, float] = {}
    for looks in _looks_by_process(found):
        lasting = _lasting(looks, found)
        bodies = [body for body in found.body if body["pid"] == looks[0]["pid"]]
        known_s = begin_s = 0.0
        for look in looks:
            now_s = sum(look["cpu"].get(child, 0.0) for child in lasting)
            over = {id(body): min(look["t"], body["t1"]) - max(begin_s, body["t0"]) for body in bodies}
            over = {at: seconds for at, seconds in over.items() if seconds > 0}
            whole_s, added_s = sum(over.values()), max(now_s - known_s, 0.0)
            for at, seconds in over.items():
                shares[at] = shares.get(at, 0.0) + added_s * seconds / whole_s
            known_s, begin_s = now_s, look["t"]
    return shares


def _looks_by_process(found: _Found) -> Iterator[list[Entry]]:
    """At the children of each process, in their order."""
    by_process: dict[int, list[Entry]] = {}
    for look in sorted(found.family, key=lambda entry: entry["t"]):
        by_process.setdefault(look["pid"], []).append(look)
    yield from by_process.values()


def _lasting(looks: Sequence[Entry], found: _Found) -> list[str]:
    """Children that were there at the last look, and have computed."""
    last = looks[-1]["cpu"]
    return [child for child, cpu_s in last.items() if cpu_s > 0 and int(child) not in found.profiled]


def _as_made(body: Entry) -> Entry:
    return {"task": body["task"], "t0": body["t0"], "t1": body["t0"], "where": "", "async": body["async"]}


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


def _covered(stretches: Sequence[tuple[float, float]]) -> float:
    """Seconds in which at least one of them goes on."""
    covered_s, until_s = 0.0, -np.inf
    for begin_s, end_s in sorted(stretches):
        covered_s += max(end_s - max(begin_s, until_s), 0.0)
        until_s = max(until_s, end_s)
    return float(covered_s)


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _subflows(entries: Sequence[Entry], waits: Sequence[Entry]) -> dict[str, Subflow]:
    """
    Args:
        waits: for task runs. A sub-flow waits for those that it takes before its function begins, and for those that it
            returns when that has ended.
    """
    by_name: dict[str, list[Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry["name"], []).append(entry)
    found: dict[str, Subflow] = {}
    for name, own in by_name.items():
        # Of async ones some may go on at the same time.
        around = [span for e in own for span in ((e["t0"], e["f0"]), (e["f1"], e["t1"]))]
        thread = own[0]["pid"], own[0]["tid"]
        waited = [(e["t0"], e["t1"]) for e in waits if (e["pid"], e["tid"]) == thread]
        # Of all that is covered by either, what the waits cover is not Prefect's.
        found[name] = Subflow(len(own), max(_covered([*around, *waited]) - _covered(waited), 0.0))
    return found


def _uses(taken: Iterable[tuple[str, int, float]]) -> dict[str, LimitUse]:
    """Sums by name, of slots and the seconds that these were held."""
    uses: dict[str, LimitUse] = {}
    for name, slots, held_s in taken:
        before = uses.get(name, LimitUse(0, 0.0))
        uses[name] = LimitUse(before.slots + slots, before.held_s + slots * held_s)
    return uses


def _waited_for_limits(found: _Found) -> dict[str, float]:
    """By task run, seconds it waited for slots of limits, beyond the request for them."""
    least_s: dict[tuple[str, ...], float] = {}
    for entry in found.limit:
        key = tuple(entry["names"])
        least_s[key] = min(entry["t1"] - entry["t0"], least_s.get(key, np.inf))
    waited: dict[str, float] = {}
    for entry in found.limit:
        more_s = entry["t1"] - entry["t0"] - least_s[tuple(entry["names"])]
        waited[entry["id"]] = waited.get(entry["id"], 0.0) + more_s
    return waited


def _pools(found: _Found) -> tuple[ThreadPool, ...]:
    threads: dict[str, int] = {}
    for entry in found.pools:
        for pool in entry["pools"]:
            threads[pool["library"]] = max(threads.get(pool["library"], 0), pool["threads"])
    if processes := max((len(_lasting(looks, found)) for looks in _looks_by_process(found)), default=0):
        threads[OWN_PROCESSES] = processes
    return tuple(ThreadPool(library, many) for library, many in threads.items())
