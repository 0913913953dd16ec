"""Where Prefect is told to note: its classes and functions, replaced in the processes of a flow."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import itertools
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from runner_lab.benchmarks.advise import limits
from runner_lab.benchmarks.advise.bodies import (
    BODY,
    KEYED_S,
    WALKED_S,
    Spent,
    Stepped,
    by,
    measured,
    task_name,
    task_run_id,
)
from runner_lab.benchmarks.advise.probe import LARGEST_TEXT, Probe, probe

_DEEPEST = 6
"""Levels of a value in which futures are looked for."""
_PLAIN = {int, float, complex, bool, str, bytes, bytearray, type(None)}
"""Types whose values hold no future."""
_LEAST_KEPT_S = 0.0003
"""CPU seconds below which keeping a result is not noted: any run's takes that."""
_numbers = itertools.count()


def profiled(flow: Any, folder: str) -> Any:
    """A copy of a flow that notes what it does."""
    probe(folder)
    clone = copy.copy(flow)
    clone.fn = _flow_function(flow.fn, folder)
    return clone


def install(folder: str) -> None:
    """Once in a process, for as long as it lives."""
    from prefect import Flow, Task, results, task_engine
    from prefect.futures import PrefectFutureList
    from prefect.task_runners import TaskRunner

    threading.Thread.start = _noting_start(threading.Thread.start)  # type: ignore[method-assign, assignment]
    executor = cast(Any, ThreadPoolExecutor)
    executor.submit = _noting_executor(executor.submit)
    task_class = cast(Any, Task)
    task_class.__call__ = _noting_call(task_class.__call__, folder)
    flow_class = cast(Any, Flow)
    flow_class.__call__ = _noting_subflow(flow_class.__call__, folder)
    # Names of Prefect's own, which a release may drop: the profile then knows of no such time.
    engine = cast(Any, getattr(task_engine, "BaseTaskRunEngine", None))
    if hasattr(engine, "_resolve_parameters"):
        engine._resolve_parameters = _noting_cpu(engine._resolve_parameters, WALKED_S)
    if hasattr(engine, "compute_transaction_key"):
        engine.compute_transaction_key = _noting_cpu(engine.compute_transaction_key, KEYED_S)
    if hasattr(results.ResultStore, "_persist_result_record"):
        store = cast(Any, results.ResultStore)
        store._persist_result_record = _noting_kept(store._persist_result_record, folder)
    if hasattr(task_engine, "link_state_to_task_run_result"):
        engines = cast(Any, task_engine)
        engines.link_state_to_task_run_result = _noting_kept(engines.link_state_to_task_run_result, folder)
    limits.watch(lambda **entry: probe(folder).note(k="limit", id=task_run_id(), **entry))
    # What `.map` returns waits for all of them at once, and not by their own methods.
    _watch(PrefectFutureList, folder)
    # What a runner class inherits may be a mixin's, which is no runner.
    for runner_class in dict.fromkeys(base for child in _family(TaskRunner) for base in child.__mro__):
        if "submit" in vars(runner_class):
            runner_class.submit = _noting_submit(runner_class.submit, folder)


def _noting_cpu(method: Callable[[Any], Any], by_run: dict[str, float]) -> Callable[[Any], Any]:
    """A method of a task run's engine whose CPU seconds are kept."""

    @functools.wraps(method)
    def noting(engine: Any) -> Any:
        began = time.thread_time()
        try:
            return method(engine)
        finally:
            by_run[str(engine.task_run.id)] = time.thread_time() - began

    return noting


def _noting_kept(keep: Callable[..., None], folder: str) -> Callable[..., None]:
    @functools.wraps(keep)
    def noting(*args: Any, **kwargs: Any) -> None:
        began = time.thread_time()
        keep(*args, **kwargs)
        took_s = time.thread_time() - began
        if took_s > _LEAST_KEPT_S and (run_id := task_run_id()) is not None:
            probe(folder).note(k="kept", id=run_id, cpu=took_s)

    return noting


_here = threading.local()
"""Of a thread: whether a runner is `submitting` in it, whose threads are its own. Its tasks have copies of contexts."""


def _submitting() -> bool:
    return getattr(_here, "submitting", False)


