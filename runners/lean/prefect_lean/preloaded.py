"""What every process of a pool needs before its first task. Imported once, in the process that they are forked from."""

import contextlib
import gc
import importlib
import os

from . import processes, shipping

__all__ = ["processes"]

# Among them what Prefect imports for its first task.
for name in (
    *("prefect.main", "prefect.engine", "prefect.runtime", "prefect.task_engine", "prefect.task_runners"),
    *("prefect.client.cloud", "prefect.client.orchestration", "prefect.events.worker", "prefect.logging.formatters"),
    *("prefect._internal.control_listener", "prefect._internal.attempt_control"),
    *("anyio._backends._asyncio", "encodings.idna", "multiprocessing.popen_spawn_posix"),
    *(f"{shipping.package().__name__}.internals.{module}" for module in ("window", "waiting")),
):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


# Every process would else load the CA bundle, tens of milliseconds, before its first task.
with contextlib.suppress(Exception):
    importlib.import_module(f"{shipping.package().__name__}.internals.clients").tls_context()

os.register_at_fork(after_in_child=processes.seed_anew)

# Objects that a collection does not touch stay in memory that the processes share.
gc.collect()
gc.freeze()
