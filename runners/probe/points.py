"""The functions at the boundaries of a task's stages, as they were tested: where the probe leans on internals.

A function whose source has changed since is left alone and its stage is reported as not measured.
"""

from __future__ import annotations

import functools
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
    tested: digests of its source, one for each of the releases that it was tested with that have another; empty for
        this project's own, whose presence is enough.
    form: `call` times calls; `enter` the entering of a context manager, from the arrival of the call on; `within` the
        whole of it; `arrive` notes when a call arrives.
    engines: those whose packages or worker processes it is of; all where none is named.
    caller_only: calls from other threads than the one that submits are not the task's.
    """

    stage: str
    module: str
    name: str
    tested: tuple[str, ...] = ()
    form: Form = "call"
    engines: tuple[str, ...] = ()
    roles: tuple[Literal["driver", "worker"], ...] = ("driver", "worker")
    caller_only: bool = False

    def attributes(self) -> list[Attribute]:
        """Where it is in this process, as far as it is imported; none for an engine that is not in use."""
        prefix, star, rest = self.module.partition("*")
        names = [n for n in list(sys.modules) if n.startswith(prefix) and n.endswith(rest)] if star else [self.module]
        return [Attribute(module, self.name) for module in names if sys.modules.get(module) is not None]


@dataclass(frozen=True)
class Attribute:
    """An attribute of an imported module, or of a class in it."""

    module: str
    name: str

    def moved(self, point: Point) -> bool:
        """Whether it is not there, or not what was tested."""
        try:
            # An inherited method would be put into the subclass: only what is defined right there can be replaced.
            self.current()
        except (AttributeError, KeyError):
            return True
        return bool(point.tested) and digest_of(f"{self.module}:{self.name}") not in point.tested

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
def digest_of(qualified_name: str) -> str:
    """The digest of the source of `module:name`, read once a process."""
    # Imported here: it brings Prefect, which a process that measures has and one that reads a report need not load.
    from prefect_lean.internals.source import source_digest

    return source_digest(qualified_name)


_CLIENT = "prefect.client.orchestration"
_SERIALIZE_CONTEXT = ("78c76d9947b73fd849132f81edc98545",)
_HYDRATED_CONTEXT = ("408d0db46e95430373de42f6de42ca4d", "cb2b6271c0d1ef3db71826e3db1609c2")

POINTS = (
    Point(
        "serialize",
        "prefect_dask.client",
        "serialize_context",
        _SERIALIZE_CONTEXT,
        engines=("dask",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "prefect_ray.task_runners",
        "serialize_context",
        _SERIALIZE_CONTEXT,
        engines=("ray",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "prefect.context",
        "serialize_context",
        _SERIALIZE_CONTEXT,
        engines=("processes",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "prefect.task_runners",
        "cloudpickle_wrapped_call",
        ("94bea2418e1e8272050c9aebc55c4d20",),
        engines=("processes",),
        roles=("driver",),
    ),
    Point(
        "serialize",
        "distributed.protocol.pickle",
        "dumps",
        ("4b82e3b585338a87790950696f219149",),
        engines=("dask",),
        roles=("driver",),
        caller_only=True,
    ),
    Point(
        "serialize",
        "ray.remote_function",
        "pickle_dumps",
        ("c7dc0896a67db0a3e68113352526176e",),
        engines=("ray",),
        roles=("driver",),
        caller_only=True,
    ),
    Point(
        "serialize",
        "ray._private.serialization",
        "SerializationContext.serialize",
        ("893043cf89939360619242d970793389",),
        engines=("ray",),
        roles=("driver",),
        caller_only=True,
    ),
    Point("serialize", "prefect_lean.context", "Context.pack", roles=("driver",)),
    Point("serialize", "prefect_lean.processes", "_request", engines=("processes",), roles=("driver",)),
    Point(
        "unpickle",
        "distributed.protocol.pickle",
        "loads",
        ("9803d0387cdbb5c866605eb5d4dc0436",),
        engines=("dask",),
        roles=("worker",),
    ),
    Point(
        "unpickle",
        "ray._private.serialization",
        "SerializationContext.deserialize_objects",
        ("e4be06e667fb05f192726226a1c99182",),
        engines=("ray",),
        roles=("worker",),
    ),
    Point(
        "hydrate",
        "prefect.utilities.callables",
        "_run_serialized_call",
        ("bed2c6e2549562b6ca88ceedc7687640",),
        form="arrive",
        engines=("processes",),
        roles=("worker",),
    ),
    Point(
        "hydrate",
        "prefect.context",
        "hydrated_context",
        _HYDRATED_CONTEXT,
        form="enter",
    ),
    Point(
        "hydrate",
        "prefect.task_engine",
        "hydrated_context",
        _HYDRATED_CONTEXT,
        form="enter",
    ),
    Point("hydrate", "_lean_worker_*.internals", "entered", form="enter", roles=("worker",)),
    Point("task", "_lean_worker_*.worker", "run", form="arrive", roles=("worker",)),
    Point(
        "task",
        "prefect.task_runners",
        "_run_task_in_subprocess",
        ("b2de26dd701a43e89c0102542a61ea65", "8e0194ae7b364123f54f7d58bc5f0b0d"),
        form="arrive",
        engines=("processes",),
        roles=("worker",),
    ),
    Point(
        "task",
        "prefect.task_engine",
        "SyncTaskRunEngine.start",
        ("ad5a873f33d6d6d5faa0f70f666a9045", "9abe9495c63952f6300a066c90a8dc88"),
        form="within",
    ),
    Point("client", _CLIENT, "SyncPrefectClient.__init__", ("49bdef7e6a459b416ba40578969d0a34",)),
    Point("client", _CLIENT, "SyncPrefectClient.__enter__", ("b43f31806dc28bdaafa9334b6d11fc4e",)),
    Point("client", _CLIENT, "SyncPrefectClient.__exit__", ("2d42382ebd40898ddbd25e2decf32ae2",)),
    Point(
        "client",
        _CLIENT,
        "SyncPrefectClient.raise_for_api_version_mismatch_once",
        ("3df61e11fd1521e18d60ecc4063936b6",),
    ),
    Point("client", "prefect.client.base", "PrefectHttpxSyncClient.send", ("b4fff1b63f7dcf229e61ea64f0f72f4a",)),
    Point("body", "prefect.task_engine", "call_with_parameters", ("f53db653490e4d0eb81dfa7ae8b14201",)),
)
