"""A process pool without most of Prefect's cost per task, which outlives the death of a process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
from prefect.settings.context import get_current_settings
from prefect.task_runners import ProcessPoolTaskRunner

from . import forking, internals, shipping
from .context import Context, Package
from .crash import Submitted
from .forking import ForkedContext
from .futures import LeanConcurrentFuture, fail, when_done
from .internals.savings import POOL
from .pool import Job, ProcessPool
from .runner import LeanRemoteRunner


class LeanProcessPoolTaskRunner(LeanRemoteRunner, ProcessPoolTaskRunner):
    """`ProcessPoolTaskRunner` at a fraction of its cost per task.

    Args:
        crash_reruns: How often a task may run again after the process that ran it has died. None is never, as in the
            stock runner.
        record: `all` states of a task, or `final`: the last one only, where the task takes a few seconds at most.

    All other arguments are those of `ProcessPoolTaskRunner`.
    """

    _stock = ("prefect.task_runners", "ProcessPoolTaskRunner")
    _sending = POOL
    _not_started = "Task runner is not started"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pool: ProcessPool | None = None
        self._starting = threading.Lock()
        self._environment = _Environment()
        self._unfinished: set[Future[Any]] = set()
        self._cancelled = False

    def cancel_all(self) -> None:
        """Cancel the tasks that wait, wait for those that run, and end the processes."""
        if not self._sending.on():
            super().cancel_all()
            return
        # As upstream, it has to be entered again before it takes another task.
        self._cancelled = True
        self._close(stop_running=False)

    def __enter__(self) -> LeanProcessPoolTaskRunner:
        if not self._sending.on():
            return super().__enter__()
        # Upstream's starts a thread and a queue at once; in a worker, where every task enters a twin of its flow's
        # runner, they would be started and stopped for every task.
        super(ProcessPoolTaskRunner, self).__enter__()
        self._begin_events()
        self._context = Context(future_type=Future)
        self._environment = _Environment()
        self._cancelled = False
        if self.recording is None:
            # They take longest to import Prefect. In a worker, most tasks submit none.
            self._processes()
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if not self._sending.on():
            super().__exit__(exc_type, exc_value, traceback)
            return
        try:
            self._end_pool(exc_type)
        finally:
            self._end_events()
            super(ProcessPoolTaskRunner, self).__exit__(exc_type, exc_value, traceback)

    def _end_pool(self, exc_type: Any) -> None:
        # Also if the flow's process is interrupted while it asks, or waits.
        stop_running = True
        try:
            stop_running = bool(self._unfinished) and self._ended_badly(exc_type)
            if exc_type is None and not stop_running:
                # As under threads: what a flow that ended well has submitted and not waited for runs all the same.
                self._wait_for_all()
        except BaseException:
            stop_running = True
            raise
        finally:
            self._close(stop_running)

    def _wait_for_all(self) -> None:
        # A task may submit others while it is waited for: in its process, by a runner of its own.
        wait(list(self._unfinished))

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        if self._sending.on() and self._cancelled:
            raise RuntimeError(self._not_started)
        return super().submit(*args, **kwargs)

    def _send(self, submitted: Submitted, package: Package) -> LeanConcurrentFuture:
        environment = self._environment.pickled()
        pool = self._running_pool()
        job = Job(
            request=(),
            loads=lambda reply: _loads_reply(reply, submitted),
            failed=submitted.failed,
            died=lambda *death: submitted.crashed(_how_it_died(*death)),
            reruns=self.crash_reruns or 0,
        )
        self._unfinished.add(job.future)
        job.future.add_done_callback(self._unfinished.discard)
        when_done(package.upstream, lambda: _request(job, package, environment, pool))
        return LeanConcurrentFuture(task_run_id=submitted.task_run_id, wrapped_future=job.future)

    def _unsent(self, submitted: Submitted, unpicklable: Exception) -> LeanConcurrentFuture:
        # Upstream pickles later, in a thread: it is the future that fails.
        failed: Future[Any] = Future()
        failed.set_result(submitted.failed(unpicklable, begun=False))
        return LeanConcurrentFuture(task_run_id=submitted.task_run_id, wrapped_future=failed)

    def _running_pool(self) -> ProcessPool:
        with self._starting:
            if self._pool is None:
                initializer = getattr(self, "_initializer", None), getattr(self, "_initargs", ())
                processes = self._processes()
                forked = dict(os.environ) if isinstance(processes, ForkedContext) else None
                arguments = (self._environment.pickled(), cloudpickle.dumps(initializer), forked)
                # The stock thread that forwards what processes say reads it from here.
                self._subprocess_message_queue = queue.SimpleQueue()
                self._message_forwarding_thread = threading.Thread(
                    target=self._forward, args=(internals.Origin(),), name="LeanProcessPoolMessages", daemon=True
                )
                self._message_forwarding_thread.start()
                deliver = self._subprocess_message_queue.put
                self._pool = ProcessPool(self._max_workers, _serve, arguments, deliver, processes)
            return self._pool

    def _processes(self) -> Any:
        """How its processes are started."""
        return forking.context(pickle.loads(self._environment.pickled()))

    def _forward(self, origin: internals.Origin) -> None:
        # A thread begins without a context: the events would go to the API that the process began with.
        with origin.entered():
            self._forward_subprocess_messages()

    def _close(self, stop_running: bool) -> None:
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            try:
                pool.close(stop_running)
            finally:
                self._stop_message_forwarding()

    def _arguments(self) -> dict[str, Any]:
        arguments = super()._arguments() | {
            "max_workers": self._max_workers,
            "subprocess_message_processor_factories": self.subprocess_message_processor_factories,
            "crash_reruns": self.crash_reruns,
        }
        # Prefect before 3.8 has no initializer.
        if hasattr(self, "_initializer"):
            arguments |= {"initializer": self._initializer, "initargs": self._initargs}
        return arguments


class _Environment:
    """The environment that tasks run with: of the settings, and of the driver when these settings were new.

    As upstream's since Prefect 3.9.1: settings that change reach the tasks submitted next.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, bytes] = (None, b"")

    def pickled(self) -> bytes:
        settings = get_current_settings()
        # Another thread of the flow may put its own in its place.
        last_settings, pickled = self._last
        if last_settings is not settings:
            pickled = pickle.dumps(settings.to_environment_variables(exclude_unset=True) | os.environ)
            self._last = settings, pickled
        return pickled


