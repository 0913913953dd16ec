"""Everything that leans on Prefect's internals, by what it saves, and the check that they are still what was tested.

This package and `worker` are also shipped to workers as source text (see `shipping`), where this project need not be
installed: they import nothing but Prefect, cloudpickle and the standard library.
"""

from . import savings
from .flushing import flush_events
from .packed import unpacked
from .recent import Recent, digest
from .savings import (
    CALLS,
    CLIENTS,
    CONTEXT,
    EVENTS,
    FUTURES,
    MENDED,
    PATIENCE,
    RESULTS,
    Saving,
    imports_of,
)
from .source import source_digest

# A name that is imported may be gone from Prefect. Whoever uses one of these has asked its saving first.
with imports_of(CALLS, FUTURES):
    from prefect.utilities.engine import collect_task_run_inputs_sync, emit_task_run_state_change_event

    from .origin import Origin, client_key
    from .outgoing import (
        FlowRunPart,
        SettingsPart,
        flow_parameters,
        flow_run_context,
        forget_no_assets,
        new_id,
        rest_of_context,
        settings_context,
        whole_context,
    )
    from .portable import portable, writable
    from .recording import Recording, recording_here
with imports_of(CONTEXT):
    from .incoming import RebuiltFlowRun, Settings, complete_models, entered
with imports_of(CLIENTS):
    from .clients import async_client, close_clients, open_clients, thread_client
with imports_of(MENDED):
    from .mended import mend
with imports_of(PATIENCE):
    from .patience import ServerGone, log_lines_wait_no_longer, wait_no_longer
with imports_of(RESULTS):
    from .results import results_leave
with imports_of(EVENTS):
    from .events import LeanEventsWorker, events_here, events_workers, take_over

__all__ = [
    "FlowRunPart",
    "LeanEventsWorker",
    "Origin",
    "RebuiltFlowRun",
    "Recent",
    "Recording",
    "Saving",
    "ServerGone",
    "Settings",
    "SettingsPart",
    "async_client",
    "client_key",
    "close_clients",
    "collect_task_run_inputs_sync",
    "complete_models",
    "digest",
    "emit_task_run_state_change_event",
    "entered",
    "events_here",
    "events_workers",
    "flow_parameters",
    "flow_run_context",
    "flush_events",
    "forget_no_assets",
    "log_lines_wait_no_longer",
    "mend",
    "new_id",
    "open_clients",
    "portable",
    "recording_here",
    "rest_of_context",
    "results_leave",
    "savings",
    "settings_context",
    "source_digest",
    "take_over",
    "thread_client",
    "unpacked",
    "wait_no_longer",
    "whole_context",
    "writable",
]
