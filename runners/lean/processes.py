"""A process pool without most of Prefect's cost per task, which outlives the death of a process."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import weakref
from collections.abc import Iterable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

import cloudpickle
from prefect._internal.uuid7 import uuid7
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.settings.context import get_current_settings
from prefect.task_runners import ProcessPoolTaskRunner
from prefect.tasks import Task

from . import internals, shipping
from .context import Context, LeanRunner, Package
from .crash import Submitted, flow_run_ended_badly
from .futures import LeanConcurrentFuture, when_done
from .pool import Job, ProcessPool


class LeanProcessPoolTaskRunner(LeanRunner, ProcessPoolTaskRunner):
    """`ProcessPoolTaskRunner` at a fraction of its cost per task.

    Args:
        crash_reruns: How often a task may run again after the process that ran it has died. None is never, as in the
            stock runner.

    All other arguments are those of `ProcessPoolTaskRunner`.
    """

    _stock = ("prefect.task_runners", "ProcessPoolTaskRunner")

    def __init__(self, *args: Any, crash_reruns: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.crash_reruns = crash_reruns
        self._pool: ProcessPool | None = None
        self._starting = threading.Lock()
        self._futures: weakref.WeakSet[LeanConcurrentFuture] = weakref.WeakSet()
        self._flow_run_id: UUID | None = None

    def submit(  # type: ignore[override]
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        if not self._started:
            raise RuntimeError("Task runner is not started")
        if internals.MOVED:
            internals.warn_moved()
            return super().submit(task, parameters, wait_for, dependencies)
        pool = self._running_pool()
        task_run_id = uuid7()
        submitted = Submitted.of(task, task_run_id, self)
        self._flow_run_id = submitted.flow_run_id
        job = Job(
            request=b"",
            loads=_loads_reply,
            died=lambda pid, exitcode: submitted.crashed(_how_it_died(pid, exitcode, self._stopping)),
            reruns=self.crash_reruns or 0,
        )
        try:
            package = self._context.pack(task, task_run_id, parameters, wait_for, dependencies)
        except Exception as unpicklable:
            # As upstream, which pickles later, in a thread: the future has it.
            job.future.set_exception(unpicklable)
        else:
            when_done(package.upstream, lambda: _request(job, package, pool))
        future = LeanConcurrentFuture(task_run_id=task_run_id, wrapped_future=job.future)
        self._futures.add(future)
        return future

    def duplicate(self) -> LeanProcessPoolTaskRunner:
        twin = super().duplicate()
        twin.crash_reruns = self.crash_reruns
        return twin

    def cancel_all(self) -> None:
        """Cancel the tasks that wait, wait for those that run, and end the processes."""
        self._close(stop_running=False)

    def __enter__(self) -> LeanProcessPoolTaskRunner:
        if internals.MOVED:
            return super().__enter__()
        # Upstream's starts a thread and a queue at once; in a worker, where every task enters a twin of its flow's
        # runner, they would be started and stopped for every task.
        super(ProcessPoolTaskRunner, self).__enter__()
        self._context = Context(future_type=Future)
        self._stopping = False
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if internals.MOVED:
            super().__exit__(exc_type, exc_value, traceback)
            return
        running = any(not future.wrapped_future.done() for future in self._futures)
        self._close(stop_running=running and (exc_type is not None or flow_run_ended_badly(self._flow_run_id)))
        super(ProcessPoolTaskRunner, self).__exit__(exc_type, exc_value, traceback)

    def _running_pool(self) -> ProcessPool:
        with self._starting:
            if self._pool is None:
                settings = get_current_settings().to_environment_variables(exclude_unset=True)
                arguments = (settings | os.environ, cloudpickle.dumps((self._initializer, self._initargs)))
                # The stock thread that forwards what processes say reads it from here.
                self._subprocess_message_queue = queue.SimpleQueue()
                self._message_forwarding_thread = threading.Thread(
                    target=self._forward_subprocess_messages, name="LeanProcessPoolMessages", daemon=True
                )
                self._message_forwarding_thread.start()
                self._pool = ProcessPool(self._max_workers, _serve, arguments, self._subprocess_message_queue.put)
            return self._pool

    def _close(self, stop_running: bool) -> None:
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            self._stopping = stop_running
            pool.close(stop_running)
            self._stop_message_forwarding()

    def _arguments(self) -> dict[str, Any]:
        return {
            "max_workers": self._max_workers,
            "subprocess_message_processor_factories": self.subprocess_message_processor_factories,
            "initializer": self._initializer,
            "initargs": self._initargs,
            "crash_reruns": self.crash_reruns,
        }


def _request(job: Job, package: Package, pool: ProcessPool) -> None:
    try:
        upstream = [future.result() for future in package.upstream]
        job.request = cloudpickle.dumps((package.call, package.shared, upstream))
    except BaseException as failed:
        # An upstream future without a state: cancelled with the pool, or its reply could not be unpickled.
        job.future.set_exception(failed)
    else:
        pool.submit(job)


def _loads_reply(reply: bytes) -> Any:
    ended, value = cloudpickle.loads(reply)
    if not ended:
        raise value
    return value


def _how_it_died(pid: int | None, exitcode: int | None, stopping: bool) -> str:
    if stopping:
        return f"process {pid} was stopped while it ran the task, because the flow run is over."
    return f"process {pid} died with exit code {exitcode} while it ran the task."


# --- in the process ---------------------------------------------------------------------------------------------


class _Outbox:
    """The queue that Prefect puts events and logs in, on a pipe."""

    def __init__(self, messages: Connection) -> None:
        self._messages = messages
        self._lock = threading.Lock()

    def put(self, message: Any) -> None:
        with self._lock:
            self._messages.send(message)

    put_nowait = put


def _serve(calls: Connection, messages: Connection, env: dict[str, str], initializing: bytes) -> None:
    os.environ.update(env)
    from prefect.engine import handle_engine_signals
    from prefect.task_runners import _initialize_process_pool_worker

    run = shipping.runner()
    initializer, initargs = pickle.loads(initializing)
    _initialize_process_pool_worker(_Outbox(messages), initializer, initargs)
    while True:
        try:
            request = calls.recv_bytes()
        except EOFError:
            return
        if not request:
            break
        call, shared, upstream = cloudpickle.loads(request)
        ended: tuple[bool, Any]
        try:
            with handle_engine_signals():
                ended = True, run(call, shared, *upstream)
        except BaseException as raised:
            ended = False, raised
        calls.send_bytes(_dumps_reply(ended))
    internals.flush_events()


def _dumps_reply(ended: tuple[bool, Any]) -> bytes:
    try:
        return cloudpickle.dumps(ended)
    except Exception as unpicklable:
        return cloudpickle.dumps((False, unpicklable))
