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

_INTEGRATIONS = {
    "dask": ("prefect-dask", ("prefect_dask", "distributed", "dask")),
    "ray": ("prefect-ray", ("prefect_ray", "ray")),
}


def __getattr__(name: str) -> Any:
    # Importing Prefect and an engine takes seconds: only the runner that is asked for is loaded.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES[name]
    try:
        return getattr(importlib.import_module(f".{module}", __name__), name)
    except ModuleNotFoundError as missing:
        distribution, imported = _INTEGRATIONS.get(module, ("", ()))
        if missing.name not in imported:
            raise
        raise ImportError(f"{distribution} is not installed: pip install 'prefect-lean[{module}]'") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
