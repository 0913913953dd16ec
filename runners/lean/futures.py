"""Futures that know their final state, and say the same of it by `.state`, `.wait()` and `.result()`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from prefect.futures import PrefectConcurrentFuture, PrefectWrappedFuture
from prefect.states import State


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


def when_done(futures: Iterable[Future[Any]], then: Callable[[], None]) -> None:
    """Call `then` once all `futures` are done: in this thread, or in the one that finishes the last of them."""
    pending = set(futures)
    left = len(pending) + 1
    lock = threading.Lock()

    def one_done(_: object = None) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            then()

    for future in pending:
        future.add_done_callback(one_done)
    one_done()
