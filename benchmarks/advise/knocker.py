"""Who holds the GIL of a profiled process, and what its libraries' own threads and its children compute."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

_KNOCK_S = 0.005
_HELD_S = 0.00025
"""Lateness, less what the scheduler explains, from which the GIL was held by somebody."""
_LOOK_S = 0.1
"""Between two looks at the threads that are not Python's."""
_FAMILY_S = 0.5
"""Between two looks at child processes."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
_LIBRARIES = {"numpy", "scipy", "sklearn", "torch", "polars"}
"""Those whose threads are looked for, once they are imported."""


class Entries(Protocol):
    """Where it notes what it finds."""

    pid: int

    def note(self, **entry: Any) -> None: ...


class _Clocks(NamedTuple):
    """Seconds: of the machine, CPU of the process, CPU of this thread, and in which this thread had no core."""

    at_s: float
    process_s: float
    own_s: float
    queued_s: float


class Knocker:
    """Asks for the GIL every few milliseconds while bodies run, in a thread of its own: late is held.

    An answer says only for what share of the time somebody held it. Who, is found by least squares: over many intervals
    of `dt` seconds, `held * min(cpu of all, dt) = sum over tasks of share * cpu`, with the CPU of each task's threads
    in the interval. Kept and noted are the normal equations: `xtx` and `xty` for the tasks `names`; the first is all
    else in the process.
    """

    def __init__(self, owner: Entries) -> None:
        self._owner = owner
        self._running: dict[Any, tuple[str, int, float]] = {}
        self._suspended: dict[Any, tuple[str, int]] = {}
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._names = [""]
        self._xtx: dict[tuple[int, int], float] = {}
        self._xty: dict[int, float] = {}
        self._left: dict[str, float] = {}
        self._pool_s: dict[str, float] = {}
        self._pool_queued_s: dict[str, float] = {}
        self._others = set(living_children())
        """Children that were there before any task: the lab's own."""
        self._saved_s = 0.0
        self._libraries: set[str] = set()
        self._thread: threading.Thread | None = None

    def enter(self, body: Any, name: str, outer: Any = None) -> None:
        """
        Args:
            outer: the body in whose thread this one runs, and which goes on when this one has left.
        """
        try:
            clock = time.pthread_getcpuclockid(threading.get_ident())
        except (AttributeError, OSError):
            return
        with self._lock:
            if outer in self._running:
                outer_name, outer_clock, before = self._running.pop(outer)
                self._suspended[outer] = outer_name, outer_clock
                self._left[outer_name] = self._left.get(outer_name, 0.0) + time.clock_gettime(outer_clock) - before
            self._running[body] = (name, clock, time.clock_gettime(clock))
            if self._thread is None:
                self._thread = threading.Thread(target=self._knock, daemon=True, name="runner-lab-knocker")
                self._thread.start()
        self._some.set()

    def leave(self, body: Any, outer: Any = None) -> None:
        with self._lock:
            if outer in self._suspended:
                outer_name, outer_clock = self._suspended.pop(outer)
                self._running[outer] = outer_name, outer_clock, time.clock_gettime(outer_clock)
            name, clock, before = self._running.pop(body, ("", 0, 0.0))
            if name:
                # Of the thread that leaves: its clock is there still.
                self._left[name] = self._left.get(name, 0.0) + time.clock_gettime(clock) - before
            if not self._running:
                self._some.clear()
        if time.monotonic() - self._saved_s > 0.5:
            self.save()

    def save(self) -> None:
        self._saved_s = time.monotonic()
        with self._lock:
            size = range(len(self._names))
            xtx = [[self._xtx.get((min(i, j), max(i, j)), 0.0) for j in size] for i in size]
            xty = [self._xty.get(i, 0.0) for i in size]
            entry = {"names": list(self._names), "xtx": xtx, "xty": xty, "pool": dict(self._pool_s)}
            entry["queued"] = dict(self._pool_queued_s)
        self._owner.note(k="gil", pid=self._owner.pid, **entry)
        libraries = _LIBRARIES & set(sys.modules)
        if libraries != self._libraries:
            self._libraries = libraries
            self._owner.note(k="pools", pools=_pools())

    def _knock(self) -> None:
        foreign_0, looked_s = _foreign_s(), time.monotonic()
        family_s = looked_s
        before, _ = self._look()
        while True:
            if not self._some.is_set():
                self._some.wait()
                # What was computed until this thread went on, for which it had to wait for the GIL, is of no interval.
                before, _ = self._look()
            # A round gives up the GIL twice, here and in `_look`. Each time it is waited for anew: with more of that,
            # rounds would take seconds where many threads want it.
            asleep = time.monotonic()
            time.sleep(_KNOCK_S)
            awake = time.monotonic()
            now, used = self._look()
            own_s, queued_s = now.own_s - before.own_s, now.queued_s - before.queued_s
            rest_s = now.process_s - before.process_s - own_s - sum(used.values())
            late = awake - asleep - _KNOCK_S - queued_s > _HELD_S
            # What it was neither asleep, computing nor queueing it has waited for the GIL.
            blocked_s = max(now.at_s - before.at_s - _KNOCK_S - own_s - queued_s, 0.0)
            held = (blocked_s + late * _KNOCK_S) / (blocked_s + _KNOCK_S)
            # Asked for when no body was left, it says nothing of those that were there.
            if self._some.is_set():
                self._add(held, now.at_s - before.at_s, used, max(rest_s, 0.0))
            before = now
            if awake - looked_s > _LOOK_S:
                foreign, looked_s = _foreign_s(), awake
                for name in used:
                    for found, now_s, before_s in zip(
                        (self._pool_s, self._pool_queued_s), foreign, foreign_0, strict=True
                    ):
                        found[name] = found.get(name, 0.0) + max(now_s - before_s, 0.0) / len(used)
                foreign_0 = foreign
            if awake - family_s > _FAMILY_S:
                family_s = awake
                children = living_children()
                if theirs := {child: cpu_s for child, cpu_s in children.items() if child not in self._others}:
                    self._owner.note(k="family", t=awake, cpu=theirs)

    def _look(self) -> tuple[_Clocks, dict[str, float]]:
        """The clocks, and the CPU of each task's threads since they were last looked at."""
        queued = queued_s() or 0.0
        used = self._used()
        return _Clocks(time.monotonic(), time.process_time(), time.thread_time(), queued), used

    def _used(self) -> dict[str, float]:
        with self._lock:
            used, self._left = self._left, {}
            for body, (name, clock, before) in list(self._running.items()):
                try:
                    now = time.clock_gettime(clock)
                except OSError:
                    continue
                used[name] = used.get(name, 0.0) + now - before
                self._running[body] = (name, clock, now)
        return used

    def _add(self, held: float, dt: float, used: dict[str, float], rest: float) -> None:
        with self._lock:
            row = {0: rest}
            for name, cpu in used.items():
                if name not in self._names:
                    self._names.append(name)
                row[self._names.index(name)] = cpu
            # Who holds the GIL and has no core adds none: only what was computed counts.
            y = held * min(rest + sum(used.values()), dt)
            for i, x in row.items():
                self._xty[i] = self._xty.get(i, 0.0) + x * y
                for j, other in row.items():
                    if i <= j:
                        self._xtx[i, j] = self._xtx.get((i, j), 0.0) + x * other


