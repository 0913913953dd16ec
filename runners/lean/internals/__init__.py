"""Everything that leans on Prefect's internals, and the check that they are still what was tested.

This package and `worker` are also shipped to workers as source text (see `shipping`), where this project need not be
installed: they import nothing but Prefect, cloudpickle and the standard library.
"""

from .clients import async_client, client_key, close_clients, open_clients, thread_client
from .events import BurstEventsWorker, burst_events_here, events_workers, flush_events
from .incoming import FlowRun, Settings, complete_models, entered, unpacked
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
from .recent import Recent, digest
from .tested import MOVED, TESTED_PREFECT_VERSIONS, moved, source_digest, warn_moved

__all__ = [
    "MOVED",
    "TESTED_PREFECT_VERSIONS",
    "BurstEventsWorker",
    "FlowRun",
    "FlowRunPart",
    "Recent",
    "Settings",
    "SettingsPart",
    "async_client",
    "burst_events_here",
    "client_key",
    "close_clients",
    "complete_models",
    "digest",
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
