"""Dask without most of Prefect's cost per task."""

from __future__ import annotations

import asyncio
import operator
import pickle
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import dask
import distributed
from dask._task_spec import Task as GraphTask
from distributed.comm import connect
from distributed.scheduler import KilledWorker
from distributed.security import Security
from distributed.threadpoolexecutor import thread_state
from prefect.exceptions import CancelledRun
from prefect.states import State
from prefect.tasks import Task
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from . import shipping
from .context import Context, Package
from .crash import Submitted
from .futures import SettledFuture, unsettled
from .internals.savings import CALLS, Saving
from .runner import LeanClusterRunner
from .slots import LeanFutureList

_ANSWER_S = 5.0

# As `internals` has them of Prefect: not there, since only a driver with Dask has prefect-dask as well.
_PINS = {
    "prefect_dask.task_runners:PrefectDaskFuture": {"b252fcedb93dd7802348488311c4003a": "0.3.7"},
    "prefect_dask.task_runners:DaskTaskRunner.__init__": {"2324491f8e702e7e598ba9c347d8c29f": "0.3.7"},
    "prefect_dask.task_runners:DaskTaskRunner.client.fget": {"0da2addcddbd10888b8f182fc49dcaf2": "0.3.7"},
    "prefect_dask.task_runners:DaskTaskRunner.__enter__": {"a358efe673ddf445528f8649f2d63474": "0.3.7"},
    "prefect_dask.task_runners:DaskTaskRunner.__exit__": {"3ec10baa499d34a36a14cb125445dcf3": "0.3.7"},
    "prefect_dask.client:PrefectDaskClient.submit": {"a07683fb82c36154d04148341f14bfba": "0.3.7"},
}
_SENDING = Saving(
    "dask",
    "every submit tokenizes all arguments and ships a function; tasks take the way of the stock runner, at its cost.",
    pins=_PINS,
    needs=(CALLS,),
    package=f"prefect-dask {version('prefect-dask')}",
)


