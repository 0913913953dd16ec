"""The functions at the boundaries of a task's stages, as they were tested: where the probe leans on internals.

A function whose source has changed since is left alone and its stage is reported as not measured.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["call", "enter", "within", "arrive"]


@dataclass(frozen=True)
class Point:
    """A function that is timed.

    stage: `serialize`, `hydrate`, `client`, `body`; `unpickle` (hydrate, in whatever thread of the worker);
        `task` (from a call's arrival in the worker to its end: what no other stage claims of it is the engine's).
    module: a name that ends in `*` stands for all modules that begin so.
    name: of the function in its module, `Class.method` for a method.
    digest: of its source as tested; empty for this project's own, whose presence is enough.
    form: `call` times calls; `enter` the entering of a context manager, from the arrival of the call on; `within` the
        whole of it; `arrive` notes when a call arrives.
    engines: those whose packages or worker processes it is of; all where none is named.
    caller_only: calls from other threads than the one that submits are not the task's.
    """

    stage: str
    module: str
    name: str
    digest: str = ""
    form: Form = "call"
    engines: tuple[str, ...] = ()
    roles: tuple[Literal["driver", "worker"], ...] = ("driver", "worker")
    caller_only: bool = False

    def targets(self) -> list[Target]:
        """Where it is in this process, as far as it is imported; none for an engine that is not in use."""
        prefix, star, rest = self.module.partition("*")
        names = [n for n in list(sys.modules) if n.startswith(prefix) and n.endswith(rest)] if star else [self.module]
        return [Target(module, self.name) for module in names if sys.modules.get(module) is not None]


@dataclass(frozen=True)
class Target:
    """An attribute of an imported module, or of a class in it."""

    module: str
    name: str

    def moved(self, point: Point) -> bool:
        """Whether it is not there, or not what was tested."""
        found = source_digest(self.module, self.name)
        return found == "missing" or (bool(point.digest) and found != point.digest)

    def current(self) -> Any:
        owner, name = self._place()
        return vars(owner)[name]

    def put(self, function: Callable[..., Any]) -> None:
        owner, name = self._place()
        setattr(owner, name, function)

    def _place(self) -> tuple[Any, str]:
        owner: Any = sys.modules[self.module]
        *path, name = self.name.split(".")
        for part in path:
            owner = getattr(owner, part)
        return owner, name


@functools.cache
def source_digest(module: str, name: str) -> str:
    """Digest of the source of a function, blind to white space; `missing` when it is not there."""
    owner: Any = sys.modules.get(module)
    try:
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        # An inherited method would be put into the subclass: only what is defined right there can be replaced.
        source = inspect.getsource(vars(owner)[last])
    except (AttributeError, KeyError, OSError, TypeError):
        return "missing"
    return hashlib.blake2b("".join(source.split()).encode(), digest_size=8).hexdigest()


_CLIENT = "prefect.client.orchestration"

POINTS = (
    Point(
        "serialize",
        "prefect_dask.client",
        "serialize_context",
        "0d2f1ff881cb777b",
        engines=("dask",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "prefect_ray.task_runners",
        "serialize_context",
        "0d2f1ff881cb777b",
        engines=("ray",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "prefect.context",
        "serialize_context",
        "0d2f1ff881cb777b",
        engines=("processes",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "prefect.task_runners",
        "cloudpickle_wrapped_call",
        "16f11fad1e8f2f2b",
        engines=("processes",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "distributed.protocol.pickle",
        "dumps",
        "f24ed17029b316bc",
        engines=("dask",),
        roles=("driver",),
        caller_only=True,
    ),
    Point(
        "serialize",
        "ray.remote_function",
        "pickle_dumps",
        "bc37d08a2b5a011f",
        engines=("ray",),
        roles=("driver",),
        caller_only=True,
    ),
    Point(
        "serialize",
        "ray._private.serialization",
        "SerializationContext.serialize",
        "3051529692138461",
        engines=("ray",),
        roles=("driver",),
        caller_only=True,
    ),
    Point("serialize", "prefect_lean.context", "Context.pack", roles=("driver",)),
    Point("serialize", "prefect_lean.processes", "_request", engines=("processes",), roles=("driver",)),
    Point("unpickle", "distributed.protocol.pickle", "loads", "f40bec4f84baffb1", engines=("dask",), roles=("worker",)),
    Point(
        "unpickle",
        "ray._private.serialization",
        "SerializationContext.deserialize_objects",
        "6122c92cb037c5d4",
        engines=("ray",),
        roles=("worker",),
    ),
    Point(
        "hydrate",
        "prefect.utilities.callables",
        "_run_serialized_call",
        "b621886dd2e0f1b6",
        form="arrive",
        engines=("processes",),
        roles=("worker",),
    ),
    Point("hydrate", "prefect.context", "hydrated_context", "bfbdc67413ea3cb0", form="enter"),
    Point("hydrate", "prefect.task_engine", "hydrated_context", "bfbdc67413ea3cb0", form="enter"),
    Point("hydrate", "_lean_worker_*.internals", "entered", form="enter", roles=("worker",)),
    Point("task", "_lean_worker_*.worker", "run", form="arrive", roles=("worker",)),
    Point(
        "task",
        "prefect.task_runners",
        "_run_task_in_subprocess",
        "b735c8038c48018a",
        form="arrive",
        engines=("processes",),
        roles=("worker",),
    ),
    Point("task", "prefect.task_engine", "SyncTaskRunEngine.start", "55ed45f6ff37db2d", form="within"),
    Point("client", _CLIENT, "SyncPrefectClient.__init__", "3da20c57cf2ff5f9"),
    Point("client", _CLIENT, "SyncPrefectClient.__enter__", "7ac2f399af026d32"),
    Point("client", _CLIENT, "SyncPrefectClient.__exit__", "8ff80bf9d65cf787"),
    Point("client", _CLIENT, "SyncPrefectClient.raise_for_api_version_mismatch_once", "c23017a0758f987d"),
    Point("client", "prefect.client.base", "PrefectHttpxSyncClient.send", "ac989be1371eca82"),
    Point("body", "prefect.task_engine", "call_with_parameters", "3a03440f16c0f89f"),
)
