"""What a driver sends with a task: its call, and the context that all tasks of a flow run share."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import cloudpickle
from prefect.futures import PrefectFutureList, PrefectWrappedFuture
from prefect.tasks import Task
from prefect.utilities.annotations import BaseAnnotation
from pydantic import BaseModel

from . import internals, shipping
from .slots import LeanFutureList

_LARGE_BYTES = 64 * 1024
"""From this size on a value is given to the engine as it is, which takes fewer copies than within a pickled call."""


class LeanRunner:
    """What shipping needs to know of a lean runner, which may not exist where its flow is unpickled."""

    _stock: tuple[str, str]

    def __init__(self, *args: Any, record: str = "all", **kwargs: Any) -> None:
        if record not in ("all", "final"):
            raise ValueError(f"record is 'all' or 'final', not {record!r}")
        super().__init__(*args, **kwargs)
        self.record = record

    def duplicate(self) -> Any:
        # Set afterwards: a subclass may take no more arguments than the stock runner gives it.
        twin = super().duplicate()  # type: ignore[misc]
        twin.record = self.record
        return twin

    def _arguments(self) -> dict[str, Any]:
        """The arguments that make an equal runner."""
        return {} if self.record == "all" else {"record": self.record}

    @classmethod
    def _origins(cls) -> list[tuple[str, str]]:
        """Where to look for such a runner, the best first: the class, the lean one it derives from, the stock one."""
        lean = next(base for base in cls.__mro__ if base.__module__.startswith(f"{__package__}."))
        return [*dict.fromkeys((found.__module__, found.__qualname__) for found in (cls, lean)), cls._stock]

    def __reduce__(self) -> tuple[Any, ...]:
        # What a runner keeps of its tasks stays in its process.
        return partial(type(self), **self._arguments()), ()


@dataclass(frozen=True)
class Package:
    """One call, ready for `worker.run`. The engine hands over the values of `upstream` in this order."""

    call: bytes
    shared: bytes
    upstream: tuple[Any, ...]


@dataclass
class Context:
    """Packs the calls of one runner. What does not change between submits is serialized once.

    future_type: the engine's own future or reference type; `upstream` of a package holds objects of it.
    large_apart: whether `upstream` also holds large bytes and arrays, as they are.
    """

    future_type: type | tuple[type, ...]
    large_apart: bool = False
    _settings: internals.SettingsPart | None = field(default=None, init=False)
    _flow_run: internals.FlowRunPart | None = field(default=None, init=False)
    _shared: tuple[tuple[bytes | None, ...], bytes] = field(default=((), b""), init=False)

    def pack(
        self,
        task: Task[Any, Any],
        task_run_id: UUID,
        parameters: dict[str, Any],
        wait_for: Iterable[Any] | None,
        dependencies: dict[str, set[Any]] | None,
        recording: internals.Recording | None = None,
    ) -> Package:
        """Raises what pickling raises when an argument or the task cannot be pickled."""
        inputs = {name: internals.collect_task_run_inputs_sync(value) for name, value in parameters.items()}
        for name, more in (dependencies or {}).items():
            if name in inputs:
                inputs[name] = inputs[name] | more
        whole = not internals.savings.CONTEXT.on()
        context = internals.whole_context if whole else internals.rest_of_context
        pickler = _CallPickler(self.future_type, self.large_apart)
        if self.large_apart:
            parameters = {name: pickler.apart(value) for name, value in parameters.items()}
        pickler.dump(
            {
                "task": task,
                "task_run_id": task_run_id,
                "parameters": parameters,
                "wait_for": _for_pickle(wait_for) if wait_for else None,
                "dependencies": {name: found for name, found in inputs.items() if found},
                "context": context(task, task_run_id, inputs),
                "whole_context": whole,
                "recording": tuple(recording or ()),
            }
        )
        return Package(pickler.file.getvalue(), self.shared(), tuple(pickler.upstream))

    def shared(self) -> bytes:
        """The settings, the flow run and its parameters, each under a name by which a worker knows it again.

        Without those whose saving is lost, which go with the call.
        """
        # A flow may submit from several threads at once, each with settings of its own: what is kept between submits
        # may be another thread's a moment later, and is not read a second time.
        settings, flow_run, parameters = self._settings_part(), None, None
        flow_run_context = internals.flow_run_context() if internals.savings.FLOW_RUN.on() else None
        if flow_run_context is not None:
            flow_run = self._flow_run_part(flow_run_context)
            if (values := internals.flow_parameters(flow_run_context)) is not None:
                parameters = _dumps(values)

        key = (settings.data if settings else None, flow_run.data if flow_run else None, parameters)
        last_key, shared = self._shared
        if key != last_key:
            parts = zip(("settings", "flow_run", "parameters"), key, strict=True)
            named = {name: (internals.digest(data), data) for name, data in parts if data is not None}
            shared = pickle.dumps(named)
            self._shared = key, shared
        return shared

    def _settings_part(self) -> internals.SettingsPart | None:
        context = internals.settings_context() if internals.savings.SETTINGS.on() else None
        if context is None:
            return None
        part = self._settings
        if part is None or not part.serves(context):
            part = self._settings = internals.SettingsPart(context)
        return part

    def _flow_run_part(self, context: Any) -> internals.FlowRunPart:
        part = self._flow_run
        if part is None or not part.serves(context):
            part = self._flow_run = internals.FlowRunPart(context, _dumps)
        return part


def _for_pickle(wait_for: Any) -> Any:
    """Generators and views cannot be pickled, nor states be in a set. What means something as a whole stays that."""
    whole = isinstance(wait_for, (Mapping, BaseModel, BaseAnnotation)) or not isinstance(wait_for, Iterable)
    return wait_for if whole else list(wait_for)


def _dumps(value: Any) -> bytes:
    pickler = _Pickler()
    pickler.dump(value)
    return pickler.file.getvalue()


class _Pickler(cloudpickle.Pickler):
    """Pickles lean runners, and what their `map` returns, so that they can be had without this project."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, LeanRunner):
            return shipping.package().worker.revive_runner, (obj._origins(), obj._arguments())
        if type(obj) is LeanFutureList:
            return PrefectFutureList, (list(obj),)
        if isinstance(obj, BaseAnnotation):
            # Pickled as the tuples they are, annotations come back wrapped twice.
            return type(obj), (obj.unwrap(),)
        return super().reducer_override(obj)


