"""What a flow and its tasks do, noted from within their processes: an entry a line, a file for each process.

Prefect's own seams carry it: the function of a task is wrapped in a copy of the task as it is submitted or called, so
that it travels to whatever process runs it, under any runner. Times are `time.monotonic`, which all processes of a
machine share; CPU is that of the thread.

Entries, by their `k`:

- `process`: the file's first. `runtime`: address of CPython's state, by which `sampler` tells a wait for the GIL.
- `flow`: the function of the flow begins or ends (`end`).
- `submit`: a task handed to a runner: `id`, `task`, `runner`, `where` in the user's code, `deps`, and how many of its
  arguments are futures themselves (`asks`).
- `call`: a task called directly; `call` is its number, which its `body` has as well.
- `subflow`: a flow was called within this one; its function, `name`, went on from `f0` to `f1`.
- `wait`: the thread waited for the task runs `ids`.
- `body`: one attempt of a task's function: `tags` of its run, `cpu`, `children` (CPU of all child processes that had
  ended, before it and after it), `queued` (waiting for a core), `arg` and `out` bytes as pickled, `walk` (CPU of
  Prefect's way through the items of its arguments), `key` (CPU of hashing them for a cache key), `failed`, and the
  `threads` that it has started and that have ended: thread, begin, end and CPU of each.
- `limit`: slots were taken of the concurrency limits `names`, `slots` of each, in the task run `id`: begun, had (`t1`)
  and given back (`t2`; None for a rate limit).
- `kept`: Prefect has written the result of the task run `id`, or gone through its items: `cpu`.
- `gil`: since its process began, what holds the GIL: the normal equations of a regression (`knocker`).
  `pool`: CPU of libraries' own threads while a task ran, `queued`: what these waited for a core.
- `pools`: threads of libraries in the process.
- `family`: at `t`, CPU so far (`cpu`) of each child process that lives.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import itertools
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from runner_lab.benchmarks.advise import limits
from runner_lab.benchmarks.advise.knocker import Knocker, queued_s

_SIZING_SHARE = 0.005
_SIZING_FREE_S = 0.05
"""Sizes of values are taken as long as that costs less than this share of the time, and this much at the start."""
_LARGEST_TEXT = 120
_DEEPEST = 6
"""Levels of a value in which futures are looked for."""
_PLAIN = {int, float, complex, bool, str, bytes, bytearray, type(None)}
"""Types whose values hold no future."""
_LEAST_KEPT_S = 0.0003
"""CPU seconds below which keeping a result is not noted: any run's takes that."""
_MOST_THREADS = 500
"""Threads of one attempt that are noted."""

_numbers = itertools.count()


