"""Exceptions that come out of a pickle as they went in, and arrays that a task may work in place on."""

from __future__ import annotations

import copyreg
import pickle
import sys
from typing import Any

import cloudpickle
from prefect.results import ResultRecord
from prefect.states import Failed, State


def portable(state: Any) -> Any:
    """The final state of a task, in a form that another process can load.

    The exception of a class whose `__init__` takes more than it hands on pickles well and cannot be loaded. Its class,
    text and attributes can, without `__init__`. Where even that fails the state has an exception that says so.
    """
    if not isinstance(state, State) or state.is_completed():
        return state
    exception = state.data.result if isinstance(state.data, ResultRecord) else state.data
    if not isinstance(exception, BaseException) or _survives(exception):
        return state
    copyreg.pickle(type(exception), _reduce)  # type: ignore[arg-type]
    if _survives(exception):
        return state
    for name, value in list(vars(exception).items()):
        if not _survives(value):
            # A lock, say, or an open file.
            delattr(exception, name)
    if _survives(exception):
        return state
    return Failed(
        message=state.message,
        data=RuntimeError(
            f"{type(exception).__qualname__}: {exception} (an exception of this class cannot be sent between processes:"
            " give it a __reduce__)"
        ),
        state_details=state.state_details,
    )


def _survives(value: Any) -> bool:
    try:
        return type(pickle.loads(cloudpickle.dumps(value))) is type(value)
    except Exception:
        return False


def _reduce(exception: BaseException) -> tuple[Any, ...]:
    return copyreg.__newobj__, (type(exception), *exception.args), vars(exception) or None  # type: ignore[attr-defined]


# To look into longer ones takes longer than most tasks.
_LONGEST = 10_000


def writable(value: Any) -> Any:
    """The value, with a copy of each array in it that is a view of memory which others read as well.

    Ray hands out such views. A task may work in place on what it is given, under Ray as elsewhere.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return value
    if isinstance(value, numpy.ndarray):
        return value if value.flags.writeable else value.copy(order="K")
    if type(value) in (list, tuple) and len(value) <= _LONGEST:
        items = [writable(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else type(value)(items)
    if type(value) is dict and len(value) <= _LONGEST:
        for key, item in value.items():
            value[key] = writable(item)
        return value
    if isinstance(value, State):
        if isinstance(value.data, ResultRecord):
            value.data.result = writable(value.data.result)
        else:
            value.data = writable(value.data)
    return value