def _noting_start(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def noting(thread: threading.Thread) -> None:
        body = BODY.get()
        # The threads of an executor outlive who has started them: what they do is told by `_noting_executor`.
        executors = getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread"
        if body is not None and not executors and not _submitting():
            thread.run = functools.partial(body.run_thread, thread.run)  # type: ignore[method-assign]
        start(thread)

    return noting


def _noting_executor(submit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(submit)
    def noting(executor: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        body = BODY.get()
        if body is None or _submitting():
            return submit(executor, fn, *args, **kwargs)
        return submit(executor, functools.partial(body.run_thread, fn), *args, **kwargs)

    return noting


def _family(of: Any) -> list[Any]:
    return [of, *(found for child in of.__subclasses__() for found in _family(child))]


def _noting_call(call: Callable[..., Any], folder: str) -> Callable[..., Any]:
    @functools.wraps(call)
    def noting(task: Any, *args: Any, **kwargs: Any) -> Any:
        here, number = probe(folder), next(_numbers)
        entry = {"k": "call", "call": number, "task": task_name(task), "async": bool(task.isasync)} | _begun()
        entry |= {"deps": _futures((args, kwargs)), "where": _where(), "by": by()}
        result: Any = None
        try:
            result = call(measured(task, folder, number), *args, **kwargs)
        finally:
            entry |= _ended()
            if not inspect.iscoroutine(result):
                here.note(**entry)
        return _through(result, here, entry) if inspect.iscoroutine(result) else result

    return noting


async def _through(coroutine: Any, here: Probe, entry: dict[str, Any]) -> Any:
    """An async task that was called: it begins later, in a context of its own."""
    spent = Spent()
    try:
        return await Stepped(coroutine, spent)
    finally:
        here.note(**entry, cpu=spent.cpu_s, done=time.monotonic())


def _noting_subflow(call: Callable[..., Any], folder: str) -> Callable[..., Any]:
    @functools.wraps(call)
    def noting(flow: Any, *args: Any, **kwargs: Any) -> Any:
        from prefect.context import FlowRunContext

        if FlowRunContext.get() is None or flow.isgenerator:
            return call(flow, *args, **kwargs)
        clone, span = copy.copy(flow), _Subflow(folder, flow)
        if flow.isasync:

            @functools.wraps(flow.fn)
            async def awaited(*fn_args: Any, **fn_kwargs: Any) -> Any:
                with span.function():
                    return await flow.fn(*fn_args, **fn_kwargs)

            async def through(coroutine: Any) -> Any:
                with span:
                    return await coroutine

            clone.fn = awaited
            return through(call(clone, *args, **kwargs))

        @functools.wraps(flow.fn)
        def called(*fn_args: Any, **fn_kwargs: Any) -> Any:
            with span.function():
                return flow.fn(*fn_args, **fn_kwargs)

        clone.fn = called
        with span:
            return call(clone, *args, **kwargs)

    return noting


class _Subflow:
    """One run of a flow within the flow: its call, and within that its function."""

    def __init__(self, folder: str, flow: Any) -> None:
        self._folder = folder
        self._name = _flow_name(flow)
        self._entry: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._entry = _begun()

    def __exit__(self, *error: object) -> None:
        ended = _ended()
        # A flow that never came to its function was Prefect's all the time.
        whole = {"f0": ended["t1"], "f1": ended["t1"]} | self._entry
        probe(self._folder).note(k="subflow", name=self._name, by=by(), **whole, **ended)

    @contextmanager
    def function(self) -> Iterator[None]:
        # The first attempt's begin, and the last one's end.
        self._entry.setdefault("f0", time.monotonic())
        try:
            yield
        finally:
            self._entry["f1"] = time.monotonic()


def _noting_submit(submit: Callable[..., Any], folder: str) -> Callable[..., Any]:
    @functools.wraps(submit)
    def noting(runner: Any, task: Any, parameters: Any, *args: Any, **kwargs: Any) -> Any:
        from prefect.context import FlowRunContext
        from prefect.futures import PrefectFuture

        if _submitting():
            # A runner's, on its way through the classes that it derives from.
            return submit(runner, task, parameters, *args, **kwargs)
        here = probe(folder)
        entry = {"k": "submit", "task": task_name(task), "async": bool(task.isasync)} | _begun()
        wait_for, *rest = args or (kwargs.pop("wait_for", None),)
        # One future or many; what is looked through here has to be there once more for the runner.
        wait_for = list(wait_for) if isinstance(wait_for, Iterator) else wait_for
        entry |= {"deps": _futures((parameters, wait_for)), "by": by(), "where": _where()}
        entry["asks"] = sum(isinstance(value, PrefectFuture) for value in parameters.values())
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None:
            entry["run"] = str(context.flow_run.id)
            if context.flow_run.parent_task_run_id is not None and context.flow is not None:
                entry["flow"] = _flow_name(context.flow)
        _here.submitting = True
        try:
            future = submit(runner, measured(task, folder), parameters, wait_for, *rest, **kwargs)
        finally:
            _here.submitting = False
        _watch(type(future), folder)
        here.note(**entry, id=_id(future), runner=type(runner).__name__, **_ended())
        return future

    return noting


_watched: set[type] = set()


def _watch(future_class: type, folder: str) -> None:
    if future_class in _watched:
        return
    _watched.add(future_class)
    for name in ("result", "wait"):
        method = getattr(future_class, name, None)
        if callable(method):
            setattr(future_class, name, _noting_wait(method, folder))


def _noting_wait(method: Callable[..., Any], folder: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def noting(future: Any, *args: Any, **kwargs: Any) -> Any:
        entry = _begun()
        try:
            return method(future, *args, **kwargs)
        finally:
            ended = _ended()
            # A result that was there already is worth no entry.
            if ended["t1"] - entry["t0"] > 0.0005:
                ids = [_id(one) for one in future] if isinstance(future, list) else [_id(future)]
                probe(folder).note(k="wait", ids=ids, by=by(), **entry, **ended)

    return noting


def _begun() -> dict[str, Any]:
    return {"tid": threading.get_native_id(), "t0": time.monotonic(), "c0": time.thread_time()}


def _ended() -> dict[str, Any]:
    return {"t1": time.monotonic(), "c1": time.thread_time()}


def _id(future: Any) -> str:
    return str(getattr(future, "task_run_id", None) or id(future))


def _flow_name(flow: Any) -> str:
    return str(getattr(flow.fn, "__name__", flow.name))[:LARGEST_TEXT]


def _futures(value: Any) -> list[str]:
    """The task runs whose results a value waits for.

    Prefect's own way through the items of a value takes microseconds an item, the flow would take longer for being
    looked at: this one passes over what is plain.
    """
    from prefect.futures import PrefectFuture
    from prefect.utilities.annotations import BaseAnnotation

    found: dict[str, None] = {}
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, PrefectFuture):
                found[_id(item)] = None
            elif isinstance(item, BaseAnnotation):
                below.append(item.unwrap())
            elif isinstance(item, Mapping):
                below += _not_plain(item.keys()) + _not_plain(item.values())
            elif isinstance(item, list | tuple | set | frozenset):
                below += _not_plain(item)
            elif dataclasses.is_dataclass(item) or hasattr(item, "model_fields_set"):
                below += _not_plain(getattr(item, "__dict__", {}).values())
        level = below
    return list(found)


def _not_plain(items: Collection[Any]) -> list[Any]:
    kinds = set(map(type, items)) - _PLAIN
    return [item for item in items if type(item) in kinds] if kinds else []


def _where() -> str:
    """`FILE:LINE` of the user's code that is being run."""
    frame = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in ("prefect", "prefect_dask", "prefect_ray", "prefect_lean", "runner_lab"):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        if module.startswith("runner_lab.flows"):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = cast(Any, frame.f_back)
    return ""


def _flow_function(fn: Callable[..., Any], folder: str) -> Callable[..., Any]:
    marked = functools.partial(_marked, folder, inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn))
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def noting(*args: Any, **kwargs: Any) -> Any:
            with marked():
                return await fn(*args, **kwargs)

        return noting
    if inspect.isasyncgenfunction(fn):

        @functools.wraps(fn)
        async def noting_items(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with marked():
                async for item in fn(*args, **kwargs):
                    yield item

        return noting_items
    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def noting_each(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with marked():
                yield from fn(*args, **kwargs)

        return noting_each

    @functools.wraps(fn)
    def noting_sync(*args: Any, **kwargs: Any) -> Any:
        with marked():
            return fn(*args, **kwargs)

    return noting_sync


@contextmanager
def _marked(folder: str, loop: bool) -> Iterator[None]:
    """Note where the flow's function begins and ends.

    Args:
        loop: it runs in an event loop.
    """
    here = probe(folder)

    def mark(end: bool) -> None:
        clocks = {"t": time.monotonic(), "c": time.thread_time()}
        here.note(k="flow", **{"end": end, "async": loop}, tid=threading.get_native_id(), **clocks)

    mark(end=False)
    try:
        yield
    finally:
        mark(end=True)
        here.knocker.save()
