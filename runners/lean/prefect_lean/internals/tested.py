"""The internals that the lean path repeats or relies on, and the check that they are still what was tested."""

from __future__ import annotations

import importlib
import inspect
import re
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import prefect

from .recent import digest

TESTED_PREFECT_VERSIONS = ("3.8.8",)

# What the lean path repeats or relies on, with the digest of the source it was tested with. `serialize_context` and
# `hydrated_context` are repeated with caches between their steps, so that a new step in either must not go unnoticed.
_TESTED = {
    "prefect.context:serialize_context": "78c76d9947b73fd849132f81edc98545",
    "prefect.context:hydrated_context": "cb2b6271c0d1ef3db71826e3db1609c2",
    "prefect.context:ContextModel": "a9f3352b2534807d8c5dd4a8fee723cf",
    "prefect.context:RunContext": "c719486d962262778597dc96baf9ee00",
    "prefect.context:EngineContext": "5b7c1881960d02945f6302eb6763a8fe",
    "prefect.context:SettingsContext": "c39a3023a8aad94804db7ed531484e64",
    "prefect.context:SyncClientContext": "49269cffa9b25402694ec3d74e4248f6",
    "prefect.context:AsyncClientContext": "099c1f00fa553771a4095cf85f7cdcbd",
    "prefect.client.orchestration:get_client": "4c21a3078cb159075265231b398f8688",
    "prefect.client.orchestration:SyncPrefectClient.__init__": "49bdef7e6a459b416ba40578969d0a34",
    "prefect.events.worker:EventsWorker": "d75032af172d4a3f4db4d965b8d6b040",
    "prefect.events.related:related_resources_from_run_context": "e1ccd3874ded856e1b4f93463c31958a",
    "prefect._internal.concurrency.services:_QueueServiceBase": "1177bb2f91bd043b0a89722fb2be210f",
    "prefect._internal.concurrency.services:QueueService": "19310330dfd21597b85e39b58ccd472d",
    "prefect.client.orchestration:PrefectClient.__init__": "d1957ab50293feb8b3e3868c9f4eb842",
    "prefect.task_runners:_initialize_process_pool_worker": "4e5392f425fdef4c06503e91ea41fd9f",
    "prefect.task_runners:ProcessPoolTaskRunner._forward_subprocess_messages": "26db6f23eba9193d5e899d614276a28a",
    "prefect.task_runners:ProcessPoolTaskRunner._stop_message_forwarding": "2a20dbfcac5268025a21aad95767ff56",
    "prefect.utilities.engine:emit_task_run_state_change_event": "bb3b4568ba398a153e8f78033981e911",
    "prefect.context:AssetContext.from_task_and_inputs": "6db8da496b4b6b713ba2fc7d47dd5ddf",
    "prefect.futures:PrefectTaskRunFuture": "34f788659e4cc838e2a02a3905263918",
    "prefect.futures:PrefectWrappedFuture": "5712f62d2aa64fd31a2fc92a5b60c3d7",
    "prefect.futures:PrefectConcurrentFuture": "2a3b5ff129c049ce4910d92dd5486386",
    "prefect.task_runners:TaskRunner.__enter__": "ade25aa18deafdf17b7ce4f1923934db",
    "prefect.task_runners:TaskRunner.__exit__": "23b78a6577d7f33164f87817995db3a0",
    "prefect.task_runners:ThreadPoolTaskRunner.__init__": "8574ad53369202d0a37be2551052d355",
    "prefect.task_runners:ThreadPoolTaskRunner.submit": "58a04b47439abb5b14686fa0f117cd87",
    "prefect.task_runners:ThreadPoolTaskRunner.cancel_all": "d7555a421dda1568622b705e548f3689",
    "prefect.task_runners:ProcessPoolTaskRunner.__init__": "3b2bbeaa8c88b5c6bac9af7b00e0f9c1",
    "prefect.task_runners:ProcessPoolTaskRunner.__enter__": "0da370e1499f892023ab8c7dd18cacfe",
    "prefect.task_runners:ProcessPoolTaskRunner.__exit__": "db9fadd2ec1ad4911355cbd699720652",
    # Called with arguments by name; what they do is theirs.
    "prefect.task_engine:run_task_sync()": "f281636bc042a4671f6f57667dcc1d55",
    "prefect.task_engine:run_task_async()": "f281636bc042a4671f6f57667dcc1d55",
}


def source_digest(qualified_name: str) -> str:
    """Digest of the source of `module:name`, blind to white space, or of the arguments of `module:name()`.

    `"missing"` when there is no such thing.
    """
    module_name, _, name = qualified_name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.removesuffix("()").split("."):
            found = getattr(found, part)
        if name.endswith("()"):
            return digest(" ".join(inspect.signature(found).parameters).encode())
        return digest("".join(_source(found).split()).encode())
    except (ImportError, AttributeError, OSError, TypeError):
        return "missing"


def _source(found: Any) -> str:
    if not inspect.isclass(found):
        return inspect.getsource(found)
    # For a class `inspect.getsource` parses the module: slow in each worker that starts, and an error of CPython 3.11
    # ("AST constructor recursion depth mismatch") where another thread parses something at the same time.
    lines = inspect.getsource(importlib.import_module(found.__module__)).splitlines(keepends=True)
    head = re.compile(rf"class {found.__name__}\b")
    first = next((number for number, line in enumerate(lines) if head.match(line)), None)
    if first is None:
        raise OSError(f"no source of {found.__qualname__}")
    return "".join(inspect.getblock(lines[first:]))


def moved(tested: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the tested internals that have changed since."""
    return tuple(name for name, expected in tested.items() if source_digest(name) != expected)


# Those of this process.
MOVED: tuple[str, ...] = moved(_TESTED)
_warned = threading.Event()


def warn_moved(names: tuple[str, ...]) -> None:
    """Say, once a process, that tasks take the stock path because of `names`."""
    if not _warned.is_set():
        _warned.set()
        warnings.warn(
            f"Prefect {prefect.__version__} differs from {', '.join(TESTED_PREFECT_VERSIONS)}, which the lean runners"
            f" were tested with, in {', '.join(names)}. Tasks take the stock path: same results, stock cost.",
            RuntimeWarning,
            stacklevel=3,
        )
