"""A pool of processes in which the death of one costs one task, and that can be stopped at once.

`ProcessPoolExecutor` gives up all its processes and all its tasks when one process dies. A queue shared by all of them,
as the stock runner has for events and logs, can be left locked by a process that dies: here each has pipes of its own.
"""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

# A process that was told to end has events to flush; one that does not end by itself is killed.
_GRACE_S = 10.0


@dataclass
class Job:
    """One request to a process, and what to make of its reply or of its end."""

    request: tuple[bytes, ...]
    """Sent one by one, so that what is large is not copied into one."""
    loads: Callable[[bytes], Any]
    """The reply as the result of `future`."""
    died: Callable[[int | None, int | None], Any]
    """The result of `future` when the process has died: gets its id and its exit code."""
    reruns: int = 0
    """How often the job may be run again after its process has died."""
    future: Future[Any] = field(default_factory=Future)


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    calls: Connection
    messages: threading.Thread


class ProcessPool:
    """Up to `size` processes, started as they are needed, each with a thread that feeds it.

    In each process runs `serve(calls, messages, *arguments)`: it answers every request on `calls` with one reply and
    ends at one that begins with nothing. What it sends on `messages` goes to `deliver`.
    """

    def __init__(
        self, size: int, serve: Callable[..., None], arguments: tuple[Any, ...], deliver: Callable[[Any], None]
    ) -> None:
        self._size = size
        self._serve = serve
        self._arguments = arguments
        self._deliver = deliver
        # Spawned, as upstream: a fork would copy locks that other threads of this process hold.
        self._multiprocessing = multiprocessing.get_context("spawn")
        self._jobs: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._feeders: list[threading.Thread] = []
        self._workers: set[_Worker] = set()
        self._idle = 0
        self._closed = False

    def submit(self, job: Job) -> None:
        """Queue a job. A closed pool cancels it."""
        with self._changed:
            if self._closed:
                job.future.cancel()
                return
            self._jobs.append(job)
            if len(self._jobs) > self._idle and len(self._feeders) < self._size:
                feeder = threading.Thread(target=self._feed, name=f"LeanProcessPool-{len(self._feeders)}", daemon=True)
                self._feeders.append(feeder)
                feeder.start()
            self._changed.notify()

    def close(self, stop_running: bool = False) -> None:
        """Cancel the jobs that wait, wait for those that run or stop them, and end all processes."""
        with self._changed:
            self._closed = True
            waiting, running = list(self._jobs), list(self._workers)
            self._jobs.clear()
            self._changed.notify_all()
        for job in waiting:
            job.future.cancel()
        if stop_running:
            for worker in running:
                worker.process.kill()
        for feeder in self._feeders:
            feeder.join()

    def _feed(self) -> None:
        worker: _Worker | None = None
        while (job := self._next()) is not None:
            if not job.future.running() and not job.future.set_running_or_notify_cancel():
                continue
            if worker is None or not worker.process.is_alive():
                worker = self._start()
            try:
                for part in job.request:
                    worker.calls.send_bytes(part)
                reply = worker.calls.recv_bytes()
            except (EOFError, OSError):
                self._end(worker)
                self._died(job, worker.process)
                worker = None
            else:
                _set_result(job, lambda job=job, reply=reply: job.loads(reply))  # type: ignore[misc]
        if worker is not None:
            with contextlib.suppress(OSError):
                worker.calls.send_bytes(b"")
            self._end(worker, wait_s=_GRACE_S)

    def _next(self) -> Job | None:
        with self._changed:
            self._idle += 1
            while not self._jobs and not self._closed:
                self._changed.wait()
            self._idle -= 1
            return self._jobs.popleft() if self._jobs else None

    def _start(self) -> _Worker:
        calls, their_calls = self._multiprocessing.Pipe()
        messages, their_messages = self._multiprocessing.Pipe(duplex=False)
        process = self._multiprocessing.Process(
            target=self._serve, args=(their_calls, their_messages, *self._arguments)
        )
        process.start()
        their_calls.close()
        their_messages.close()
        reader = threading.Thread(
            target=self._read, args=(messages,), name=f"LeanProcessPool-{process.pid}", daemon=True
        )
        reader.start()
        worker = _Worker(process, calls, reader)
        with self._changed:
            self._workers.add(worker)
        return worker

    def _read(self, messages: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._deliver(messages.recv())
        messages.close()

    def _died(self, job: Job, process: BaseProcess) -> None:
        with self._changed:
            if job.reruns > 0 and not self._closed:
                job.reruns -= 1
                self._jobs.appendleft(job)
                self._changed.notify()
                return
        _set_result(job, lambda: job.died(process.pid, process.exitcode))

    def _end(self, worker: _Worker, wait_s: float = 1.0) -> None:
        worker.process.join(wait_s)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        # What the process has sent before it ended is still to be delivered.
        worker.messages.join(_GRACE_S)
        worker.calls.close()
        with self._changed:
            self._workers.discard(worker)


def _set_result(job: Job, result: Callable[[], Any]) -> None:
    try:
        job.future.set_result(result())
    except BaseException as exception:
        # Whatever it is, it belongs to whoever waits for the job: the feeder goes on.
        job.future.set_exception(exception)
