"""Futures that know their final state, and say the same of it by `.state`, `.wait()` and `.result()`."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from prefect.futures import PrefectConcurrentFuture, PrefectWrappedFuture
from prefect.states import State

F = TypeVar("F", bound=PrefectWrappedFuture[Any, Any])


class SettledFuture(PrefectWrappedFuture[Any, Any]):
    """A future whose `.state` needs no API call once the wrapped future is done.

    The task run engine asks every upstream future among a task's parameters for its state; Prefect's futures answer
    with a request to the API although the wrapped future holds the state.
    """

    @property
    def state(self) -> State[Any]:
        if self._final_state is None and self._wrapped_future.done():
            self._settle()
        return self._final_state or super().state

    def _settle(self) -> None:
        self.wait()


class LeanConcurrentFuture(SettledFuture, PrefectConcurrentFuture[Any]):
    """Of a thread or process pool."""

    def _settle(self) -> None:
        # `wait` raises what the wrapped future raises, and a flow run suspension: neither belongs to reading a state.
        if not self._wrapped_future.cancelled() and self._wrapped_future.exception() is None:
            result = self._wrapped_future.result()
            if isinstance(result, State):
                self._final_state = result


def unsettled(futures: WeakValueDictionary[UUID, F]) -> list[F]:
    """Those that somebody keeps and whose final state nobody has asked for."""
    # Not `values()`, which fails where another thread submits meanwhile.
    kept = [future for reference in futures.valuerefs() if (future := reference()) is not None]
    return [future for future in kept if future._final_state is None]


def when_done(futures: Iterable[Future[Any]], then: Callable[[], None]) -> None:
    """Call `then` once all `futures` are done: in this thread, or in the one that finishes the last of them."""
    pending = set(futures)
    left = len(pending) + 1
    lock = threading.Lock()
    due: list[Callable[[], None]] = [then]

    def one_done(_: object = None) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            # A future keeps its callbacks when it is done, and they would keep all that `then` refers to.
            due.pop()()

    for future in pending:
        future.add_done_callback(one_done)
    one_done()


_failing = threading.local()


def fail(future: Future[Any], failure: BaseException) -> None:
    """As `set_exception`, which makes the futures that wait for this one fail in turn.

    One within the other, as callbacks are called, they would come to the recursion limit in a chain of some 200, and
    the rest of it would never be done. A thread that is at it already is left to go on with this one.
    """
    if (waiting := getattr(_failing, "waiting", None)) is not None:
        waiting.append((future, failure))
        return
    _failing.waiting = waiting = deque([(future, failure)])
    try:
        while waiting:
            future, failure = waiting.popleft()
            # The flow may have cancelled it.
            with contextlib.suppress(InvalidStateError):
                future.set_exception(failure)
    finally:
        _failing.waiting = None
