"""Two slips of Prefect's that cost a task its output or its argument, mended while lean tasks run in a process."""

from __future__ import annotations

import builtins
import copy
import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import prefect.utilities.collections
from prefect.logging.loggers import print_as_log

# In Prefect's module, since more than one version of this one may be in a process, shipped or installed.
_mended: dict[str, Any] = vars(prefect.utilities.collections).setdefault(
    "_lean_mended", {"lock": threading.Lock(), "users": 0, "before": None}
)


def mend() -> Callable[[], None]:
    """Mend for as long as tasks may run. Returns what ends that.

    `log_prints`: each task puts `print` back as it found it, which for tasks that overlap is not as it was. What they
    put in its place asks the context of whoever prints, so it can stay. A task that ends first then takes no line away.

    Dataclasses: where a future is among the fields, Prefect calls `dataclasses.replace` with all of them, also with
    those that `__init__` does not take.
    """
    with _mended["lock"]:
        if not _mended["users"]:
            _mended["before"] = builtins.print, prefect.utilities.collections.replace
            builtins.print = print_as_log
            prefect.utilities.collections.replace = replace_fields
        _mended["users"] += 1
    ended = threading.Event()

    def end() -> None:
        with _mended["lock"]:
            if ended.is_set():
                return
            ended.set()
            _mended["users"] -= 1
            if not _mended["users"]:
                builtins.print, prefect.utilities.collections.replace = _mended["before"]

    return end


def replace_fields(obj: Any, /, **changes: Any) -> Any:
    """As `dataclasses.replace`, also with fields that `__init__` does not take: the copy then has these values."""
    if all(field.init for field in dataclasses.fields(obj) if field.name in changes):
        return dataclasses.replace(obj, **changes)
    replaced = copy.copy(obj)
    for name, value in changes.items():
        object.__setattr__(replaced, name, value)
    return replaced