def _request(job: Job, package: Package, environment: bytes, pool: ProcessPool) -> None:
    try:
        # What came back from a process once may need the same care on its way to the next one.
        upstream = cloudpickle.dumps([internals.portable(future.result()) for future in package.upstream])
        job.request = (package.call, package.shared, upstream, environment)
        pool.submit(job)
    except BaseException as failed:
        # An upstream future without a state: cancelled with the pool, or its reply could not be unpickled.
        fail(job.future, failed)


def _loads_reply(reply: bytes, submitted: Submitted) -> Any:
    try:
        ended, value = cloudpickle.loads(reply)
    except Exception as unreadable:
        return submitted.failed(unreadable)
    if ended:
        return value
    if isinstance(value, Exception):
        return submitted.failed(value)
    raise value


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
        # A task may fork while another thread is sending.
        os.register_at_fork(after_in_child=self._unlock)

    def put(self, message: Any) -> None:
        with self._lock:
            self._messages.send(message)

    put_nowait = put

    def _unlock(self) -> None:
        self._lock = threading.Lock()


def _serve(
    calls: Connection,
    messages: Connection,
    environment: bytes,
    initializing: bytes,
    forked: dict[str, str] | None = None,
) -> None:
    """forked: the environment of the driver, where this process has been forked from one that has another."""
    if forked is not None:
        _as_if_spawned(forked)
    # Ctrl-C reaches every process of a terminal, and is the driver's to answer: a process that ended its task by itself
    # would be given the next one. A handler, since a signal that is ignored stays so in programs that tasks start.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    threading.Thread(target=_end_with_parent, name="LeanProcessPoolParent", daemon=True).start()
    # What is imported here finds the settings that the first task has: for what tasks do outside of their context.
    with _applied(environment):
        from prefect.task_runners import _initialize_process_pool_worker

        run = shipping.runner()
        package = shipping.package()
    initializer, initargs = pickle.loads(initializing)
    # Prefect before 3.8 takes none.
    more = () if initializer is None else (initializer, initargs)
    _initialize_process_pool_worker(_Outbox(messages), *more)
    # Whoever sends the calls may be gone.
    with contextlib.suppress(EOFError):
        while _answer(calls, run):
            pass
        package.internals.flush_events()


def _as_if_spawned(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    seed_anew()


def seed_anew() -> None:
    """Python's `random` sees to it by itself; numpy's would give every process that is forked the same numbers."""
    if (random := sys.modules.get("numpy.random")) is not None:
        random.seed()


@contextlib.contextmanager
def _applied(environment: bytes) -> Iterator[None]:
    """Run something in this environment, and have what it has made of it end with it."""
    before = dict(os.environ)
    os.environ.update(pickle.loads(environment))
    try:
        yield
    finally:
        if os.environ != before:
            os.environ.clear()
            os.environ.update(before)


def _answer(calls: Connection, run: Callable[..., Any]) -> bool:
    """Run one task. Returns whether there was one, and keeps nothing of it while the process waits for the next."""
    from prefect.engine import handle_engine_signals

    call = calls.recv_bytes()
    if not call:
        return False
    shared, upstream, environment = calls.recv_bytes(), calls.recv_bytes(), calls.recv_bytes()
    ended: tuple[bool, Any]
    try:
        with _applied(environment), handle_engine_signals():
            try:
                ended = True, run(call, shared, *cloudpickle.loads(upstream))
            except Exception as raised:
                # Of what precedes the engine, such as unpickling: Prefect would make an exit of the process of it.
                ended = False, raised
    except BaseException as raised:
        ended = False, raised
    calls.send_bytes(_dumps_reply(ended))
    return True


def _end_with_parent() -> None:
    # Only a process that waits for its next task notices by itself that whoever sends them was killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _dumps_reply(ended: tuple[bool, Any]) -> bytes:
    try:
        return cloudpickle.dumps(ended)
    except Exception as unpicklable:
        return cloudpickle.dumps((False, unpicklable))