class LeanDaskTaskRunner(LeanClusterRunner, DaskTaskRunner):
    """`DaskTaskRunner` at a fraction of its cost per task.

    Args:
        crash_reruns: How often a task may run again after the worker that ran it has died. None leaves that to the
            scheduler (`distributed.scheduler.allowed-failures`, by default 3), as the stock runner does. A number
            costs a message to the scheduler and back for every submit.
        connect_timeout_s: How long, in seconds, the scheduler at `address` may take to answer.
        record: `all` states of a task, or `final`: the last one only, where the task takes a few seconds at most.

    All other arguments are those of `DaskTaskRunner`.
    """

    _stock = ("prefect_dask.task_runners", "DaskTaskRunner")
    _sending = _SENDING
    _kept = (
        *("address", "cluster_class", "cluster_kwargs", "adapt_kwargs", "client_kwargs"),
        *("performance_report_path", "crash_reruns"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._submitted: WeakValueDictionary[UUID, LeanDaskFuture] = WeakValueDictionary()
        self._connecting = threading.Lock()
        self._owns_cluster = False
        self._has_sent = False

    @property
    def client(self) -> Any:
        """The Dask client, made at the first submit."""
        if not self._sending.on():
            return super().client
        if self._client is None:
            with self._connecting:
                if self._client is None:
                    given, has_client = self.address is not None or self._cluster is not None, _has_client()
                    self._owns_cluster = not given and not has_client
                    # The first argument is a cluster, and upstream takes an address there as well.
                    address = self._cluster if isinstance(self._cluster, str) else self.address
                    if address is not None and not has_client:
                        self._reach(address)
                    with dask.config.set(_own_workers()):
                        return super().client
        return self._client

    def map(self, *args: Any, **kwargs: Any) -> Any:
        futures = super().map(*args, **kwargs)
        return LeanFutureList(futures) if self._sending.on() else futures  # type: ignore[abstract]

    def cancel_all(self) -> None:
        """Cancel the tasks that have not finished: those that have not started never will."""
        if not self._sending.on():
            return
        unfinished = [future.wrapped_future for future in self._unfinished()]
        if unfinished and self._client is not None:
            self._client.cancel(unfinished, reason="the flow run is over")

    def __enter__(self) -> LeanDaskTaskRunner:
        super().__enter__()
        self._begin_events()
        # What is large Dask sends beside its pickles, without a copy.
        self._context = Context(future_type=distributed.Future, large_apart=True)
        return self

    def __exit__(self, *args: Any) -> None:
        if not self._sending.on():
            super().__exit__(*args)
            return
        stopped: list[tuple[str, str]] = []
        kept: dict[str, LeanDaskFuture] = {}
        try:
            if self._owns_cluster:
                kept = {future.wrapped_future.key: future for future in self._unfinished()}
                stopped = self._running()
            self.cancel_all()
            self._settle()
        finally:
            try:
                super().__exit__(*args)
            finally:
                self._end_recording()
        # They end with the workers of the cluster, which then cannot say so any more.
        for key, worker in stopped:
            if key in kept:
                kept[key].was_stopped(worker)
            elif (submitted := self._submitted_as(key)) is not None:
                submitted.crashed(_was_stopped(worker))

    def _reach(self, address: str) -> None:
        """Raises ConnectionError where no scheduler answers. Dask waits for ever for one that accepts and is silent."""
        security = self.client_kwargs.get("security")
        if isinstance(security, dict):
            security = Security(**security)
        connection_args = (security if isinstance(security, Security) else Security()).get_connection_args("client")

        async def shake_hands() -> None:
            limit_s = self.connect_timeout_s
            comm = await asyncio.wait_for(connect(address, timeout=limit_s, **connection_args), limit_s)
            await comm.close()

        # The flow may be in an event loop of its own.
        with ThreadPoolExecutor(1) as elsewhere:
            try:
                elsewhere.submit(asyncio.run, shake_hands()).result()
            except (TimeoutError, OSError) as why:
                raise self._no_answer(address) from why

    def _send(self, submitted: Submitted, package: Package) -> LeanDaskFuture:
        # With a key of its own, no argument is tokenized.
        key = f"{submitted.task.name}-{submitted.task_run_id}"
        wrapped = self.client.submit(
            # The scheduler unpickles and pickles what it passes on. It gets nothing but bytes, arrays and functions
            # that any process can import: neither side falls back from pickle to cloudpickle.
            operator.call,
            GraphTask(None, pickle.loads, shipping.pickled_runner()),
            package.call,
            package.shared,
            *package.upstream,
            key=key,
            pure=False,
        )
        if self.crash_reruns is not None:
            self.client.run_on_scheduler(_SET_DEATHS, key=key, reruns=self.crash_reruns)
        self._has_sent = True
        wrapped.task_run_id = submitted.task_run_id
        future = LeanDaskFuture(submitted, wrapped)
        self._submitted[submitted.task_run_id] = future
        return future

    def _count_processes(self) -> int:
        return len(self.client.nthreads())

    def _ends_its_workers(self) -> bool:
        # Without processes of their own, its workers end with this one.
        workers = getattr(self._cluster, "workers", {}) if self._owns_cluster else {}
        return any(isinstance(worker, distributed.Nanny) for worker in workers.values())

    def _unfinished(self) -> list[LeanDaskFuture]:
        return [future for future in unsettled(self._submitted) if not future.wrapped_future.done()]

    def _settle(self) -> None:
        """Record the deaths of workers whose tasks nobody has asked for."""
        for future in unsettled(self._submitted):
            # The client knows the status of what it has submitted.
            if future.wrapped_future.status == "error":
                future.wait(_ANSWER_S)

    def _running(self) -> list[tuple[str, str]]:
        """The keys of tasks that a worker is at, with its address, also of those that were let go of."""
        if self._client is None or not self._has_sent:
            return []
        try:
            # As `Client.run`, which would wait for ever for a worker that is ending by itself.
            run, seconds = self._client._run, _ANSWER_S
            found = self._client.sync(run, _KEYS_AT_WORK, on_error="ignore", callback_timeout=seconds)
        except (TimeoutError, OSError, RuntimeError):
            return []
        return [(key, worker) for worker, keys in found.items() for key in keys]

    def _submitted_as(self, key: str) -> Submitted | None:
        """A task run of which only the key is left."""
        try:
            name, task_run_id = key[:-37], UUID(key[-36:])
        except ValueError:
            # Something that a task has submitted by other means.
            return None
        return Submitted(Task(fn=_forgotten_task, name=name), task_run_id, self._flow_run_id, type(self).__name__)


def _forgotten_task() -> None:
    """Stands for the function of a task of which nothing is left but its key."""


def _was_stopped(worker: str) -> str:
    return f"Dask worker {worker} was stopped while it ran the task, because the flow run is over."


# Ctrl-C reaches every process of a terminal, and is the driver's to answer: it asks the workers what they are at.
_LEAVE_CTRL_C = """import signal, threading, multiprocessing
if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, lambda number, frame: None)
"""


def _own_workers() -> dict[str, Any]:
    """How Dask is to start the workers of a local cluster."""
    preload = dask.config.get("distributed.worker.preload", [])
    return {
        # A task may start processes. Workers of Dask may not where they are daemons.
        "distributed.worker.daemon": False,
        "distributed.worker.preload": [*([preload] if isinstance(preload, str) else preload), _LEAVE_CTRL_C],
    }


def _has_client() -> bool:
    """Whether the stock runner finds a client, of this task or of the user, whose cluster it takes for its own."""
    try:
        distributed.get_client()
    except ValueError:
        return False
    return True


class LeanDaskFuture(SettledFuture, PrefectDaskFuture[Any]):
    """A Dask future for which the death of its worker is a state of the task run, not an exception.

    A task that waits for it lends its slot.
    """

    def __init__(self, submitted: Submitted, wrapped_future: distributed.Future) -> None:
        super().__init__(task_run_id=submitted.task_run_id, wrapped_future=wrapped_future)
        self._submitted = submitted

    def wait(self, timeout: float | None = None) -> None:
        if self._final_state is not None:
            return
        try:
            with self.lent():
                result = self._wrapped_future.result(timeout=timeout)
        except Exception as error:
            result = self._ended_by(error)
        if isinstance(result, State):
            self._final_state = result

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        if self._final_state is None:
            try:
                with self.lent():
                    result = self._wrapped_future.result(timeout=timeout)
            except TimeoutError as late:
                message = f"Task run {self.task_run_id} did not complete within {timeout} seconds"
                raise TimeoutError(message) from late
            except Exception as error:
                if (result := self._ended_by(error)) is None:
                    raise
            self._final_state = result
        return self._final_state.result(raise_on_failure=raise_on_failure, _sync=True)  # type: ignore[union-attr, call-overload]

    def lent(self, alone: bool = True) -> AbstractContextManager[None]:
        """Lend the slot of the task that waits for this future to a task that its worker has not begun."""
        # Its own pool is what tells whether a thread of Dask's has a slot. That of an event loop has none.
        has_slot = getattr(thread_state, "proceed", False)
        return _seceded() if has_slot and not self._wrapped_future.done() else nullcontext()

    def _ended_by(self, error: Exception) -> State[Any] | None:
        """How the task run ended, if it did so outside of its engine. Else the time is up, or it was cancelled."""
        if isinstance(error, KilledWorker):
            return self._died(error)
        if isinstance(error, (TimeoutError, CancelledError, CancelledRun)):
            return None
        if self._wrapped_future.status not in ("finished", "error"):
            return None
        return self._submitted.failed(error)

    def was_stopped(self, worker: str) -> None:
        """The runner has ended the worker."""
        self._final_state = self._submitted.crashed(_was_stopped(worker))

    def _died(self, death: KilledWorker) -> State[Any]:
        if death.task != self._wrapped_future.key:
            # Dask gives the dependents of a task, which it never runs, the error of the task.
            return self._submitted.not_ready(f"'{str(death.task)[-36:]}' ")
        return self._submitted.crashed(
            f"Dask worker {death.last_worker.address} died while it ran the task, which is not to be run again."
        )


@contextmanager
def _seceded() -> Iterator[None]:
    distributed.secede()
    try:
        yield
    finally:
        # As soon as there is a slot again.
        distributed.rejoin()


def _set_deaths() -> Callable[..., Awaitable[None]]:
    # Nested, so that it is pickled by value: the scheduler need not have this project.
    async def set_deaths(key: str, reruns: int, dask_scheduler: Any = None) -> None:
        import asyncio

        # The graph with the task is on another connection and may come in later.
        for _ in range(1000):
            if (task := dask_scheduler.tasks.get(key)) is not None:
                # Counted per task, so that other users of the scheduler keep their number of reruns.
                task.suspicious = dask_scheduler.allowed_failures - reruns
                return
            await asyncio.sleep(0.005)

    return set_deaths


_SET_DEATHS = _set_deaths()


def _keys_at_work() -> Callable[..., list[str]]:
    def keys_at_work(dask_worker: Any = None) -> list[str]:
        return [task.key for task in dask_worker.state.executing | dask_worker.state.long_running]

    return keys_at_work


_KEYS_AT_WORK = _keys_at_work()
