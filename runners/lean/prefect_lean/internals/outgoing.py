"""What a driver sends of its context."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import cloudpickle
import prefect.context
from prefect._internal.uuid7 import uuid7
from prefect.context import AssetContext, FlowRunContext, SettingsContext, TagsContext, TaskRunContext

from .packed import packed
from .savings import FLOW_RUN, SETTINGS


class SettingsPart:
    """A settings context in serialized form, good for as long as nothing in the settings has been changed."""

    def __init__(self, settings_context: SettingsContext) -> None:
        self._context = settings_context
        self._before = [(model, _values(model)) for model in _models(settings_context.settings)]
        self.data = packed(cloudpickle.dumps(settings_context.serialize()))

    def serves(self, settings_context: SettingsContext) -> bool:
        # Settings models are not frozen: a value set in place or put into a dict must reach the tasks submitted next.
        return (
            settings_context.settings is self._context.settings
            and settings_context.profile is self._context.profile
            and all(model.__dict__ == before for model, before in self._before)
        )


def _models(settings: Any) -> Iterator[Any]:
    yield settings
    for value in settings.__dict__.values():
        if hasattr(type(value), "model_fields"):
            yield from _models(value)


def _values(model: Any) -> dict[str, Any]:
    found = model.__dict__.items()
    return {name: copy.copy(value) if isinstance(value, (dict, list, set)) else value for name, value in found}


class FlowRunPart:
    """A flow run context in serialized form but for its parameters, which the flow may change in place."""

    def __init__(self, flow_run_context: FlowRunContext, dumps: Callable[[Any], bytes]) -> None:
        self._seen = self._identity(flow_run_context)
        serialized = flow_run_context.serialize()
        serialized.pop("parameters", None)
        self.data = packed(dumps(serialized))

    def serves(self, flow_run_context: FlowRunContext) -> bool:
        now = self._identity(flow_run_context)
        return all(mine is theirs for mine, theirs in zip(self._seen, now, strict=True))

    @staticmethod
    def _identity(ctx: FlowRunContext) -> tuple[Any, ...]:
        name = ctx.flow_run.name if ctx.flow_run else None
        return (ctx, ctx.flow, ctx.flow_run, name, ctx.result_store, ctx.log_prints, ctx.persist_result)


def flow_parameters(flow_run_context: FlowRunContext) -> dict[str, Any] | None:
    """The flow's parameters as `FlowRunContext.serialize` has them; None when the flow run context has none."""
    dumped = flow_run_context.model_dump(include={"parameters"}, exclude_unset=True, context={"include_secrets": True})
    return dumped.get("parameters")


def new_id() -> UUID:
    """Of a task run. In order of time, which is how a database keeps them."""
    return uuid7()


def settings_context() -> SettingsContext | None:
    return SettingsContext.get()


def flow_run_context() -> FlowRunContext | None:
    return FlowRunContext.get()


def rest_of_context(task: Any, task_run_id: UUID | None, task_inputs: dict[str, set[Any]] | None) -> dict[str, Any]:
    """What `serialize_context` sends beside settings and flow run, but for those whose saving is lost.

    Without a task run id, no assets are tracked.
    """
    task_run_context = TaskRunContext.get()
    deployment_id = prefect.context._deployment_id.get()
    rest: dict[str, Any] = {
        "task_run_context": task_run_context.serialize() if task_run_context else {},
        "tags_context": {"current_tags": TagsContext.get().current_tags},
        "deployment_id": str(deployment_id) if deployment_id else None,
        "deployment_parameters": prefect.context._deployment_parameters.get(),
    }
    if task_run_id is not None:
        assets = AssetContext.from_task_and_inputs(task, task_run_id, task_inputs, copy_to_child_ctx=True)
        # Without assets the engine in the worker makes the same, empty context by itself.
        if assets.direct_asset_dependencies or assets.downstream_assets or assets.upstream_assets:
            rest["asset_context"] = assets.serialize()
        forget_no_assets(FlowRunContext.get(), task_run_id)
    for saving, name, context in (
        (SETTINGS, "settings_context", settings_context()),
        (FLOW_RUN, "flow_run_context", flow_run_context()),
    ):
        if context is not None and not saving.on():
            rest[name] = context.serialize()
    return {name: value for name, value in rest.items() if value}


def whole_context(task: Any, task_run_id: UUID, task_inputs: dict[str, set[Any]]) -> dict[str, Any]:
    """All that Prefect itself sends."""
    about = {"task": task, "task_run_id": task_run_id, "task_inputs": task_inputs, "copy_to_child_ctx": True}
    return prefect.context.serialize_context(asset_ctx_kwargs=about)


def forget_no_assets(flow_run_context: FlowRunContext | None, task_run_id: UUID) -> None:
    """Prefect notes for every task run, until the flow run is over, which assets it has: also that it has none."""
    if flow_run_context is not None and flow_run_context.task_run_assets.get(task_run_id) == set():
        del flow_run_context.task_run_assets[task_run_id]
