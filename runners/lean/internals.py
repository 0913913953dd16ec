"""Everything that leans on Prefect's internals, and the check that they are still what was tested.

This module and `worker` are also shipped to workers as source text (see `shipping`), where this project need not be
installed: they import nothing but Prefect, cloudpickle and the standard library.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import importlib
import inspect
import queue
import ssl
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

import cloudpickle
import prefect
import prefect.context
from prefect._internal.concurrency.api import create_call
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import (
    AssetContext,
    AsyncClientContext,
    FlowRunContext,
    SettingsContext,
    SyncClientContext,
    TagsContext,
    TaskRunContext,
)
from prefect.events.worker import EventsWorker
from prefect.logging.configuration import ensure_logging_setup
from prefect.settings.context import get_current_settings

V = TypeVar("V")

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
    "prefect._internal.concurrency.services:_QueueServiceBase": "1177bb2f91bd043b0a89722fb2be210f",
    "prefect._internal.concurrency.services:QueueService": "19310330dfd21597b85e39b58ccd472d",
    "prefect.client.orchestration:PrefectClient.__init__": "d1957ab50293feb8b3e3868c9f4eb842",
}


def digest(data: bytes) -> str:
    """Name of a shipped value: equal bytes have equal names."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def source_digest(qualified_name: str) -> str:
    """Digest of the source of `module:name`, blind to white space; `"missing"` when there is no such thing."""
    module_name, _, name = qualified_name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
        return digest("".join(inspect.getsource(found).split()).encode())
    except (ImportError, AttributeError, OSError, TypeError):
        return "missing"


