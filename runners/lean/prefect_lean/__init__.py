"""The same Dask, Ray, process and thread pools as Prefect's own task runners, without most of Prefect's cost per task.

Drop-in: `@flow(task_runner=LeanDaskTaskRunner(...))` takes what `DaskTaskRunner` takes. docs/lean-runners.md says what
each one saves, how, and where it differs from the stock runner.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dask import LeanDaskTaskRunner
    from .processes import LeanProcessPoolTaskRunner
    from .ray import LeanRayTaskRunner
    from .threads import LeanThreadPoolTaskRunner

__all__ = ["LeanDaskTaskRunner", "LeanProcessPoolTaskRunner", "LeanRayTaskRunner", "LeanThreadPoolTaskRunner"]

_MODULES = {
    "LeanDaskTaskRunner": "dask",
    "LeanProcessPoolTaskRunner": "processes",
    "LeanRayTaskRunner": "ray",
    "LeanThreadPoolTaskRunner": "threads",
}


def __getattr__(name: str) -> Any:
    # Importing Prefect and an engine takes seconds: only the runner that is asked for is loaded.
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
