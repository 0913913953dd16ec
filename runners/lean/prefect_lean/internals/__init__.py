"""Everything that leans on Prefect's internals, and the check that they are still what was tested.

This package and `worker` are also shipped to workers as source text (see `shipping`), where this project need not be
installed: they import nothing but Prefect, cloudpickle and the standard library.
"""

from . import tested
from .packed import unpacked
from .recent import Recent, digest
from .tested import TESTED_PREFECT_VERSIONS, moved, source_digest

# Not empty: take the stock path.
MOVED: tuple[str, ...] = tested.MOVED

# A name that is imported may be gone as well. The stock path needs none of these.
try:
    from prefect.utilities.engine import collect_task_run_inputs_sync, emit_task_run_state_change_event

    from .clients import async_client, client_key, close_clients, open_clients, thread_client
    from .events import BurstEventsWorker, Origin, burst_events_here, events_workers, flush_events
    from .incoming import FlowRun, Settings, complete_models, entered
    from .outgoing import (
        FlowRunPart,
        SettingsPart,
        flow_parameters,
        flow_run_context,
        forget_no_assets,
        new_id,
        rest_of_context,
        settings_context,
    )
except (ImportError, AttributeError) as gone:
    MOVED = (*tested.MOVED, str(gone))


def warn_moved(more: tuple[str, ...] = ()) -> None:
    """Say, once a process, that tasks take the stock path. `more`: what else differs, beside Prefect itself."""
    tested.warn_moved((*MOVED, *more))


__all__ = [
    "MOVED",
    "TESTED_PREFECT_VERSIONS",
    "BurstEventsWorker",
    "FlowRun",
    "FlowRunPart",
    "Origin",
    "Recent",
    "Settings",
    "SettingsPart",
    "async_client",
    "burst_events_here",
    "client_key",
    "close_clients",
    "collect_task_run_inputs_sync",
    "complete_models",
    "digest",
    "emit_task_run_state_change_event",
    "entered",
    "events_workers",
    "flow_parameters",
    "flow_run_context",
    "flush_events",
    "forget_no_assets",
    "moved",
    "new_id",
    "open_clients",
    "rest_of_context",
    "settings_context",
    "source_digest",
    "thread_client",
    "unpacked",
    "warn_moved",
]
