"""Threads that lend their slot while their task waits for another one, so that tasks that submit tasks always end."""

from __future__ import annotations

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Token
from dataclasses import dataclass
from functools import partial
from typing import Any

from prefect.context import TaskRunContext
from prefect.futures import PrefectFutureList

_here = threading.local()
"""Of a thread of an executor: its `slots`, whether it `holds` one, and the `parent` of the task that it runs."""


class LendingExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` of which no more than `size` tasks run at a time, those that wait for others not counted.

    A task that waits in its body lends its slot to a task that has not begun. One that waits before its body, for its
    arguments, lends it to tasks that have begun, and to others only where nothing else runs: a chain of a thousand
    tasks does not take a thousand threads.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        # As many threads as there are tasks that have begun. The queue says when there is to be another one.
        super().__init__(max_workers=1 << 20, **kwargs)
        self._slots = self._work_queue = _Slots(size)  # type: ignore[assignment]
        self._slots.add_thread = weakref.WeakMethod(self._add_thread)
        self._idle_semaphore = _NeverIdle()  # type: ignore[assignment]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(_run, TaskRunContext.get(), partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._shutdown_lock:
            # Before it cancels: what a task that runs submits meanwhile would run on while the flow ends.
            self._shutdown = True
            items = self._slots.drained() if cancel_futures else []
        for item in items:
            item.future.cancel()
        super().shutdown(wait=False)
        # A task that waits for others may begin a thread meanwhile.
        while wait and (alive := [thread for thread in tuple(self._threads) if thread.is_alive()]):
            for thread in alive:
                thread.join()

    def _adjust_thread_count(self) -> None:
        if self._slots.wants_thread():
            self._add_thread()

    def _add_thread(self) -> None:
        try:
            super()._adjust_thread_count()  # type: ignore[misc]
        except BaseException:
            self._slots.has_no_thread()
            raise


class _NeverIdle:
    """In the place of the count by which an executor tells whether a thread is idle: its queue knows better."""

    def acquire(self, timeout: float | None = None) -> bool:
        return False

    def release(self) -> None: ...


class _Slots:
    """The queue of an executor, which gives a task out only where there is a slot for it.

    A task takes its slot as it is given out, so that those that were submitted first have one first. Tasks of tasks
    come before those of the flow: else all of a wide flow would begin, and wait for theirs, before the first of these.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._startable = threading.Condition(self._lock)
        self._resumable = threading.Condition(self._lock)
        self._nested: deque[Any] = deque()
        self._items: deque[Any] = deque()
        self._taken = 0
        """Slots of tasks that run, or wait before their body."""
        self._running = 0
        self._resuming = 0
        """Tasks that want to run on: they come before those that have not begun."""
        self._idle = 0
        self._coming = 0
        """Threads that have been started and have not asked for a task yet."""
        self._closed = False
        self.add_thread: Callable[[], Callable[[], None] | None] = lambda: None

    # --- what an executor and its threads ask of a queue ---

    def put(self, item: Any) -> None:
        with self._lock:
            if item is None:
                self._closed = True
                self._startable.notify_all()
                return
            (self._nested if getattr(_here, "slots", None) is self else self._items).append(item)
            self._startable.notify()

    def get(self, block: bool = True) -> Any:
        with self._lock:
            if getattr(_here, "slots", None) is not self:
                _here.slots, _here.holds = self, False
                self._coming -= 1
            if _here.holds:
                _here.holds = False
                self._leave()
            while not self._may_start():
                if self._closed and not (self._nested or self._items):
                    return None
                if not block:
                    raise queue.Empty
                self._idle += 1
                self._startable.wait()
                self._idle -= 1
            _here.holds = True
            self._taken += 1
            self._running += 1
            return (self._nested or self._items).popleft()

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        return len(self._nested) + len(self._items)

    def drained(self) -> list[Any]:
        with self._lock:
            items = [*self._nested, *self._items]
            self._nested.clear()
            self._items.clear()
            return items

    # --- threads ---

    def wants_thread(self) -> bool:
        """Whether a thread more has something to do. It is counted on then."""
        with self._lock:
            return self._wants_thread()

    def has_no_thread(self) -> None:
        """The thread that it was to have could not be started."""
        with self._lock:
            self._coming -= 1

    def _wants_thread(self) -> bool:
        room = max(self._size - self._taken, 1 if self._running == 0 else 0)
        wanted = min(self.qsize(), room) > self._idle + self._coming
        self._coming += wanted
        return wanted

    def _may_start(self) -> bool:
        if not (self._nested or self._items) or self._resuming:
            return False
        return self._running < self._size and (self._taken < self._size or self._running == 0)

    # --- slots ---

    def _leave(self) -> None:
        self._taken -= 1
        self._running -= 1
        self._resumable.notify()

    @contextmanager
    def lent(self, in_body: bool, future: Future[Any] | None) -> Iterator[None]:
        with self._lock:
            self._running -= 1
            self._taken -= in_body
            self._resumable.notify()
            self._startable.notify_all()
            another = self._wants_thread()
        waiting = _Waiting()
        try:
            if another and (add_thread := self.add_thread()) is not None:
                add_thread()
            if future is not None:
                future.add_done_callback(partial(self._resumes, waiting))
            yield
        finally:
            self._resumes(waiting)
            with self._lock:
                while self._running >= self._size:
                    self._resumable.wait()
                self._resuming -= 1
                self._running += 1
                self._taken += in_body
                # What had to wait for this one.
                self._resumable.notify()
                self._startable.notify_all()

    def _resumes(self, waiting: _Waiting, _: object = None) -> None:
        """Said by whoever ends what is waited for: else a slot would go to a task that has not begun meanwhile."""
        with self._lock:
            self._resuming += not waiting.resumes
            waiting.resumes = True


@dataclass
class _Waiting:
    resumes: bool = False


def _run(parent: Any, call: Any) -> Any:
    _here.parent = parent
    try:
        return call()
    finally:
        _here.parent = None


def lent(future: Future[Any] | None = None) -> AbstractContextManager[None]:
    """Lend the slot of the task that this thread runs, if it runs one, until it is to run on: as `future` is done."""
    slots = getattr(_here, "slots", None)
    if slots is None or not _here.holds or getattr(_here, "waits", False):
        return nullcontext()
    return _waits(slots, future)


@contextmanager
def _waits(slots: _Slots, future: Future[Any] | None) -> Iterator[None]:
    in_body = _in_body()
    # What waits for several tasks may wait for each of them.
    _here.waits = True
    try:
        with slots.lent(in_body, future):
            yield
    finally:
        _here.waits = False


def _in_body() -> bool:
    """Whether the body of the task that this thread runs has begun.

    Its engine enters a context for it and then waits for its arguments, Pending. So does a task that a body calls: its
    context was entered within that of the body.
    """
    context = TaskRunContext.get()
    if context is None or context is _here.parent:
        return False
    entered_in = context._token.old_value if context._token else None
    outermost = entered_in is _here.parent or entered_in is Token.MISSING
    state = context.task_run.state
    return not (outermost and state is not None and state.is_pending())


class LeanFutureList(PrefectFutureList[Any]):
    """Futures of which the first that is waited for says how the slot of the waiting task is lent."""

    def wait(self, timeout: float | None = None) -> None:
        with self._lent():
            super().wait(timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        with self._lent():
            return super().result(timeout, raise_on_failure)

    def _lent(self) -> AbstractContextManager[None]:
        unfinished: Any = next((one for one in self if not _done(one)), None)
        return unfinished.lent(alone=False) if unfinished is not None else nullcontext()


def _done(future: Any) -> bool:
    return not hasattr(future, "lent") or future._final_state is not None or future.wrapped_future.done()
