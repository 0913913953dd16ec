"""CPU seconds and resident memory over the process trees of a run: driver, workers and server apart."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from runner_lab.records.record import Usage
from runner_lab.runners import far_api
from runner_lab.runners.isolation import guard

_INTERVAL_S = 0.25
_SAMPLING = 0.05
"""Share of the time measured that lies between two samples: each is some milliseconds of the driver's own CPU."""
_SHORTEST_S = 0.2
"""CPU clocks tick in hundredths of a second: of less than this nobody can tell what share others had."""


@dataclass(frozen=True)
class _CpuTimes:
    """CPU seconds so far; `at_s` is `time.monotonic`."""

    at_s: float
    driver_s: float
    workers_s: float
    server_s: float | None
    machine_busy_s: float


class Meter:
    """Measures between `start` and `stop`.

    CPU is read at both ends: each process's own time, and that of the children it has waited for, so that a worker that
    came and went in between is counted. Memory is sampled four times a second, less often the longer it takes, and so
    is the workers' CPU: Ray does not wait for the workers it ends, and all their time would be missing from the second
    reading.

    Args:
        server_pid: the server's process, started by the lab; None where it is not on this machine or not the lab's.
        local_workers: whether the workers are children of this process; elsewhere they cannot be seen.
    """

    def __init__(self, server_pid: int | None, local_workers: bool = True) -> None:
        self._driver = psutil.Process()
        self._server_pid = server_pid
        self._local_workers = local_workers
        self._peaks = [0, 0, 0]
        self._worker_cpu_s: dict[psutil.Process, tuple[float, float]] = {}
        self._server: list[psutil.Process] | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        _give_back()
        self._before = self._cpu()
        self._driver_before = _rss([self._driver])
        self._sample(first=True)
        self._thread = threading.Thread(target=self._sampling, name="usage", daemon=True)
        self._thread.start()

    def stop(self) -> tuple[Usage, float | None]:
        """The usage, and the share (0 to 1) of the machine's CPU that processes outside the lab had meanwhile.

        No share where nobody can tell: of workers elsewhere, whose processes may be here, or within less than 0.2 s.
        """
        after = self._cpu()
        self._stopped.set()
        self._thread.join()
        self._sample()
        before = self._before
        driver_s = after.driver_s - before.driver_s
        # Each misses what the other sees: the readings, who ended unwaited for; the samples, a worker's last moments.
        sampled_s = sum(last - first for first, last in self._worker_cpu_s.values())
        workers_s = max(sampled_s, after.workers_s - before.workers_s)
        server_s = (
            after.server_s - before.server_s if after.server_s is not None and before.server_s is not None else None
        )
        others_s = after.machine_busy_s - before.machine_busy_s - driver_s - workers_s - (server_s or 0.0)
        driver_peak, workers_peak, server_peak = self._peaks
        usage = Usage(
            driver_cpu_s=driver_s,
            workers_cpu_s=workers_s if self._local_workers else None,
            server_cpu_s=server_s,
            driver_rss_bytes=driver_peak,
            workers_rss_bytes=workers_peak if self._local_workers else None,
            server_rss_bytes=server_peak if server_s is not None else None,
            driver_rss_before_bytes=self._driver_before,
        )
        return usage, self._share(others_s, after.at_s - before.at_s)

    def _share(self, cpu_s: float, elapsed_s: float) -> float | None:
        if not self._local_workers or elapsed_s < _SHORTEST_S:
            return None
        return min(1.0, max(0.0, cpu_s) / (elapsed_s * (psutil.cpu_count() or 1)))

    def _trees(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """Workers and server: all that descends from the driver but its guard and the relays, and the server's own tree
        out of it.

        From one look at the processes of the machine: it is taken in the driver, whose time is measured.
        """
        workers: list[psutil.Process] = []
        server: list[psutil.Process] = []
        server_pids = set() if self._server_pid is None else {self._server_pid}
        descendants = _descendants(self._driver)
        if self._server is None:
            self._server = self._server_elsewhere(descendants)
        server += self._server
        for process in descendants:
            if process.pid in server_pids or _ppid(process) in server_pids:
                server_pids.add(process.pid)
                server.append(process)
            elif process.pid not in guard.running | far_api.running:
                workers.append(process)
        return workers, server

    def _server_elsewhere(self, descendants: Iterable[psutil.Process]) -> list[psutil.Process]:
        """The server's tree where another process than the driver has started it, looked for once."""
        if self._server_pid is None or self._server_pid in {process.pid for process in descendants}:
            return []
        return _tree(self._server_pid)

    def _cpu(self) -> _CpuTimes:
        workers, server = self._trees()
        own = self._driver.cpu_times()
        busy = psutil.cpu_times()
        return _CpuTimes(
            at_s=time.monotonic(),
            driver_s=own.user + own.system,
            # What the driver has waited for were workers: pools that have ended.
            workers_s=own.children_user + own.children_system + _cpu_s(workers),
            server_s=_cpu_s(server) if server else None,
            machine_busy_s=sum(busy) - busy.idle - getattr(busy, "iowait", 0.0) - getattr(busy, "guest", 0.0),
        )

    def _sampling(self) -> None:
        begun_s = time.monotonic()
        while not self._stopped.wait(max(_INTERVAL_S, _SAMPLING * (time.monotonic() - begun_s))):
            self._sample()

    def _sample(self, first: bool = False) -> None:
        workers, server = self._trees()
        for worker in workers:
            if (now_s := _own_cpu_s(worker)) is not None:
                begun_s, _ = self._worker_cpu_s.get(worker, (now_s if first else 0.0, 0.0))
                self._worker_cpu_s[worker] = begun_s, now_s
        now = [_rss(processes) for processes in ([self._driver], workers, server)]
        self._peaks = [max(pair) for pair in zip(self._peaks, now, strict=True)]


def cpu_of(pid: int | None) -> float | None:
    """CPU seconds so far of a process and all that it has started; None where there is none of that number."""
    found = [] if pid is None else _tree(pid)
    return _cpu_s(found) if found else None


def _tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants; nothing if there is none of that number."""
    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return []
    return [process, *_descendants(process)]


def _give_back() -> None:
    """Give memory that this process no longer needs back to the system, where its C library can.

    Else it would still hold that of wider cells, and what a cell adds could not be seen.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    """Each after its parent."""
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _ppid(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _own_cpu_s(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return times.user + times.system


def _cpu_s(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _rss(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total
