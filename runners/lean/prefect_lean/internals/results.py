"""A result that cannot leave the process of its task fails the task, where it would else be recorded as Completed."""

from __future__ import annotations

import datetime
import decimal
import inspect
import pickle
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import cloudpickle
from prefect.task_engine import AsyncTaskRunEngine, SyncTaskRunEngine

_leaves: ContextVar[Any] = ContextVar("lean_result_leaves", default=None)
"""The id of the task run whose result is sent to another process. Tasks that its body calls keep theirs."""

_PLAIN = frozenset(
    (
        *(type(None), bool, int, float, complex, str, bytes, bytearray),
        *(uuid.UUID, decimal.Decimal, datetime.date, datetime.datetime, datetime.timedelta),
    )
)

# To look into longer ones takes longer than to pickle them.
_LONGEST = 16

_checking = threading.Lock()


@contextmanager
def results_leave(task_run_id: Any) -> Iterator[None]:
    """Have the task run fail if its result does not pickle: by its engine, with the reason, retried as any error."""
    _check()
    token = _leaves.set(task_run_id)
    try:
        yield
    finally:
        _leaves.reset(token)


def _check() -> None:
    # For as long as the process lives: a task may end at any moment. It asks for the task run.
    with _checking:
        if getattr(SyncTaskRunEngine.handle_success, "checks", None) is _leaves:
            return
        handle_success, handle_success_async = SyncTaskRunEngine.handle_success, AsyncTaskRunEngine.handle_success

        def checked(self: Any, result: Any, transaction: Any) -> Any:
            _raise_if_it_stays(self, result)
            return handle_success(self, result, transaction=transaction)

        async def checked_async(self: Any, result: Any, transaction: Any) -> Any:
            _raise_if_it_stays(self, result)
            return await handle_success_async(self, result, transaction=transaction)

        checked.checks = _leaves  # type: ignore[attr-defined]
        SyncTaskRunEngine.handle_success = checked  # type: ignore[method-assign]
        AsyncTaskRunEngine.handle_success = checked_async  # type: ignore[method-assign, assignment]


def _raise_if_it_stays(engine: Any, result: Any) -> None:
    # What a generator yields is sent as a list, and this is not that yet.
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        return
    if _is_plain(result) or (task_run_id := _leaves.get()) is None or engine.task_run.id != task_run_id:
        return
    if (reason := _unpicklable(result)) is not None:
        raise TypeError(
            f"The result of task {engine.task.name!r} cannot be sent to another process: {reason}."
            " Return what it was made from, such as a path or a key."
        ) from reason


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind in (list, tuple, set) and len(value) <= _LONGEST:
        return all(type(item) in _PLAIN for item in value)
    if kind is dict and len(value) <= _LONGEST:
        return all(type(key) in _PLAIN and type(item) in _PLAIN for key, item in value.items())
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is numpy.ndarray and not value.dtype.hasobject


def _unpicklable(value: Any) -> Exception | None:
    try:
        # What is large and contiguous is not copied.
        cloudpickle.Pickler(_Nowhere(), protocol=5, buffer_callback=lambda buffer: None).dump(value)
    except Exception as reason:
        ray = sys.modules.get("ray") if "ray._private.worker" in sys.modules else None
        if ray is not None and _ray_sends(ray, value):
            return None
        return reason
    return None


def _ray_sends(ray: Any, value: Any) -> bool:
    """Whether Ray has a serializer of the user's for it, or one of its own."""
    try:
        ray._private.worker.global_worker.get_serialization_context().serialize(value)
    except Exception:
        return False
    return True


class _Nowhere:
    def write(self, data: bytes | pickle.PickleBuffer) -> int:
        return len(data)  # type: ignore[arg-type]