class Probe:
    """The entries of one process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = os.getpid()
        self._file = os.open(Path(folder) / f"{self.pid}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._began_s = time.monotonic()
        self._sizing_s = 0.0
        self._sized: set[str] = set()
        self.knocker = Knocker(self)
        self.note(k="process", pid=self.pid, runtime=_runtime_address())

    def note(self, **entry: Any) -> None:
        os.write(self._file, json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def size(self, value: Any, of: str) -> int | None:
        """Bytes of `value` as pickled; None where that would cost too much, or does not work.

        Args:
            of: what it is, such as the result of a task; the first one of each is always taken.
        """
        began = time.monotonic()
        if of in self._sized and self._sizing_s > _SIZING_FREE_S + _SIZING_SHARE * (began - self._began_s):
            return None
        self._sized.add(of)
        try:
            return _pickled_bytes(value)
        except Exception:
            return None
        finally:
            self._sizing_s += time.monotonic() - began


_probe: Probe | None = None
_lock = threading.Lock()


def probe(folder: str) -> Probe:
    """That of this process, with its seams in place; a child that was forked gets its own."""
    global _probe
    if _probe is None or _probe.pid != os.getpid():
        with _lock:
            if _probe is None or _probe.pid != os.getpid():
                first = _probe is None
                _probe = Probe(folder)
                if first:
                    _install(folder)
    return _probe


def profiled(flow: Any, folder: str) -> Any:
    """A copy of a flow that notes what it does."""
    probe(folder)
    clone = copy.copy(flow)
    clone.fn = _flow_function(flow.fn)
    return clone


def _install(folder: str) -> None:
    from prefect import Flow, Task, results, task_engine
    from prefect.futures import PrefectFutureList
    from prefect.task_runners import TaskRunner

    threading.Thread.start = _noting_start(threading.Thread.start)  # type: ignore[method-assign, assignment]
    task_class = cast(Any, Task)
    task_class.__call__ = _noting_call(task_class.__call__, folder)
    flow_class = cast(Any, Flow)
    flow_class.__call__ = _noting_subflow(flow_class.__call__, folder)
    # Names of Prefect's own, which a release may drop: the profile then knows of no such time.
    engine = cast(Any, getattr(task_engine, "BaseTaskRunEngine", None))
    if hasattr(engine, "_resolve_parameters"):
        engine._resolve_parameters = _noting_cpu(engine._resolve_parameters, _walked_s)
    if hasattr(engine, "compute_transaction_key"):
        engine.compute_transaction_key = _noting_cpu(engine.compute_transaction_key, _keyed_s)
    if hasattr(results.ResultStore, "_persist_result_record"):
        store = cast(Any, results.ResultStore)
        store._persist_result_record = _noting_kept(store._persist_result_record, folder)
    if hasattr(task_engine, "link_state_to_task_run_result"):
        engines = cast(Any, task_engine)
        engines.link_state_to_task_run_result = _noting_kept(engines.link_state_to_task_run_result, folder)
    limits.watch(lambda **entry: probe(folder).note(k="limit", id=_task_run_id(), **entry))
    # What `.map` returns waits for all of them at once, and not by their own methods.
    _watch(PrefectFutureList, folder)
    for runner_class in _family(TaskRunner):
        if "submit" in vars(runner_class):
            runner_class.submit = _noting_submit(runner_class.submit, folder)


_walked_s: dict[str, float] = {}
_keyed_s: dict[str, float] = {}
"""By task run, until its body begins."""


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
        if took_s > _LEAST_KEPT_S and (run_id := _task_run_id()) is not None:
            probe(folder).note(k="kept", id=run_id, cpu=took_s)

    return noting


_here = threading.local()
"""Of a thread: the `body` that it runs, or that has started it."""


def _noting_start(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def noting(thread: threading.Thread) -> None:
        body: _Body | None = getattr(_here, "body", None)
        if body is not None:
            thread.run = functools.partial(body.run_thread, thread.run)  # type: ignore[method-assign]
        start(thread)

    return noting


def _family(of: Any) -> list[Any]:
    return [of, *(found for child in of.__subclasses__() for found in _family(child))]


def _noting_call(call: Callable[..., Any], folder: str) -> Callable[..., Any]:
    @functools.wraps(call)
    def noting(task: Any, *args: Any, **kwargs: Any) -> Any:
        here, number = probe(folder), next(_numbers)
        entry = {"k": "call", "call": number, "task": _name(task), "async": bool(task.isasync)} | _begun()
        entry["deps"] = _futures((args, kwargs))
        try:
            # An async one begins later, in a context of its own.
            return call(_measured(task, folder, number), *args, **kwargs)
        finally:
            here.note(**entry, where=_where(), **_ended())

    return noting


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
        self._name = str(getattr(flow.fn, "__name__", flow.name))[:_LARGEST_TEXT]
        self._entry: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._entry = _begun()

    def __exit__(self, *error: object) -> None:
        ended = _ended()
        # A flow that never came to its function was Prefect's all the time.
        whole = {"f0": ended["t1"], "f1": ended["t1"]} | self._entry
        probe(self._folder).note(k="subflow", name=self._name, **whole, **ended)

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
    def noting(runner: Any, task: Any, parameters: Any, wait_for: Any = None, **kwargs: Any) -> Any:
        from prefect.futures import PrefectFuture

        here = probe(folder)
        entry = {"k": "submit", "task": _name(task), "async": bool(task.isasync)} | _begun()
        deps = _futures((parameters, list(wait_for) if wait_for is not None else None))
        entry["asks"] = sum(isinstance(value, PrefectFuture) for value in parameters.values())
        future = submit(runner, _measured(task, folder), parameters, wait_for, **kwargs)
        _watch(type(future), folder)
        here.note(**entry, id=_id(future), deps=deps, runner=type(runner).__name__, where=_where(), **_ended())
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
                probe(folder).note(k="wait", ids=ids, **entry, **ended)

    return noting


def _begun() -> dict[str, Any]:
    return {"tid": threading.get_native_id(), "t0": time.monotonic(), "c0": time.thread_time()}


def _ended() -> dict[str, Any]:
    return {"t1": time.monotonic(), "c1": time.thread_time()}


def _id(future: Any) -> str:
    return str(getattr(future, "task_run_id", None) or id(future))


def _name(task: Any) -> str:
    return str(task.name)[:_LARGEST_TEXT]


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


def _measured(task: Any, folder: str, call: int | None = None) -> Any:
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
    clone.fn = wrap(task.fn, folder, _name(task), call)
    clone.fn._runner_lab_noted = True
    return clone


def _function(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    def noting(*args: Any, **kwargs: Any) -> Any:
        with _Body(folder, name, call, (args, kwargs)) as body:
            body.value = fn(*args, **kwargs)
            return body.value

    return noting


def _generator(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    def noting(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _Body(folder, name, call, (args, kwargs)):
            yield from fn(*args, **kwargs)

    return noting


def _async_function(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def noting(*args: Any, **kwargs: Any) -> Any:
        with _Body(folder, name, call, (args, kwargs), shared=True) as body:
            body.value = await _Stepped(fn(*args, **kwargs), body)
            return body.value

    return noting


def _async_generator(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def noting(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _Body(folder, name, call, (args, kwargs), shared=True):
            async for item in fn(*args, **kwargs):
                yield item

    return noting


def _flow_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def noting(*args: Any, **kwargs: Any) -> Any:
            _flow_mark(fn)
            try:
                return await fn(*args, **kwargs)
            finally:
                _flow_mark(fn, end=True)

        return noting
    if inspect.isasyncgenfunction(fn):

        @functools.wraps(fn)
        async def noting_items(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            _flow_mark(fn)
            try:
                async for item in fn(*args, **kwargs):
                    yield item
            finally:
                _flow_mark(fn, end=True)

        return noting_items
    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)
        def noting_each(*args: Any, **kwargs: Any) -> Iterator[Any]:
            _flow_mark(fn)
            try:
                yield from fn(*args, **kwargs)
            finally:
                _flow_mark(fn, end=True)

        return noting_each

    @functools.wraps(fn)
    def noting_sync(*args: Any, **kwargs: Any) -> Any:
        _flow_mark(fn)
        try:
            return fn(*args, **kwargs)
        finally:
            _flow_mark(fn, end=True)

    return noting_sync


def _flow_mark(fn: Callable[..., Any], end: bool = False) -> None:
    if _probe is not None:
        loop = inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)
        _probe.note(
            k="flow",
            **{"end": end, "async": loop},
            tid=threading.get_native_id(),
            t=time.monotonic(),
            c=time.thread_time(),
        )
        if end:
            _probe.knocker.save()


class _Body:
    """One attempt of a task's function.

    Args:
        shared: its thread runs others meanwhile: it is an event loop's, and `cpu_s` is counted step by step.
    """

    def __init__(self, folder: str, name: str, call: int | None, arguments: Any, shared: bool = False) -> None:
        self._probe = probe(folder)
        self._name = name
        self._shared = shared
        self._outer: _Body | None = None
        self._threads: list[tuple[int, float, float, float]] = []
        self.cpu_s = 0.0
        self.value: Any = None
        self._entry: dict[str, Any] = {"k": "body", "task": name, "pid": os.getpid(), "call": call}
        self._entry |= {
            "id": (run_id := _task_run_id()),
            "tags": _tags(),
            "walk": _walked_s.pop(run_id or "", 0.0),
            "key": _keyed_s.pop(run_id or "", 0.0),
            "arg": self._probe.size(arguments, f"arguments of {name}"),
            "async": shared,
        }

    def __enter__(self) -> _Body:
        tid = threading.get_native_id()
        self._entry |= {"tid": tid, "children": [_children_s()], "queued0": queued_s(tid)}
        if not self._shared:
            self._probe.knocker.enter(self, self._name)
            self._outer, _here.body = getattr(_here, "body", None), self
        self._entry |= {"t0": time.monotonic(), "c0": time.thread_time()}
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        entry = self._entry
        entry |= {"t1": time.monotonic(), "c1": time.thread_time(), "failed": kind is not None}
        entry["cpu"] = self.cpu_s if self._shared else entry["c1"] - entry["c0"]
        entry["children"].append(_children_s())
        queued = queued_s(entry["tid"])
        before = entry.pop("queued0")
        entry["queued"] = None if queued is None or before is None or self._shared else queued - before
        if not self._shared:
            _here.body = self._outer
            self._probe.knocker.leave(self)
        entry["threads"] = self._threads[:_MOST_THREADS]
        entry["out"] = self._probe.size(self.value, f"result of {self._name}") if kind is None else 0
        self._probe.note(**entry)

    def run_thread(self, run: Callable[[], None]) -> None:
        """Run a thread that the body has started, or one of its threads."""
        _here.body = self
        self._probe.knocker.enter(token := object(), self._name)
        began = time.monotonic()
        try:
            run()
        finally:
            self._threads.append((threading.get_native_id(), began, time.monotonic(), time.thread_time()))
            self._probe.knocker.leave(token)


class _Stepped:
    """An awaitable whose steps are timed: a coroutine's CPU apart from that of the others in its thread."""

    def __init__(self, coroutine: Any, body: _Body) -> None:
        self._coroutine = coroutine
        self._body = body

    def __await__(self) -> Any:
        inner = self._coroutine.__await__()
        given: Any = None
        thrown: BaseException | None = None
        while True:
            began = time.thread_time()
            try:
                asked = inner.send(given) if thrown is None else inner.throw(thrown)
            except StopIteration as end:
                return end.value
            finally:
                self._body.cpu_s += time.thread_time() - began
            given, thrown = None, None
            try:
                given = yield asked
            except BaseException as error:
                thrown = error


def _task_run_id() -> str | None:
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


def _pickled_bytes(value: Any) -> int:
    """Without copying what is large: buffers of arrays are counted, not written."""
    outside: list[Any] = []
    try:
        text = pickle.dumps(value, protocol=5, buffer_callback=outside.append)
    except Exception:
        import cloudpickle

        outside.clear()
        text = cloudpickle.dumps(value, protocol=5, buffer_callback=outside.append)
    return len(text) + sum(buffer.raw().nbytes for buffer in outside)


def _runtime_address() -> int | None:
    try:
        import ctypes

        return ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    except Exception:
        return None
