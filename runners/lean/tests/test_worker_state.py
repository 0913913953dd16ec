"""What a worker keeps between tasks: settings, clients, nothing that grows."""

from __future__ import annotations

import asyncio
import gc
import ssl
import threading
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, PREFECT_TASKS_DEFAULT_RETRIES, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner

pytestmark = pytest.mark.slow


@task
def which_client() -> tuple[int, str, int]:
    from prefect.client.orchestration import get_client
    from prefect.settings.context import get_current_settings

    client = get_client(sync_client=True)
    return id(client), str(client.api_url), id(get_current_settings())


def packed(task: Any) -> tuple[UUID, Any]:
    from concurrent.futures import Future

    from prefect_lean.context import Context

    task_run_id = uuid4()
    return task_run_id, Context(future_type=Future).pack(task, task_run_id, {}, None, None)


def run_here(task: Any) -> Any:
    """One task, packed and run as a worker does."""
    from prefect_lean import shipping

    _, package = packed(task)
    return shipping.runner()(package.call, package.shared).result()


def clients_since(before: set[Any]) -> set[Any]:
    """The clients that threads of this process keep for their tasks, but for those of `before`."""
    from prefect_lean import shipping

    kept = shipping.package().internals.open_clients
    return {context.client for contexts in list(kept) for context in contexts._values.values()} - before


def in_thread(call: Any) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


def test_settings_and_client_are_made_once(lab_server):
    first, second = run_here(which_client), run_here(which_client)
    assert first == second
    assert first[1].rstrip("/") == lab_server.api_url


def test_client_follows_address_and_key(lab_server):
    plain = run_here(which_client)
    with temporary_settings({PREFECT_API_KEY: "another"}):
        keyed = run_here(which_client)
    with temporary_settings({PREFECT_API_URL: lab_server.api_url.replace("127.0.0.1", "localhost")}):
        moved = run_here(which_client)
    with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 5}):
        other_settings = run_here(which_client)
    assert len({plain[0], keyed[0], moved[0]}) == 3
    assert "localhost" in moved[1]
    assert other_settings[0] == plain[0], "a setting that no client reads needs no client of its own"
    assert run_here(which_client) == plain


@pytest.mark.long
def test_client_and_events_outlive_idleness_and_a_restart_of_the_server(scratch, monkeypatch, until, recorded):
    """One client of one worker thread, whose connection was idle for too long, and whose server was then restarted."""
    from concurrent.futures import ThreadPoolExecutor

    from prefect_lean import shipping

    from runner_lab.runners import server
    from runner_lab.runners.isolation.environment import free_port

    @task
    def ask() -> int:
        from prefect.client.orchestration import get_client

        client = get_client(sync_client=True)
        client.hello().raise_for_status()
        return id(client)

    def asked() -> int:
        task_run_id, package = packed(ask)
        client_id = worker.submit(shipping.runner(), package.call, package.shared).result().result()
        # The task's events go another way than its requests.
        recorded(task_run_id, lambda run: run.state.is_completed())
        return client_id

    def closed_by_the_server() -> bool:
        (client,) = clients_since(before)
        return all(connection.has_expired() for connection in client._client._transport._pool.connections)

    monkeypatch.setenv("PREFECT_SERVER_API_KEEPALIVE_TIMEOUT", "1")
    home, port = scratch / "restarted", free_port()
    before = clients_since(set())
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}), ThreadPoolExecutor(1) as worker:
        with server.lab_server(home, port=port):
            first = asked()
            until(closed_by_the_server)
            assert asked() == first
        with server.lab_server(home, port=port):
            assert asked() == first


def test_clients_close_with_their_thread(lab_server):
    # Those of threads that have ended before are not to be counted.
    gc.collect()
    before = clients_since(set())
    (client,) = in_thread(lambda: [run_here(which_client), clients_since(before)][1])
    gc.collect()
    assert client._client.is_closed
    assert clients_since(before) == set()


@pytest.mark.parametrize("asynchronous", [True, False])
def test_tasks_of_an_async_flow_under_threads_load_the_ca_bundle_once(lab_server, monkeypatch, asynchronous):
    """Stock threads load it for every task: a tenth of a second of CPU, one thread at a time."""
    from prefect_lean import LeanThreadPoolTaskRunner

    loaded: list[None] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> Any:
        loaded.append(None)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)

    @task
    async def in_a_loop(number: int) -> int:
        return number

    @task
    def in_a_thread(number: int) -> int:
        return number

    def loads(runner: Any) -> int:
        @flow(task_runner=runner)
        async def wide() -> list[int]:
            before = len(loaded)
            futures = [(in_a_loop if asynchronous else in_a_thread).submit(number) for number in range(8)]
            assert [future.result() for future in futures] == list(range(8))
            return [len(loaded) - before]

        return asyncio.run(wide())[0]  # type: ignore[arg-type]

    assert loads(ThreadPoolTaskRunner()) >= 8
    for runner in (LeanThreadPoolTaskRunner(), LeanThreadPoolTaskRunner(max_workers=2)):
        assert loads(runner) <= 3


