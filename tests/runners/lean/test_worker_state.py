"""What a worker keeps between tasks: settings, clients, nothing that grows."""

from __future__ import annotations

import gc
import http.server
import threading
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, PREFECT_TASKS_DEFAULT_RETRIES, temporary_settings

pytestmark = pytest.mark.slow


@task
def which_client() -> tuple[int, str, int]:
    from prefect.client.orchestration import get_client
    from prefect.settings.context import get_current_settings

    client = get_client(sync_client=True)
    return id(client), str(client.api_url), id(get_current_settings())


def run_here(task: Any) -> Any:
    """One task, packed and run as a worker does."""
    from concurrent.futures import Future

    from runners.lean import shipping
    from runners.lean.context import Context

    package = Context(future_type=Future).pack(task, uuid4(), {}, None, None)
    return shipping.runner()(package.call, package.shared).result()


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


def test_client_outlives_a_server_that_closes_connections(lab_server):
    """A connection that the other side has closed, by a restart or for idleness, is replaced."""
    from prefect.client.orchestration import get_client

    class OneRequest(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b'"3.8.8"' if self.path.endswith("version") else b"true"
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            # Closed without a word to the client.
            self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    from runners.lean import internals

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneRequest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            settings = internals.settings_context()
            assert settings is not None
            key = internals.client_key(settings.settings)
            for _ in range(3):
                with internals.thread_client(key) as client:
                    assert get_client(sync_client=True) is client
                    assert client.api_healthcheck() is None
    finally:
        server.shutdown()
        server.server_close()


def test_clients_close_with_their_thread(lab_server):
    from runners.lean import shipping

    internals = shipping.package().internals
    # Those of threads that have ended before are not to be counted.
    gc.collect()
    before = len(internals.open_clients)
    in_thread(lambda: run_here(which_client))
    gc.collect()
    assert len(internals.open_clients) <= before


def test_settings_changed_in_place_are_sent(lab_server):
    from prefect.context import SettingsContext

    from runners.lean.internals import SettingsPart

    with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 1}):
        context = SettingsContext.get()
        assert context is not None
        part = SettingsPart(context)
        assert part.serves(context)
        context.settings.tasks.default_retries = 2
        assert not part.serves(context)


def test_moved_internals_fall_back(lab_server, monkeypatch):
    """With an internal that has changed, driver and worker take the stock path and say so once."""
    from runners.lean import LeanThreadPoolTaskRunner, internals, shipping

    assert internals.moved({"prefect.context:no_such_thing": "x"}) == ("prefect.context:no_such_thing",)
    shipped = shipping.package()
    monkeypatch.setattr(shipped.internals, "MOVED", ("prefect.context:hydrated_context",))
    shipped.internals.tested._warned.clear()
    with pytest.warns(RuntimeWarning, match=r"3\.8\.8"):
        first = run_here(which_client)
    assert first[1].rstrip("/") == lab_server.api_url
    assert run_here(which_client)[1] == first[1]
    assert LeanThreadPoolTaskRunner(max_workers=2).duplicate()._max_workers == 2


def test_nothing_grows_with_the_number_of_tasks(lab_server):
    """Objects of the driver and of a worker thread after many tasks, against those after fewer."""
    from concurrent.futures import Future

    from runners.lean import shipping
    from runners.lean.context import Context

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
            EventsWorker.instance().wait_until_empty()
            gc.collect()
            names = (type(found).__name__ for found in gc.get_objects())
            counts.append(Counter(name for name in names if name in kept))

    many()
    # Events wait in a buffer of a fixed size until the server has confirmed them; nothing else may remain.
    assert (counts[1] - counts[0]).total() < 50, counts[1] - counts[0]
