"""What a worker enters before a task's engine runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from typing import Any
from uuid import UUID

import prefect.context
import prefect.types._datetime
from prefect.client.orchestration import get_client
from prefect.context import AssetContext, FlowRunContext, SettingsContext, TaskRunContext
from prefect.logging.configuration import ensure_logging_setup
from prefect.settings.context import get_current_settings

from .origin import client_key
from .packed import unpacked
from .recording import ALL, Recording
from .savings import BLOCKS, CLIENTS, EVENTS, MENDED


class Settings:
    """A settings context rebuilt in a worker, and the key of the client that serves it."""

    def __init__(self, data: bytes) -> None:
        rebuilt = SettingsContext(**unpacked(data))
        self.profile, self.settings = rebuilt.profile, rebuilt.settings
        self.client_key = client_key(self.settings)

    def context(self) -> SettingsContext:
        return SettingsContext.model_construct(profile=self.profile, settings=self.settings)


class RebuiltFlowRun:
    """A flow run context rebuilt in a worker. Every task gets a copy with mutable parts of its own."""

    def __init__(self, data: bytes, client: Any) -> None:
        complete_models()
        serialized = unpacked(data)
        self.flow = serialized["flow"]
        self._has_start_time = "start_time" in serialized
        self._template = FlowRunContext(
            **serialized, client=client, task_runner=self.flow.task_runner, detached=True, parameters=None
        )

    def context(self, client: Any, task_runner: Any, parameters: dict[str, Any] | None) -> FlowRunContext:
        store = self._template.result_store
        update: dict[str, Any] = {
            "client": client,
            "task_runner": task_runner,
            "parameters": parameters,
            # A shared cache would hand one task's record to another and keep results alive.
            "result_store": store.model_copy(update={"cache": type(store.cache)(maxsize=store.cache.maxsize)}),
        }
        # Prefect 3.7.0 has none.
        if (request := getattr(self._template, "flow_run_suspension_request", None)) is not None:
            update["flow_run_suspension_request"] = type(request)()
        for name in ("task_run_dynamic_keys", "observed_flow_pauses", "run_results", "task_run_assets"):
            update[name] = {}
        if not self._has_start_time:
            update["start_time"] = prefect.types._datetime.now("UTC")
        return self._template.model_copy(update=update)


@cache
def complete_models() -> None:
    """As `hydrated_context` does for every task: a fresh process has not yet resolved the types the models name."""
    try:
        from prefect._internal.result_records import ResultRecordMetadata
    except ImportError:
        # Where Prefect 3.7.0 has it.
        from prefect._result_records import ResultRecordMetadata  # type: ignore[import-not-found, no-redef]
    from prefect.flows import Flow
    from prefect.tasks import Task

    types = {"Flow": Flow, "Task": Task, "ResultRecordMetadata": ResultRecordMetadata}
    FlowRunContext.model_rebuild(_types_namespace=types)
    TaskRunContext.model_rebuild(_types_namespace=types)
    # The storage of a flow run's results is a block.
    if BLOCKS.on():
        look_here_first()


def look_here_first() -> None:
    """Have Prefect import the integrations only where no class of a block's name is known yet.

    It imports all of them before it looks: a process that rebuilds a flow run's `LocalFileSystem` imports Dask and Ray
    wherever their integrations are installed.
    """
    # Imported here: a name that is gone from Prefect costs this saving alone.
    from prefect.blocks.core import Block
    from prefect.utilities.dispatch import lookup_type

    stock: Any = Block.get_block_class_from_key.__func__  # type: ignore[attr-defined]
    if getattr(stock, "_looks_here_first", False):
        return

    # What is wrapped shows its own source to `source_digest`, also to that of another version of this package.
    @wraps(stock)
    def get_block_class_from_key(cls: Any, key: str) -> Any:
        try:
            return lookup_type(cls, key)
        except KeyError:
            return stock(cls, key)

    get_block_class_from_key._looks_here_first = True  # type: ignore[attr-defined]
    Block.get_block_class_from_key = classmethod(get_block_class_from_key)  # type: ignore[method-assign, assignment]


def _twin(task_runner: Any, recording: Recording) -> Any:
    """For the tasks that a task submits. A lean one has them recorded in the same way."""
    twin = task_runner.duplicate()
    if hasattr(twin, "recording"):
        twin.recording = tuple(recording)
    return twin


@contextmanager
def entered(
    settings: Settings | None,
    flow_run: Callable[[Any], RebuiltFlowRun] | None,
    parameters: dict[str, Any] | None,
    rest: Mapping[str, Any],
    recording: Recording = ALL,
) -> Iterator[None]:
    """As `hydrated_context`, from parts that were rebuilt before, and what `rest` has as Prefect sends it."""
    with ExitStack() as stack:
        ensure_logging_setup()
        if settings is not None:
            stack.enter_context(settings.context())
        elif settings_context := rest.get("settings_context"):
            stack.enter_context(SettingsContext(**settings_context))
        key = settings.client_key if settings is not None else client_key(get_current_settings())
        # Imported where they are used: a name that is gone from Prefect costs the one saving.
        if CLIENTS.on():
            from .clients import thread_client

            client = stack.enter_context(thread_client(key))
        else:
            client = get_client(sync_client=True)
        if MENDED.on():
            from .mended import mend

            stack.callback(mend())
        if EVENTS.on():
            from .events import events_by_address

            stack.enter_context(events_by_address(key, recording))
        if flow_run is not None:
            rebuilt = flow_run(client)
            task_runner = stack.enter_context(_twin(rebuilt.flow.task_runner, recording))
            stack.enter_context(rebuilt.context(client, task_runner, parameters))
        elif flow_run_context := rest.get("flow_run_context"):
            complete_models()
            task_runner = stack.enter_context(_twin(flow_run_context["flow"].task_runner, recording))
            context = FlowRunContext(**flow_run_context, client=client, task_runner=task_runner, detached=True)
            stack.enter_context(context)
        if task_run_context := rest.get("task_run_context"):
            complete_models()
            stack.enter_context(TaskRunContext(**task_run_context, client=client))
        if tags_context := rest.get("tags_context"):
            stack.enter_context(prefect.context.tags(*tags_context["current_tags"]))
        if asset_context := rest.get("asset_context"):
            stack.enter_context(AssetContext(**asset_context))
        if deployment_id := rest.get("deployment_id"):
            token = prefect.context._deployment_id.set(UUID(deployment_id))
            stack.callback(prefect.context._deployment_id.reset, token)
        if deployment_parameters := rest.get("deployment_parameters"):
            parameters_token = prefect.context._deployment_parameters.set(deployment_parameters)
            stack.callback(prefect.context._deployment_parameters.reset, parameters_token)
        yield
