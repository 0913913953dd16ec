"""From the entries of the processes of a flow (`probe`, `sampler`) to its profile."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize

from runner_lab.benchmarks.advise import children, noted
from runner_lab.benchmarks.advise.noted import FEW_LOOKS, Entry, Found, Looks, covered_s
from runner_lab.benchmarks.advise.steps import Steps, Thread
from runner_lab.benchmarks.compare.driver import PROCESS
from runner_lab.records.flow_profile import (
    OWN_PROCESSES,
    FlowProfile,
    LimitUse,
    Subflow,
    TaskProfile,
    ThreadPool,
)

_GIL_PRIOR = 1.0
"""Share of a task's CPU that is taken to hold the GIL where nothing was seen: that of Python code."""
_PRIOR_CPU_S = 0.002
"""CPU seconds of a task that weigh as much as the prior."""
_POOL_SHARE = 0.3
"""Of a task's CPU: from there on what it waits for is its library's threads, as far as these are busy."""
_LEAST_WALK_S = 0.001
"""CPU seconds below which going through a task's arguments is in the terms of any task."""


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


def read(folder: Path, known: Described) -> FlowProfile:
    """
    Raises:
        NoProfileError: the flow's function has no entries.
    """
    found = noted.read(folder)
    begins = [entry for entry in found.flow if not entry["end"]]
    ends = [entry for entry in found.flow if entry["end"]]
    if not begins or not ends:
        raise NoProfileError(f"{known.name} cannot be profiled: its function was not run to its end")
    begin, end = begins[0], ends[-1]
    looks = Looks(folder)
    shares = gil_shares(found.gil.values())
    runs = _Runs(found, begin, looks, shares, known.cores)
    steps = runs.steps.of(Thread(begin["pid"], begin["tid"]), begin["t"], begin["c"], end["t"], end["c"])
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


def _facts(folder: Path) -> dict[str, float]:
    """What the process of the flow says of itself; see `driver.PROCESS`."""
    path = folder / PROCESS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def gil_shares(entries: Any) -> dict[str, float]:
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


class _Runs:
    """The task runs, each in its place, and what the threads of the flow did with them."""

    def __init__(self, found: Found, begin: Entry, looks: Looks, shares: Mapping[str, float], cores: int) -> None:
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
        self._children_s = children.of_ended(found.body)
        for at, more_s in children.of_lasting(found).items():
            self._children_s[at] += more_s
        self._kept_s: dict[str, float] = {}
        for kept in found.kept:
            self._kept_s[kept["id"]] = self._kept_s.get(kept["id"], 0.0) + kept["cpu"]
        self._limited_s = _waited_for_limits(found)
        self._pool_s = self._pools_of_tasks(found)
        self._pool_busy = self._busy_pools(found)
        self._waiting = self._wait_shares()
        self._unhelped_by_task: dict[str, float] = {}
        ends = sorted((attempts[-1]["t1"], self._place[run_id]) for run_id, attempts in self._attempts.items())
        self._lanes: dict[tuple[int, int], int] = {}
        self.steps = Steps(found, begin, looks, self._place, ends)

    def _unhelped(self, task: str) -> float:
        """Share of a task's waits that are no waits for threads that it has started itself, and that compute."""
        if task not in self._unhelped_by_task:
            bodies = [body for attempts in self._attempts.values() for body in attempts if body["task"] == task]
            wall_s = sum(body["t1"] - body["t0"] for body in bodies)
            helped_s = sum(self._looks.helped_s(body["pid"], body["threads"]) for body in bodies if body.get("threads"))
            self._unhelped_by_task[task] = 1 - min(helped_s / wall_s, 1.0) if wall_s > 0 else 1.0
        return self._unhelped_by_task[task]

    def _busy_pools(self, found: Found) -> dict[str, float]:
        """By task, the share of the time in which what it waits for was busy: threads of libraries, or children.

        Runs beside each other wait for one pool: as far as it is busy, they wait for each other. So do children, where
        there are more of them at a time than cores.
        """
        busy: dict[str, float] = {}
        for what in ("pool", "queued"):
            for entry in found.gil.values():
                for name, seconds in entry.get(what, {}).items():
                    busy[name] = busy.get(name, 0.0) + seconds / min(_helpers(found) or self._cores, self._cores)
        bodies: dict[str, list[Entry]] = {}
        for body in found.body:
            bodies.setdefault(body["task"], []).append(body)
        spans = {name: covered_s([(body["t0"], body["t1"]) for body in own]) for name, own in bodies.items()}
        for name, own in bodies.items():
            children_s = sum(self._children_s[id(body)] for body in own)
            if children_s and sum(body["t1"] - body["t0"] for body in own) > self._cores * spans[name]:
                busy[name] = busy.get(name, 0.0) + children_s / self._cores
        return {name: min(busy[name] / spans[name], 1.0) for name in busy if spans.get(name)}

    def _pools_of_tasks(self, found: Found) -> dict[str, float]:
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
            name: 1.0 if seen < FEW_LOOKS or off_s <= 0 else min(waited / seen * wall_s / off_s, 1.0)
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
        thread = Thread(last["pid"], last["tid"], last["id"] or "")
        steps = self.steps.of(thread, last["t0"], last["c0"], last["t1"], last["c1"])
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


def _as_made(body: Entry) -> Entry:
    return {"task": body["task"], "t0": body["t0"], "t1": body["t0"], "where": "", "async": body["async"]}


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
        found[name] = Subflow(len(own), max(covered_s([*around, *waited]) - covered_s(waited), 0.0))
    return found


def _uses(taken: Iterable[tuple[str, int, float]]) -> dict[str, LimitUse]:
    """Sums by name, of slots and the seconds that these were held."""
    uses: dict[str, LimitUse] = {}
    for name, slots, held_s in taken:
        before = uses.get(name, LimitUse(0, 0.0))
        uses[name] = LimitUse(before.slots + slots, before.held_s + slots * held_s)
    return uses


def _waited_for_limits(found: Found) -> dict[str, float]:
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


def _helpers(found: Found) -> int:
    """Threads of the largest pool of a library that help who calls it; 0 where none is known.

    The caller of polars waits, that of BLAS or OpenMP is one of its threads.
    """
    pools = [pool for entry in found.pools for pool in entry["pools"]]
    return max((pool["threads"] - (pool["library"] != "polars") for pool in pools), default=0)


def _pools(found: Found) -> tuple[ThreadPool, ...]:
    threads: dict[str, int] = {}
    for entry in found.pools:
        for pool in entry["pools"]:
            threads[pool["library"]] = max(threads.get(pool["library"], 0), pool["threads"])
    if processes := children.most_lasting(found):
        threads[OWN_PROCESSES] = processes
    return tuple(ThreadPool(library, many) for library, many in threads.items())
