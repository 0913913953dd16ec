"""A pool of processes in which the death of one costs one task, and that can be stopped at once.

`ProcessPoolExecutor` gives up all its processes and all its tasks when one process dies. A queue shared by all of them,
as the stock runner has for events and logs, can be left locked by a process that dies: here each has pipes of its own.
"""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import multiprocessing.util
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from prefect.logging import get_logger

# A process that was told to end has events to flush; one that does not end by itself is killed.
_GRACE_S = 10.0

# How soon the death of a process is noticed while a child that its task forked holds its pipes: none of them ends then,
# nor does the one by which `multiprocessing` tells. Every other death is noticed at once.
_LOOK_S = 1.0

logger = get_logger("task_runner.lean")


def _raised(error: Exception) -> Any:
    raise error


@dataclass(eq=False)
class Job:
    """One request to a process, and what to make of its reply or of its end."""

    request: tuple[bytes, ...]
    """Sent one by one, so that what is large is not copied into one."""
    loads: Callable[[bytes], Any]
    """The reply as the result of `future`."""
    died: Callable[[int | None, int | None, bool], Any]
    """The result of `future` when the process has died: gets its id, its exit code, and whether the pool stopped it."""
    failed: Callable[[Exception], Any] = _raised
    """The result of `future` when no process could be started, or the reply be received."""
    reruns: int = 0
    """How often the job may be run again after its process has died."""
    future: Future[Any] = field(default_factory=Future)
    death: tuple[int | None, int | None, bool] | None = None
    """What `died` gets, once a process has died of it."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    calls: Connection
    messages: Connection
    reader: threading.Thread
    busy: bool = True
    """Has a job, or is new: nothing is lost when it is killed but what a job was at."""


class ProcessPool:
    """Up to `size` processes, started as they are needed, each with a thread that feeds it.

    `context` is how they are started, as of `multiprocessing`.

    In each process runs `serve(calls, messages, *arguments)`: it answers every request on `calls` with one reply and
    ends at one that begins with nothing. What it sends on `messages` goes to `deliver`.
    """

    def __init__(
        self,
        size: int,
        serve: Callable[..., None],
        arguments: tuple[Any, ...],
        deliver: Callable[[Any], None],
        context: Any = None,
    ) -> None:
        self._size = size
        self._serve = serve
        self._arguments = arguments
        self._deliver = deliver
        # Spawned, as upstream: a fork of this process would copy locks that its other threads hold.
        self._multiprocessing = context or multiprocessing.get_context("spawn")
        self._jobs: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._feeders: list[threading.Thread] = []
        self._workers: set[_Worker] = set()
        self._idle: set[int] = set()
        """The feeders that have no job, and those whose job has ended: what their callbacks submit is theirs."""
        self._closed = False
        self._stopping = False
        # A runner that is never exited, of a generator flow that is not exhausted say, leaves its pool open: the end of
        # the interpreter waits for processes, and they for it.
        self._at_exit = multiprocessing.util.Finalize(None, self.close, kwargs={"stop_running": True}, exitpriority=10)

    def submit(self, job: Job) -> None:
        """Queue a job. A closed pool cancels it."""
        with self._changed:
            if not self._closed:
                if len(self._jobs) >= len(self._idle) and len(self._feeders) < self._size:
                    self._add_feeder()
                self._jobs.append(job)
                self._changed.notify()
                return
        job.future.cancel()

    def close(self, stop_running: bool = False) -> None:
        """Cancel the jobs that wait, wait for those that run or stop them, and end all processes."""
        self._at_exit.cancel()
        with self._changed:
            self._closed = True
            self._stopping = self._stopping or stop_running
            waiting = list(self._jobs)
            self._jobs.clear()
            if stop_running:
                self._kill_busy()
            self._changed.notify_all()
        for job in waiting:
            _withdraw(job)
        for feeder in self._feeders:
            feeder.join()

    def _kill_busy(self) -> None:
        """A process without a job may have events to flush, and one whose reply has come has so too: those end."""
        for worker in self._workers:
            if worker.busy and not worker.calls.poll():
                worker.process.kill()

    def _add_feeder(self) -> None:
        feeder = threading.Thread(target=self._feed, name=f"LeanProcessPool-{len(self._feeders)}", daemon=True)
        feeder.start()
        self._feeders.append(feeder)

    def _feed(self) -> None:
        worker: _Worker | None = None
        while (job := self._next()) is not None:
            if job.future.running() or job.future.set_running_or_notify_cancel():
                worker = self._work(worker, job)
            # All that it holds would else stay for as long as there is nothing to do.
            del job
        if worker is not None:
            with contextlib.suppress(OSError):
                worker.calls.send_bytes(b"")
            self._end(worker, wait_s=_GRACE_S)

    def _next(self) -> Job | None:
        with self._changed:
            self._idle.add(threading.get_ident())
            while not self._jobs and not self._closed:
                self._changed.wait()
            self._idle.discard(threading.get_ident())
            if not self._jobs:
                return None
            return self._jobs.popleft()

    def _work(self, worker: _Worker | None, job: Job) -> _Worker | None:
        """Have `worker`, or a new one, do the job. Returns the worker unless it has died."""
        if worker is not None and not worker.process.is_alive():
            self._end(worker)
            worker = None
        try:
            worker = worker or self._start()
        except Exception as not_started:
            # The system has no process or no pipe left, say: this thread goes on, and the next job tries again.
            failure = not_started
            _set_result(job, lambda: job.failed(failure))
            return None
        if not self._take(worker):
            _withdraw(job)
            return worker
        try:
            for part in job.request:
                worker.calls.send_bytes(part)
            _await_reply(worker)
            with self._changed:
                # The job has ended: its process is not stopped for it any more.
                worker.busy = False
            reply = worker.calls.recv_bytes()
        except (EOFError, OSError):
            self._end(worker)
            self._rerun_or_give_up(job, worker.process)
            return None
        except Exception as broken:
            # A reply that is too large for this process, say: what is left of it in the pipe is no reply to the next.
            worker.process.kill()
            self._end(worker)
            broken_by = broken
            _set_result(job, lambda: job.failed(broken_by))
            return None
        with self._changed:
            self._idle.add(threading.get_ident())
        _set_result(job, lambda: job.loads(reply))
        return worker

    def _start(self) -> _Worker:
        ends: list[Connection] = []
        try:
            ends += self._multiprocessing.Pipe()
            ends += self._multiprocessing.Pipe(duplex=False)
            calls, their_calls, messages, their_messages = ends
            process = self._multiprocessing.Process(
                target=self._serve, args=(their_calls, their_messages, *self._arguments)
            )
            process.start()
            reader = threading.Thread(
                target=self._read, args=(messages,), name=f"LeanProcessPool-{process.pid}", daemon=True
            )
            reader.start()
        except BaseException:
            # A process that was started ends by itself without them.
            for end in ends:
                end.close()
            raise
        their_calls.close()
        their_messages.close()
        worker = _Worker(process, calls, messages, reader)
        with self._changed:
            self._workers.add(worker)
            if self._stopping:
                process.kill()
        return worker

    def _take(self, worker: _Worker) -> bool:
        """Whether the worker may begin a job: that it has one and that the pool stops are told by the same lock."""
        with self._changed:
            if not self._stopping:
                worker.busy = True
            return not self._stopping

    def _read(self, messages: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = messages.recv_bytes()
                try:
                    self._deliver(pickle.loads(message))
                except Exception:
                    # Of a class that only the process can import, say. Unread, the pipe would fill, and block tasks.
                    logger.warning("A message of a process of the pool is lost.", exc_info=True)
        messages.close()

    def _rerun_or_give_up(self, job: Job, process: BaseProcess) -> None:
        with self._changed:
            job.death = process.pid, process.exitcode, self._stopping
            if job.reruns > 0 and not self._closed:
                job.reruns -= 1
                self._jobs.appendleft(job)
                self._changed.notify()
                return
        _withdraw(job)

    def _end(self, worker: _Worker, wait_s: float = 1.0) -> None:
        deadline = time.monotonic() + wait_s
        while worker.process.is_alive() and (left_s := deadline - time.monotonic()) > 0:
            worker.process.join(min(left_s, _LOOK_S))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        _read_out(worker)
        with self._changed:
            self._workers.discard(worker)
        worker.calls.close()


def _await_reply(worker: _Worker) -> None:
    """Raises EOFError when the process has died, or OSError."""
    while not worker.calls.poll(_LOOK_S):
        if not worker.process.is_alive() and not worker.calls.poll():
            raise EOFError


def _read_out(worker: _Worker) -> None:
    """What a process has sent before it ended is still to be delivered."""
    deadline = time.monotonic() + _GRACE_S
    readable = True
    while readable and worker.reader.is_alive() and time.monotonic() < deadline:
        worker.reader.join(_LOOK_S / 10)
        # A pipe that children of the process hold does not end: that one has been read when nothing is left in it.
        with contextlib.suppress(OSError, ValueError):
            readable = worker.messages.poll()


def _withdraw(job: Job) -> None:
    """End a job that will not be run, or not again."""
    if job.future.cancel():
        return
    # It has been taken up, and what runs cannot be cancelled.
    if (death := job.death) is None:
        job.future.set_exception(CancelledError())
    else:
        _set_result(job, lambda: job.died(*death))


def _set_result(job: Job, result: Callable[[], Any]) -> None:
    try:
        value = result()
    except BaseException as exception:
        # Whatever it is, it belongs to whoever waits for the job: the feeder goes on.
        job.future.set_exception(exception)
    else:
        job.future.set_result(value)
