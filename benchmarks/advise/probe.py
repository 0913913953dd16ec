"""What a flow and its tasks do, noted from within their processes: an entry a line, a file for each process.

Prefect's own seams carry it: the function of a task is wrapped in a copy of the task as it is submitted or called, so
that it travels to whatever process runs it, under any runner. Times are `time.monotonic`, which all processes of a
machine share; CPU is that of the thread.

Entries, by their `k`:

- `process`: the file's first. `runtime`: address of CPython's state, by which `sampler` tells a wait for the GIL.
- `flow`: the function of the flow begins or ends (`end`).
- `submit`: a task handed to a runner: `id`, `task`, `runner`, `where` in the user's code, `deps`, how many of its
  arguments are futures themselves (`asks`), the flow run that does it (`run`), and the name of that flow where it is
  a sub-flow (`flow`).
- `call`: a task called directly; `call` is its number, which its `body` has as well. What goes on behind the call, as
  a coroutine does, took `cpu` until it was `done`.
- `subflow`: a flow was called within this one; its function, `name`, went on from `f0` to `f1`.
- `wait`: the thread waited for the task runs `ids`.
  These four have the task run whose body did it (`by`; None: the flow's own code).
- `body`: one attempt of a task's function: `tags` of its run, `cpu`, `children` (CPU of all child processes that had
  ended, before it and after it), `queued` (waiting for a core), `late` (of an async one: waiting for others in its
  event loop), `ran` (of a generator: making its items), `arg` and `out` bytes as pickled, `walk` (CPU of
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

import asyncio
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
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
    executor = cast(Any, ThreadPoolExecutor)
    executor.submit = _noting_executor(executor.submit)
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
    # What a runner class inherits may be a mixin's, which is no runner.
    for runner_class in dict.fromkeys(base for child in _family(TaskRunner) for base in child.__mro__):
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


_body: ContextVar[_Body | None] = ContextVar("runner_lab_body", default=None)
"""That is run here, or has started this thread."""
_here = threading.local()
"""Of a thread: whether a runner is `submitting` in it, whose threads are its own. Its tasks have copies of contexts."""


def _submitting() -> bool:
    return getattr(_here, "submitting", False)


def _by() -> str | None:
    body = _body.get()
    return body.id if body is not None else None


def _noting_start(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def noting(thread: threading.Thread) -> None:
        body = _body.get()
        # The threads of an executor outlive who has started them: what they do is told by `_noting_executor`.
        executors = getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread"
        if body is not None and not executors and not _submitting():
            thread.run = functools.partial(body.run_thread, thread.run)  # type: ignore[method-assign]
        start(thread)

    return noting


def _noting_executor(submit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(submit)
    def noting(executor: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        body = _body.get()
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
        entry = {"k": "call", "call": number, "task": _name(task), "async": bool(task.isasync)} | _begun()
        entry |= {"deps": _futures((args, kwargs)), "where": _where(), "by": _by()}
        result: Any = None
        try:
            result = call(_measured(task, folder, number), *args, **kwargs)
        finally:
            entry |= _ended()
            if not inspect.iscoroutine(result):
                here.note(**entry)
        return _through(result, here, entry) if inspect.iscoroutine(result) else result

    return noting


async def _through(coroutine: Any, here: Probe, entry: dict[str, Any]) -> Any:
    """An async task that was called: it begins later, in a context of its own."""
    spent = _Spent()
    try:
        return await _Stepped(coroutine, spent)
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
        probe(self._folder).note(k="subflow", name=self._name, by=_by(), **whole, **ended)

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
        entry = {"k": "submit", "task": _name(task), "async": bool(task.isasync)} | _begun()
        wait_for, *rest = args or (kwargs.pop("wait_for", None),)
        # One future or many; what is looked through here has to be there once more for the runner.
        wait_for = list(wait_for) if isinstance(wait_for, Iterator) else wait_for
        entry |= {"deps": _futures((parameters, wait_for)), "by": _by(), "where": _where()}
        entry["asks"] = sum(isinstance(value, PrefectFuture) for value in parameters.values())
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None:
            entry["run"] = str(context.flow_run.id)
            if context.flow_run.parent_task_run_id is not None and context.flow is not None:
                entry["flow"] = _flow_name(context.flow)
        _here.submitting = True
        try:
            future = submit(runner, _measured(task, folder), parameters, wait_for, *rest, **kwargs)
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
                probe(folder).note(k="wait", ids=ids, by=_by(), **entry, **ended)

    return noting


def _begun() -> dict[str, Any]:
    return {"tid": threading.get_native_id(), "t0": time.monotonic(), "c0": time.thread_time()}


def _ended() -> dict[str, Any]:
    return {"t1": time.monotonic(), "c1": time.thread_time()}


def _id(future: Any) -> str:
    return str(getattr(future, "task_run_id", None) or id(future))


def _name(task: Any) -> str:
    return str(task.name)[:_LARGEST_TEXT]


def _flow_name(flow: Any) -> str:
    return str(getattr(flow.fn, "__name__", flow.name))[:_LARGEST_TEXT]


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
        # Between two items its thread does what is the consumer's.
        with _Body(folder, name, call, (args, kwargs), shared=True) as body:
            items = fn(*args, **kwargs)
            while True:
                began_s = time.monotonic()
                try:
                    item = _step(body, lambda: next(items))
                except StopIteration:
                    return
                finally:
                    body.ran_s += time.monotonic() - began_s
                yield item

    return noting


def _async_function(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def noting(*args: Any, **kwargs: Any) -> Any:
        with _Body(folder, name, call, (args, kwargs), shared=True, loop=True) as body:
            body.value = await _Stepped(fn(*args, **kwargs), body)
            return body.value

    return noting


def _async_generator(fn: Callable[..., Any], folder: str, name: str, call: int | None) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def noting(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _Body(folder, name, call, (args, kwargs), shared=True, loop=True) as body:
            items = fn(*args, **kwargs)
            while True:
                began_s = time.monotonic()
                try:
                    item = await _Stepped(anext(items), body)
                except StopAsyncIteration:
                    return
                finally:
                    body.ran_s += time.monotonic() - began_s
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


class _Spent:
    """CPU seconds, counted step by step."""

    cpu_s = 0.0


class _Body(_Spent):
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
        self._outer: _Body | None = None
        self._threads: list[tuple[int, float, float, float]] = []
        self.ran_s = 0.0
        """Of a generator: seconds in which it was asked for an item."""
        self.late_s: float | None = None
        """In an event loop: seconds from the begin of a round of the loop to the step in it, summed."""
        self.value: Any = None
        self._entry: dict[str, Any] = {"k": "body", "task": name, "pid": os.getpid(), "call": call}
        self._tid = 0
        self.id = _task_run_id()
        self._entry |= {
            "id": self.id,
            "tags": _tags(),
            "walk": _walked_s.pop(self.id or "", 0.0),
            "key": _keyed_s.pop(self.id or "", 0.0),
            "arg": self._probe.size(arguments, f"arguments of {name}"),
            "async": loop,
        }

    def __enter__(self) -> _Body:
        tid = self._tid = threading.get_native_id()
        self._entry |= {"tid": tid, "children": [_children_s()], "queued0": queued_s(tid)}
        if not self._shared:
            self._outer = _body.get()
            self._probe.knocker.enter(self, self._name, self._calling())
            _body.set(self)
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
        if self.ran_s:
            entry["ran"] = self.ran_s
        if self.late_s is not None:
            entry["late"] = self.late_s
        if not self._shared:
            _body.set(self._outer)
            self._probe.knocker.leave(self, self._calling())
        entry["threads"] = self._threads[:_MOST_THREADS]
        entry["out"] = self._probe.size(self.value, f"result of {self._name}") if kind is None else 0
        self._probe.note(**entry)

    def _calling(self) -> _Body | None:
        """The body that has called this one's task; what has submitted it may go on elsewhere."""
        return self._outer if self._outer is not None and self._outer._tid == self._tid else None

    def run_thread(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run what the body, or one of its threads, has given to another thread."""
        token = _body.set(self)
        self._probe.knocker.enter(key := object(), self._name)
        began_s, began_cpu_s = time.monotonic(), time.thread_time()
        try:
            return run(*args, **kwargs)
        finally:
            cpu_s = time.thread_time() - began_cpu_s
            self._threads.append((threading.get_native_id(), began_s, time.monotonic(), cpu_s))
            self._probe.knocker.leave(key)
            _body.reset(token)


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


def _step(spent: _Spent, advance: Callable[[], Any]) -> Any:
    """One step of what is run step by step."""
    token = _body.set(spent) if isinstance(spent, _Body) else None
    began_s = time.thread_time()
    try:
        return advance()
    finally:
        spent.cpu_s += time.thread_time() - began_s
        if token is not None:
            _body.reset(token)


class _Stepped:
    """An awaitable whose steps are timed: a coroutine's CPU apart from that of the others in its thread."""

    def __init__(self, coroutine: Any, spent: _Spent) -> None:
        self._coroutine = coroutine
        self._spent = spent

    def __await__(self) -> Any:
        inner = self._coroutine.__await__()
        given: Any = None
        thrown: BaseException | None = None
        resumed = False
        while True:
            if resumed and isinstance(self._spent, _Body) and (late_s := _late_s()) is not None:
                self._spent.late_s = (self._spent.late_s or 0.0) + late_s
            resumed = True
            try:
                asked = _step(self._spent, lambda: inner.send(given) if thrown is None else inner.throw(thrown))  # noqa: B023
            except StopIteration as end:
                return end.value
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