class _Schedstat:
    """What the kernel tells of the thread that makes it.

    Kept open: who opens, reads and closes a file gives up the GIL at each of them, and may wait for it each time.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)


_of_thread = threading.local()


def queued_s() -> float | None:
    """Seconds that this thread was ready to run and had no core; None where the system does not tell."""
    try:
        stat = getattr(_of_thread, "stat", None)
        if stat is None or stat.pid != os.getpid():
            stat = _of_thread.stat = _Schedstat()
        return int(os.pread(stat.file, 100, 0).split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def _foreign_s() -> tuple[float, float]:
    """CPU seconds so far of this process's threads that are not Python's, those of libraries; and waits for a core."""
    own = {str(thread.native_id) for thread in threading.enumerate()}
    computed = queued = 0
    try:
        foreign = [tid for tid in os.listdir("/proc/self/task") if tid not in own]
    except OSError:
        return 0.0, 0.0
    for tid in foreign:
        # It may have ended since.
        with suppress(OSError, IndexError, ValueError), open(f"/proc/self/task/{tid}/schedstat", "rb") as file:
            words = file.read().split()
            computed, queued = computed + int(words[0]), queued + int(words[1])
    return computed / 1e9, queued / 1e9


def living_children() -> dict[int, float]:
    """CPU seconds so far of this process's children that have not ended, with those of theirs that have."""
    found: dict[int, float] = {}
    try:
        # Raises ChildProcessError where there are none: hardly any process need look through all of the machine's.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except (OSError, AttributeError):
        return found
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # Behind the name, which may have blanks: the parent is the second, then CPU the 12th to the 15th.
                words = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(words[1]) == os.getpid():
            found[int(name)] = sum(map(int, words[11:15])) * _TICK_S
    return found


def _pools() -> list[dict[str, Any]]:
    """Threads that libraries keep for themselves in this process: BLAS and OpenMP, polars."""
    found = []
    if _LIBRARIES - {"polars"} & set(sys.modules):
        with suppress(Exception):
            from threadpoolctl import threadpool_info

            found += [
                {"library": str(pool.get("internal_api")), "threads": int(pool.get("num_threads", 1))}
                for pool in threadpool_info()
            ]
    polars = sys.modules.get("polars")
    if polars is not None:
        with suppress(Exception):
            found.append({"library": "polars", "threads": int(polars.thread_pool_size())})
    return found