def test_clients_close_with_their_process(lab_server, tmp_path):
    """At the end of a worker process, after everything that a task has left to be done then."""
    from prefect_lean import LeanProcessPoolTaskRunner

    path = str(tmp_path / "closed")

    @task
    def keep_client(path: str) -> None:
        import atexit

        from prefect.client.orchestration import get_client

        kept: Any = get_client(sync_client=True)
        assert not kept._client.is_closed
        closes = kept._client.__exit__

        def at_last() -> None:
            # Hooks run from the last to the first: that which closes clients is older, and finds it open.
            with open(path, "a") as file:
                file.write("open, " if not kept._client.is_closed else "closed, ")

        atexit.register(at_last)

        def closed(*args: Any) -> Any:
            found = closes(*args)
            with open(path, "a") as file:
                file.write("then closed")
            return found

        kept._client.__class__ = type("Client", (type(kept._client),), {"__exit__": lambda self, *args: closed(*args)})

    with LeanProcessPoolTaskRunner(max_workers=1) as runner:
        runner.submit(keep_client, {"path": path}).result(timeout=120)
    assert (tmp_path / "closed").read_text() == "open, then closed"


def test_settings_changed_in_place_are_sent(lab_server):
    from prefect.context import SettingsContext
    from prefect_lean.internals import SettingsPart

    with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 1}):
        context = SettingsContext.get()
        assert context is not None
        part = SettingsPart(context)
        assert part.serves(context)
        context.settings.tasks.default_retries = 2
        assert not part.serves(context)


def test_nothing_grows_with_the_number_of_tasks(lab_server, until):
    """Objects of the driver and of a worker thread after many tasks, against those after fewer."""
    from concurrent.futures import Future

    from prefect_lean import shipping
    from prefect_lean.context import Context

    @task
    def nothing() -> None: ...

    kept = {"State", "TaskRun", "EngineContext", "TaskRunContext", "ResultStore", "ResultRecord", "Task", "function"}
    kept |= {"Settings", "SettingsContext", "SyncPrefectClient", "SSLContext", "Thread", "LocalFileSystem"}
    counts: list[Counter[str]] = []

    @flow
    def many() -> None:
        context = Context(future_type=Future)
        run = shipping.runner()

        def work(times: int) -> None:
            for _ in range(times):
                package = context.pack(nothing, uuid4(), {}, None, None)
                run(package.call, package.shared)

        from prefect.events.worker import EventsWorker

        for times in (50, 200):
            in_thread(lambda times=times: work(times))
            events = EventsWorker.instance()._queue
            until(lambda events=events: not events.unfinished_tasks)
            gc.collect()
            names = (type(found).__name__ for found in gc.get_objects())
            counts.append(Counter(name for name in names if name in kept))

    many()
    # Events wait in a buffer of a fixed size until the server has confirmed them; nothing else may remain.
    assert (counts[1] - counts[0]).total() < 50, counts[1] - counts[0]


def test_worker_does_not_load_an_engine_that_it_does_not_run_on(arm):
    if arm.engine in ("threads", "ray"):
        pytest.skip("Ray is loaded where these run.")

    @task
    def loaded() -> bool:
        import sys

        return "ray._private.worker" in sys.modules

    def ask() -> bool:
        return loaded.submit().result(120.0)

    # Workers of its own: those that the suite shares ran other tests' tasks.
    kwargs = {"n_workers": 1, "dashboard_address": None}
    own = {"address": None, "cluster_kwargs": kwargs} if arm.engine == "dask" else {}
    assert arm.flow(ask, **own)() is False


def test_worker_loads_no_integration_that_it_does_not_run_on(arm):
    """Stock workers import all that are installed, to rebuild the storage of results."""
    if arm.name not in ("processes-lean", "dask-lean"):
        pytest.skip("Processes of their own, under a lean runner.")

    @task
    def loaded() -> list[str]:
        import sys

        return [name for name in ("prefect_dask", "prefect_ray") if name in sys.modules]

    def ask() -> list[str]:
        return loaded.submit().result(120.0)

    kwargs = {"n_workers": 1, "dashboard_address": None}
    own = {"address": None, "cluster_kwargs": kwargs} if arm.engine == "dask" else {}
    assert arm.flow(ask, **own)() == (["prefect_dask"] if arm.engine == "dask" else [])


def test_integrations_are_loaded_for_a_block_that_no_module_has_brought(monkeypatch):
    from prefect.blocks import core
    from prefect.blocks.core import UnknownBlockType
    from prefect.filesystems import LocalFileSystem
    from prefect_lean.internals.incoming import look_here_first
    from prefect_lean.internals.source import source_digest

    class BroughtByIntegration(core.Block):
        _block_type_slug = "brought-by-integration"

    asked: list[str] = []
    monkeypatch.setattr(core.Block, "get_block_class_from_key", core.Block.__dict__["get_block_class_from_key"])
    monkeypatch.setattr(core, "load_prefect_collections", lambda: asked.append("all"))
    before = source_digest("prefect.blocks.core:Block.get_block_class_from_key")
    look_here_first()
    look_here_first()
    assert source_digest("prefect.blocks.core:Block.get_block_class_from_key") == before
    assert core.Block.get_block_class_from_key("local-file-system") is LocalFileSystem
    assert type(core.Block(block_type_slug="brought-by-integration")) is BroughtByIntegration
    assert asked == []
    with pytest.raises(UnknownBlockType):
        core.Block.get_block_class_from_key("of-nobody")
    assert asked == ["all"]