@dataclass(frozen=True)
class _Apart:
    """Stands for a value that was left out."""

    index: int


class _CallPickler(_Pickler):
    """Leaves the engine's futures out, and what is large, wherever in the arguments they are, and collects them."""

    def __init__(self, future_type: type | tuple[type, ...], large_apart: bool) -> None:
        super().__init__()
        self.upstream: list[Any] = []
        self._index: dict[int, int] = {}
        self._future_type = future_type
        numpy = sys.modules.get("numpy") if large_apart else None
        self._array: Any = numpy.ndarray if numpy is not None else ()

    def apart(self, value: Any) -> Any:
        """Bytes never come to `reducer_override`: those that are a parameter are replaced before."""
        return _Apart(self._leave_out(value)) if type(value) is bytes and len(value) >= _LARGE_BYTES else value

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, PrefectWrappedFuture) and isinstance(obj.wrapped_future, self._future_type):
            obj = obj.wrapped_future
        if isinstance(obj, _Apart):
            index = obj.index
        elif isinstance(obj, self._future_type) or (
            isinstance(obj, self._array) and obj.nbytes >= _LARGE_BYTES and not obj.dtype.hasobject
        ):
            index = self._leave_out(obj)
        else:
            return super().reducer_override(obj)
        return shipping.package().worker.upstream_value, (index,)

    def _leave_out(self, obj: Any) -> int:
        # By identity: `upstream` keeps each of them alive.
        index = self._index.setdefault(id(obj), len(self.upstream))
        if index == len(self.upstream):
            self.upstream.append(obj)
        return index
