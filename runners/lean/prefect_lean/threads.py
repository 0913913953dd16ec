"""Threads whose futures know their state, which send their events in bursts, and which forget a task that is over."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from uuid import UUID

from prefect.context import SyncClientContext
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.settings.context import get_current_settings
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from . import internals
from .context import LeanRunner
from .futures import LeanConcurrentFuture
from .internals.savings import CLIENTS, EVENTS, FUTURES, MENDED, PATIENCE
from .slots import LeanFutureList, LendingExecutor, lent


class LeanThreadPoolTaskRunner(LeanRunner, ThreadPoolTaskRunner[Any]):
    """`ThreadPoolTaskRunner` whose futures know their state.

    Args:
        record: `all` states of a task, or `final`: the last one only, where the task takes a few seconds at most.

    All other arguments are those of `ThreadPoolTaskRunner`.
    """

    _stock = ("prefect.task_runners", "ThreadPoolTaskRunner")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._end_events: Callable[[], None] = lambda: None
        self._end_mending: Callable[[], None] = lambda: None

    def __enter__(self) -> LeanThreadPoolTaskRunner:
        super().__enter__()
        if FUTURES.on():
            self._cancel_events = _CancelEvents()
            # Prefect before 3.7.8 has none.
            initializer = getattr(self, "_register_worker_thread", None)
            limited = self._max_workers < sys.maxsize
            executor = _LimitedExecutor if limited else _UnlimitedExecutor
            self._executor = executor(self._max_workers, initializer=initializer)
        if PATIENCE.on():
            internals.wait_no_longer()
        if MENDED.on():
            self._end_mending = internals.mend()
        if EVENTS.on():
            self._end_events = internals.events_here(self.record)
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        try:
            super().__exit__(exc_type, exc_value, traceback)
        finally:
            self._end_mending()
            self._end_events()

    def submit(  # type: ignore[override]
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectConcurrentFuture[Any]:
        stock = super().submit(task, parameters, wait_for, dependencies)
        if not FUTURES.on():
            return stock
        future = LeanThreadFuture(task_run_id=stock.task_run_id, wrapped_future=stock.wrapped_future)
        stock.wrapped_future.add_done_callback(
            partial(self._forget, stock.task_run_id, internals.flow_run_context()),
        )
        return future

    def map(self, *args: Any, **kwargs: Any) -> Any:
        futures = super().map(*args, **kwargs)
        return LeanFutureList(futures) if FUTURES.on() else futures  # type: ignore[abstract]

    def _warn_if_nested_submit_would_deadlock(self, task: Any) -> None:
        # It does not: a task that waits lends its slot.
        if not isinstance(self._executor, LendingExecutor):
            super()._warn_if_nested_submit_would_deadlock(task)

    def _forget(self, task_run_id: UUID, flow_run_context: Any, _: object) -> None:
        # Upstream keeps either for every task until the flow run is over.
        self._cancel_events.pop(task_run_id, None)
        internals.forget_no_assets(flow_run_context, task_run_id)

    def _arguments(self) -> dict[str, Any]:
        return super()._arguments() | {"max_workers": self._max_workers}


class _WithClients(ThreadPoolExecutor):
    """Tasks find a client of the API.

    Prefect makes one for every async task, and for every task of an async flow, and loads the CA bundle for each:
    a tenth of a second of CPU under the GIL.
    """

    def submit(self, run: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return super().submit(run, _with_client(fn) if CLIENTS.on() else fn, *args, **kwargs)


class _LimitedExecutor(_WithClients, LendingExecutor):
    """Of so many slots."""


class _UnlimitedExecutor(_WithClients):
    """A thread for every task."""


def _with_client(fn: Callable[..., Any]) -> Callable[..., Any]:
    """
    Args:
        fn: what Prefect runs in a thread: `asyncio.run` of an async task, or what runs another one.
    """
    return _run_async if fn is asyncio.run else partial(_run_sync, fn)


def _run_async(task: Coroutine[Any, Any, Any]) -> Any:
    async def with_client() -> Any:
        async with internals.async_client():
            return await task

    # The engine asks by a client that is not async as well.
    return _run_sync(asyncio.run, with_client())


def _run_sync(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # The flow's, unless that is async.
    if SyncClientContext.get() is not None:
        return fn(*args, **kwargs)
    with internals.thread_client(internals.client_key(get_current_settings())):
        return fn(*args, **kwargs)


class LeanThreadFuture(LeanConcurrentFuture):
    """A future that is waited for without a slot."""

    def wait(self, timeout: float | None = None) -> None:
        with self.lent():
            super().wait(timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        with self.lent():
            return super().result(timeout, raise_on_failure)

    def lent(self, alone: bool = True) -> AbstractContextManager[None]:
        """Lend the slot of the task that waits for this future. alone: and for no other."""
        if self._wrapped_future.done():
            return nullcontext()
        return lent(self._wrapped_future if alone else None)


class _CancelEvents(dict[UUID, threading.Event]):
    """Upstream goes through the values while threads take the event of a task that is over out, and put others in."""

    def values(self) -> Any:
        # A list is made of them in one step, in which no other thread has a turn.
        return list(super().values())