def moved(tested: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the tested internals that have changed since."""
    return tuple(name for name, expected in tested.items() if source_digest(name) != expected)


# Not empty: take the stock path.
MOVED: tuple[str, ...] = moved(_TESTED)
_warned = threading.Event()


def warn_moved(names: tuple[str, ...] = MOVED) -> None:
    """Say, once a process, that tasks take the stock path."""
    if not _warned.is_set():
        _warned.set()
        warnings.warn(
            f"Prefect {prefect.__version__} differs from {', '.join(TESTED_PREFECT_VERSIONS)}, which the lean runners"
            f" were tested with, in {', '.join(names)}. Tasks take the stock path: same results, stock cost.",
            RuntimeWarning,
            stacklevel=2,
        )


class Recent(Generic[V]):
    """The values used last, by key: each made once, shared between threads, the oldest dropped first."""

    def __init__(self, size: int = 8, dropped: Callable[[V], None] = lambda value: None) -> None:
        self._values: OrderedDict[Any, V] = OrderedDict()
        self._size = size
        self._dropped = dropped
        self._lock = threading.RLock()

    def get(self, key: Any, make: Callable[[], V]) -> V:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            value = self._values[key] = make()
            while len(self._values) > self._size:
                self._dropped(self._values.popitem(last=False)[1])
            return value

    def forget(self, key: Any) -> None:
        with self._lock:
            self._values.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            while self._values:
                self._dropped(self._values.popitem()[1])


# --- HTTP clients -----------------------------------------------------------------------------------------------


_tls_contexts: Recent[ssl.SSLContext] = Recent()


def _tls_context() -> ssl.SSLContext:
    """One TLS context a process: Prefect loads the CA bundle, tens of milliseconds, for every client it makes."""
    import certifi

    api = get_current_settings().api
    cert_file = api.ssl_cert_file or certifi.where()

    def load() -> ssl.SSLContext:
        if not api.tls_insecure_skip_verify:
            return ssl.create_default_context(cafile=cert_file)
        insecure = ssl.create_default_context()
        insecure.check_hostname = False
        insecure.verify_mode = ssl.CERT_NONE
        return insecure

    return _tls_contexts.get((api.tls_insecure_skip_verify, cert_file), load)


class _ThreadClients(threading.local):
    """The HTTP clients of one thread. They close when the thread ends, or else with the process."""

    def __init__(self) -> None:
        # An address that was given up keeps its client only until a few others have been used.
        self.contexts: Recent[SyncClientContext] = Recent(size=4, dropped=_close)
        self._owner = _Owner()
        close = weakref.finalize(self._owner, self.contexts.clear)
        # Closed by the atexit hook below, which runs before the modules that closing needs are torn down.
        close.atexit = False  # type: ignore[misc]
        _open_clients.add(self.contexts)


class _Owner:
    """Lives as long as the thread that made it."""


_open_clients: weakref.WeakSet[Recent[SyncClientContext]] = weakref.WeakSet()


def _close(client_context: SyncClientContext) -> None:
    client_context.client.__exit__(None, None, None)


@atexit.register
def close_clients() -> None:
    """Close every HTTP client that tasks of this process used."""
    for contexts in list(_open_clients):
        contexts.clear()


_thread_clients = _ThreadClients()


def client_key(settings: Any) -> str:
    """Name of what decides which client serves: address, keys, certificates, timeouts."""
    return digest(cloudpickle.dumps((settings.api.__dict__, settings.client.__dict__)))


def _thread_client(key: str) -> SyncClientContext:
    def open_client() -> SyncClientContext:
        made = SyncClientContext(httpx_settings={"verify": _tls_context()})
        # `get_client()` in a task compares these with its own argument and would make another client.
        made._httpx_settings = None
        made.client.__enter__()
        if get_current_settings().client.server_version_check_enabled:
            made.client.raise_for_api_version_mismatch_once()
        return made

    return _thread_clients.contexts.get(key, open_client)


@contextmanager
def _client(key: str) -> Iterator[SyncPrefectClient]:
    """Make the thread's client the one that the engine and `get_client()` find."""
    client_context = _thread_client(key)
    # Entered through the variable: `SyncClientContext.__exit__` would close the client with the first task.
    token = SyncClientContext.__var__.set(client_context)
    client_context._context_stack += 1
    try:
        yield client_context.client
    finally:
        client_context._context_stack -= 1
        SyncClientContext.__var__.reset(token)


@asynccontextmanager
async def async_client() -> AsyncIterator[None]:
    """An async client of this event loop, on the process's TLS context. The loop ends with the task, so it does too."""
    client_context = AsyncClientContext(httpx_settings={"verify": _tls_context()})
    client_context._httpx_settings = None
    async with client_context:
        yield


# --- events -----------------------------------------------------------------------------------------------------


# Long enough for the events of one short task to come in together, short beside the lag of the server.
_BURST_S = 0.01


class BurstEventsWorker(EventsWorker):
    """Prefect's events worker, woken once for a burst of events.

    Prefect hands every event from the task's thread to a queue thread to the event loop's thread. A task of no length
    has three of them, and each hand-over makes the task wait for the interpreter lock.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # `EventsWorker.instance()` is how Prefect gets at it.
        self._key = hash((EventsWorker, *args))

    async def _main_loop(self) -> None:
        while True:
            event = await self._queue_get_thread.submit(create_call(self._queue.get)).aresult()
            if event is not None and not self._stopped:
                await asyncio.sleep(_BURST_S)
            while True:
                try:
                    if event is None:
                        return
                    await self._handle(event)
                except Exception:
                    self._logger.error("Failed to send event %r", event, exc_info=True)
                finally:
                    self._queue.task_done()
                try:
                    event = self._queue.get_nowait()
                except queue.Empty:
                    break


_events_workers: Recent[EventsWorker] = Recent(size=4, dropped=lambda worker: worker._stop())


def _use_events_worker(key: str) -> None:
    """Send events by a burst worker of the current address. Upstream's keeps to the address that it began with."""
    while (worker := _events_workers.get(key, BurstEventsWorker.instance))._stopped:
        _events_workers.forget(key)
    instances: dict[int, EventsWorker] = EventsWorker._instances  # type: ignore[misc]
    if instances.get(worker._key) is not worker:
        with EventsWorker._instance_cache_lock:
            instances[worker._key] = worker


def flush_events() -> None:
    """Wait until the events of this process are sent."""
    instances: dict[int, EventsWorker] = EventsWorker._instances  # type: ignore[misc]
    for worker in list(instances.values()):
        worker.wait_until_empty()


# --- what a driver sends ----------------------------------------------------------------------------------------


class SettingsPart:
    """A settings context in serialized form, good for as long as nothing in the settings has been changed."""

    def __init__(self, settings_context: SettingsContext) -> None:
        self._context = settings_context
        self._before = [(model, dict(model.__dict__)) for model in _models(settings_context.settings)]
        self.data = cloudpickle.dumps(settings_context.serialize())

    def serves(self, settings_context: SettingsContext) -> bool:
        # Settings models are not frozen: a value set in place must reach the tasks submitted after it.
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


class FlowRunPart:
    """A flow run context in serialized form but for its parameters, which the flow may change in place."""

    def __init__(self, flow_run_context: FlowRunContext, dumps: Callable[[Any], bytes]) -> None:
        self._seen = self._identity(flow_run_context)
        serialized = flow_run_context.serialize()
        serialized.pop("parameters", None)
        self.data = dumps(serialized)

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


def settings_context() -> SettingsContext | None:
    return SettingsContext.get()


def flow_run_context() -> FlowRunContext | None:
    return FlowRunContext.get()


def rest_of_context(task: Any, task_run_id: UUID | None, task_inputs: dict[str, set[Any]] | None) -> dict[str, Any]:
    """What `serialize_context` sends beside settings and flow run. Without a task run id, no assets are tracked."""
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
    return {name: value for name, value in rest.items() if value}


# --- what a worker enters ---------------------------------------------------------------------------------------


class Settings:
    """A settings context rebuilt in a worker, and the key of the client that serves it."""

    def __init__(self, data: bytes) -> None:
        rebuilt = SettingsContext(**cloudpickle.loads(data))
        self.profile, self.settings = rebuilt.profile, rebuilt.settings
        self.client_key = client_key(self.settings)

    def context(self) -> SettingsContext:
        return SettingsContext.model_construct(profile=self.profile, settings=self.settings)


class FlowRun:
    """A flow run context rebuilt in a worker. Every task gets a copy with mutable parts of its own."""

    def __init__(self, data: bytes, client: Any) -> None:
        complete_models()
        serialized = cloudpickle.loads(data)
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
            "flow_run_suspension_request": type(self._template.flow_run_suspension_request)(),
        }
        for name in ("task_run_dynamic_keys", "observed_flow_pauses", "run_results", "task_run_assets"):
            update[name] = {}
        if not self._has_start_time:
            update["start_time"] = prefect.types._datetime.now("UTC")
        return self._template.model_copy(update=update)


@cache
def complete_models() -> None:
    """As `hydrated_context` does for every task: a fresh process has not yet resolved the types the models name."""
    from prefect._internal.result_records import ResultRecordMetadata
    from prefect.flows import Flow
    from prefect.tasks import Task

    types = {"Flow": Flow, "Task": Task, "ResultRecordMetadata": ResultRecordMetadata}
    FlowRunContext.model_rebuild(_types_namespace=types)
    TaskRunContext.model_rebuild(_types_namespace=types)


@contextmanager
def entered(
    settings: Settings | None,
    flow_run: Callable[[Any], FlowRun] | None,
    parameters: dict[str, Any] | None,
    rest: Mapping[str, Any],
) -> Iterator[None]:
    """As `hydrated_context`, from parts that were rebuilt before."""
    with ExitStack() as stack:
        ensure_logging_setup()
        if settings is not None:
            stack.enter_context(settings.context())
        key = settings.client_key if settings is not None else client_key(get_current_settings())
        client = stack.enter_context(_client(key))
        _use_events_worker(key)
        if flow_run is not None:
            rebuilt = flow_run(client)
            task_runner = stack.enter_context(rebuilt.flow.task_runner.duplicate())
            stack.enter_context(rebuilt.context(client, task_runner, parameters))
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
