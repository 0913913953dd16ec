"""What runs in a worker. Shipped there as source text together with `internals` (see `shipping`)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import operator
import pickle
import sys
import threading
from collections.abc import Sequence
from typing import Any

import cloudpickle
from prefect.exceptions import CancelledRun
from prefect.task_engine import run_task_async, run_task_sync
from prefect.task_runners import ThreadPoolTaskRunner

from . import internals

# A worker serves one or few flow runs at a time; each value below is rebuilt once and then serves every task.
_settings: internals.Recent[internals.Settings] = internals.Recent()
_flow_runs: internals.Recent[internals.RebuiltFlowRun] = internals.Recent()
_loading = threading.local()

_LEAN_ONLY = ("connect_timeout_s", "crash_reruns", "record")
"""Arguments of lean runners that their stock bases do not take."""


def run(call: bytes, shared: bytes, upstream: Sequence[Any]) -> Any:
    """Run one task of a driver's `Context.pack` and return its final state.

    `upstream` are what the call leaves out: the states of the futures among the task's arguments, which the engine has
    resolved, and what is large.
    """
    return internals.portable(_run_call(call, shared, upstream))


def _run_call(call: bytes, shared: bytes, upstream: Sequence[Any]) -> Any:
    _loading.upstream = [internals.writable(value) for value in upstream] if _ray() is not None else upstream
    try:
        fields: dict[str, Any] = pickle.loads(call)
    finally:
        _loading.upstream = ()
    _as_in_main(fields["task"])
    if internals.savings.PATIENCE.on():
        internals.log_lines_wait_no_longer()
    rest: dict[str, Any] = fields.pop("context")
    recording = internals.Recording(*fields.pop("recording"))
    parts: dict[str, tuple[str, bytes]] = pickle.loads(shared)
    # What was packed to be rebuilt once, where that is not to be had.
    for name, saving in (("settings", internals.savings.SETTINGS), ("flow_run", internals.savings.FLOW_RUN)):
        if name in parts and not saving.on():
            rest[f"{name}_context"] = internals.unpacked(parts.pop(name)[1])
    parameters = pickle.loads(parts.pop("parameters")[1]) if "parameters" in parts else None
    if parameters is not None and "flow_run_context" in rest:
        rest["flow_run_context"]["parameters"] = parameters
    if fields.pop("whole_context") or not internals.savings.CONTEXT.on():
        _stop_if_cancelled()
        return _run(fields, context=rest)

    settings, flow_run = None, None
    if found := parts.get("settings"):
        settings_name, data = found
        settings = _settings.get(settings_name, lambda: internals.Settings(data))
    if found := parts.get("flow_run"):
        name, flow_run_data = found

        def flow_run(client: Any) -> internals.RebuiltFlowRun:
            # Defaults of the context come from the settings, so a flow run is rebuilt for each of them.
            key = (
                name,
                parts["settings"][0] if settings else internals.digest(cloudpickle.dumps(rest.get("settings_context"))),
            )
            return _flow_runs.get(key, lambda: internals.RebuiltFlowRun(flow_run_data, client))

    with internals.entered(settings, flow_run, parameters, rest, recording):
        _stop_if_cancelled()
        try:
            return _run(fields)
        except BaseException:
            # Whoever interrupts a task may end its process next, and with it the events that tell of the end.
            internals.flush_events()
            raise


def _stop_if_cancelled() -> None:
    """Raise if the engine has cancelled the task since the worker took it.

    Unpacking it may have taken the import of Prefect: seconds in which Dask cannot stop it any more, and in which the
    interrupt of Ray gets lost.
    """
    if _cancelled():
        raise CancelledRun("The task was cancelled before it began.")


def _ray() -> Any:
    # Not imported here: a worker of one engine need not have the other. Prefect loads prefect-ray into workers that
    # have it, and with it a lazy `ray`: to touch that one would import Ray, 30 MB in each process.
    return sys.modules.get("ray") if "ray._private.worker" in sys.modules else None


def _cancelled() -> bool:
    ray = _ray()
    distributed = sys.modules.get("distributed")
    # Either may be loaded where it does not run this task, and then has no answer.
    if ray is not None:
        with contextlib.suppress(RuntimeError, AttributeError):
            if ray.is_initialized():
                return bool(ray.get_runtime_context().is_canceled())
    if distributed is not None:
        with contextlib.suppress(LookupError, ValueError, AttributeError):
            worker = distributed.get_worker()
            return bool(worker.state.tasks[worker.get_current_task()].state == "cancelled")
    return False


def _run(fields: dict[str, Any], context: dict[str, Any] | None = None) -> Any:
    leaves = internals.results_leave if internals.savings.RESULTS.on() else contextlib.nullcontext
    with leaves(fields["task_run_id"]):
        return _run_engine(fields, context)


def _run_engine(fields: dict[str, Any], context: dict[str, Any] | None) -> Any:
    if not fields["task"].isasync:
        return run_task_sync(**fields, return_type="state", context=context)

    async def run_async() -> Any:
        if context is not None or not internals.savings.CLIENTS.on():
            return await run_task_async(**fields, return_type="state", context=context)
        async with internals.async_client():
            return await run_task_async(**fields, return_type="state")

    return asyncio.run(run_async())


def _as_in_main(task: Any) -> None:
    """Let a task hand functions of its script to processes of its own, where this one has imported the script as well.

    They came by value, and `pickle` takes a function for one of the script only if it is the very same.
    """
    if getattr(task.fn, "__module__", None) != "__main__":
        return
    main = sys.modules.get("__main__")
    # Tasks of other threads may add to them meanwhile.
    for name, value in list(getattr(task.fn, "__globals__", {}).items()):
        if getattr(value, "__module__", None) != "__main__" or not hasattr(value, "__code__"):
            continue
        own = getattr(main, name, None)
        if own is not value and getattr(own, "__code__", None) == value.__code__:
            setattr(main, name, value)


def upstream_value(index: int) -> Any:
    """Stands for an upstream future, or for what is large, in a pickled call."""
    return _loading.upstream[index]


def revive_runner(origins: Sequence[tuple[str, str]], kwargs: dict[str, Any]) -> Any:
    """Stands for a lean runner in what is shipped, where it serves the tasks that tasks submit.

    Itself where its module is installed, else the lean runner that it derives from, else their stock base, the last of
    `origins`. Where the integration is missing too, threads.
    """
    # The stock base knows nothing of what the lean one adds.
    stock_kwargs = {name: value for name, value in kwargs.items() if name not in _LEAN_ONLY}
    for origin in origins:
        try:
            # A class of a script is not in the `__main__` of a worker, and one of a user may take other arguments.
            runner = operator.attrgetter(origin[1])(importlib.import_module(origin[0]))
            return runner(**(stock_kwargs if origin == origins[-1] else kwargs))
        except (ImportError, AttributeError, TypeError):
            continue
    return ThreadPoolTaskRunner()
