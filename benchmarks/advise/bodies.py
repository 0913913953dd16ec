"""The bodies of task runs, noted: each attempt of a task's function, whatever kind of function it is."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

from runner_lab.benchmarks.advise.knocker import queued_s
from runner_lab.benchmarks.advise.probe import LARGEST_TEXT, probe

_MOST_THREADS = 500
"""Threads of one attempt that are noted."""
WALKED_S: dict[str, float] = {}
KEYED_S: dict[str, float] = {}
"""By task run, until its body begins."""
BODY: ContextVar[Body | None] = ContextVar("runner_lab_body", default=None)
"""That is run here, or has started this thread."""


def by() -> str | None:
    body = BODY.get()
    return body.id if body is not None else None


def measured(task: Any, folder: str, call: int | None = None) -> Any:
    """A copy of the task whose function notes what it does.

    Args:
        call: number of a direct call.
    """
    if getattr(task.fn, "_runner_lab_noted", False):
        return task
    clone = copy.copy(task)
    wrap = _async_function if inspect.iscoroutinefunction(task.fn) else _function
    if inspect.isasyncgenfunction(task.fn):
        wrap = _async_generator
    elif inspect.isgeneratorfunction(task.fn):
        wrap = _generator
    clone.fn = wrap(task.fn, folder, task_name(task), call)
    clone.fn._runner_lab_noted = True
    return clone


def _function(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    def noting(*args: Any, **kwargs: Any) -> Any:
        with Body(folder, name, call, (args, kwargs)) as body:
            body.value = fn(*args, **kwargs)
            return body.value

    return noting


def _generator(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    def noting(*args: Any, **kwargs: Any) -> Iterator[Any]:
        # Between two items its thread does what is the consumer's.
        with Body(folder, name, call, (args, kwargs), shared=True) as body:
            items = fn(*args, **kwargs)
            while True:
                began_s, queued_before_s = time.monotonic(), queued_s() or 0.0
                try:
                    item = step(body, lambda: next(items))
                except StopIteration:
                    return
                finally:
                    body.ran_s += time.monotonic() - began_s
                    body.queued_s += (queued_s() or 0.0) - queued_before_s
                yield item

    return noting


def _async_function(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def noting(*args: Any, **kwargs: Any) -> Any:
        with Body(folder, name, call, (args, kwargs), shared=True, loop=True) as body:
            body.value = await Stepped(fn(*args, **kwargs), body)
            return body.value

    return noting


def _async_generator(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def noting(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with Body(folder, name, call, (args, kwargs), shared=True, loop=True) as body:
            items = fn(*args, **kwargs)
            while True:
                began_s = time.monotonic()
                try:
                    item = await Stepped(anext(items), body)
                except StopAsyncIteration:
                    return
                finally:
                    body.ran_s += time.monotonic() - began_s
                yield item

    return noting


class Spent:
    """CPU seconds, counted step by step."""

    cpu_s = 0.0


class Body(Spent):
    """One attempt of a task's function.

    Args:
        shared: its thread does other things meanwhile: CPU is counted step by step.
        loop: that is because it is an event loop's.
    """

    def __init__(
        self, folder: str, name: str, call: int | None, arguments: Any, shared: bool = False, loop: bool = False
    ) -> None:
        self._probe = probe(folder)
        self._name = name
        self._shared = shared
        self._outer: Body | None = None
        self._threads: list[tuple[int, float, float, float]] = []
        self.ran_s = 0.0
        """Of a generator: seconds in which it was asked for an item."""
        self.queued_s = 0.0
        """Of these, in which its thread had no core."""
        self.late_s: float | None = None
        """In an event loop: seconds from the begin of a round of the loop to the step in it, summed."""
        self.value: Any = None
        self._entry: dict[str, Any] = {"k": "body", "task": name, "pid": os.getpid(), "call": call}
        self._tid = 0
        self.id = task_run_id()
        self._entry |= {
            "id": self.id,
            "tags": _tags(),
            "walk": WALKED_S.pop(self.id or "", 0.0),
            "key": KEYED_S.pop(self.id or "", 0.0),
            "arg": self._probe.size(arguments, f"arguments of {name}"),
            "async": loop,
        }

    def __enter__(self) -> Body:
        tid = self._tid = threading.get_native_id()
        self._entry |= {"tid": tid, "children": [_children_s()], "queued0": queued_s()}
        if not self._shared:
            self._outer = BODY.get()
            self._probe.knocker.enter(self, self._name, self._calling())
            BODY.set(self)
        self._entry |= {"t0": time.monotonic(), "c0": time.thread_time()}
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        entry = self._entry
        entry |= {"t1": time.monotonic(), "c1": time.thread_time(), "failed": kind is not None}
        entry["cpu"] = self.cpu_s if self._shared else entry["c1"] - entry["c0"]
        entry["children"].append(_children_s())
        queued, before = queued_s(), entry.pop("queued0")
        entry["queued"] = (
            None if queued is None or before is None else self.queued_s if self._shared else queued - before
        )
        if self.ran_s:
            entry["ran"] = self.ran_s
        if self.late_s is not None:
            entry["late"] = self.late_s
        if not self._shared:
            BODY.set(self._outer)
            self._probe.knocker.leave(self, self._calling())
        entry["threads"] = self._threads[:_MOST_THREADS]
        entry["out"] = self._probe.size(self.value, f"result of {self._name}") if kind is None else 0
        self._probe.note(**entry)

    def _calling(self) -> Body | None:
        """The body that has called this one's task; what has submitted it may go on elsewhere."""
        return self._outer if self._outer is not None and self._outer._tid == self._tid else None

    def run_thread(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run what the body, or one of its threads, has given to another thread."""
        token = BODY.set(self)
        self._probe.knocker.enter(key := object(), self._name)
        began_s, began_cpu_s = time.monotonic(), time.thread_time()
        try:
            return run(*args, **kwargs)
        finally:
            cpu_s = time.thread_time() - began_cpu_s
            self._threads.append((threading.get_native_id(), began_s, time.monotonic(), cpu_s))
            self._probe.knocker.leave(key)
            BODY.reset(token)


def _late_s() -> float | None:
    """Seconds since the round of this thread's event loop began: others had their turn before. None where the loop does
    not tell."""
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        # Another library's loop.
        return None
    rounds = getattr(loop, "_runner_lab_rounds", None)
    if rounds is None:
        selector = getattr(loop, "_selector", None)
        if selector is None:
            return None
        rounds = loop._runner_lab_rounds = [time.monotonic()]
        select = selector.select

        def noting(timeout: float | None = None) -> Any:
            events = select(timeout)
            rounds[0] = time.monotonic()
            return events

        selector.select = noting
    return time.monotonic() - float(rounds[0])


def step(spent: Spent, advance: Callable[[], Any]) -> Any:
    """One step of what is run step by step."""
    token = BODY.set(spent) if isinstance(spent, Body) else None
    began_s = time.thread_time()
    try:
        return advance()
    finally:
        spent.cpu_s += time.thread_time() - began_s
        if token is not None:
            BODY.reset(token)


class Stepped:
    """An awaitable whose steps are timed: a coroutine's CPU apart from that of the others in its thread."""

    def __init__(self, coroutine: Any, spent: Spent) -> None:
        self._coroutine = coroutine
        self._spent = spent

    def __await__(self) -> Any:
        inner = self._coroutine.__await__()
        given: Any = None
        thrown: BaseException | None = None
        resumed = False
        while True:
            if resumed and isinstance(self._spent, Body) and (late_s := _late_s()) is not None:
                self._spent.late_s = (self._spent.late_s or 0.0) + late_s
            resumed = True
            try:
                asked = step(self._spent, lambda: inner.send(given) if thrown is None else inner.throw(thrown))  # noqa: B023
            except StopIteration as end:
                return end.value
            given, thrown = None, None
            try:
                given = yield asked
            except BaseException as error:
                thrown = error


def task_run_id() -> str | None:
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    return str(context.task_run.id) if context else None


def _tags() -> list[str]:
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    return sorted(context.task_run.tags) if context else []


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def task_name(task: Any) -> str:
    return str(task.name)[:LARGEST_TEXT]
