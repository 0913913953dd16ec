"""The lab's Prefect server: in a home of its own, on loopback, and gone at the end."""

from __future__ import annotations

import http.server
import os
import re
import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import psutil
import pytest

from runner_lab.runners import server
from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation.waiting import wait_for
from runner_lab.runners.server import ServerError, existing_server, without_password
from tests.suite import LIMIT_S


@contextmanager
def answering(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_address[1]}/api"
        listener.shutdown()


class Page(http.server.BaseHTTPRequestHandler):
    page = b"<html>hello</html>"

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *args):
        pass


class Garbage(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1024)
        self.request.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.slow
def test_answers_on_loopback_from_a_home_of_its_own(lab_server, scratch):
    with urllib.request.urlopen(f"{lab_server.api_url}/health") as answer:
        assert answer.read() == b"true"
    process = psutil.Process(lab_server.pid)
    listening = [c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    opened = {file.path for file in process.open_files() if file.path.endswith(".db")}

    assert lab_server.database == "sqlite"
    assert listening == ["127.0.0.1"]
    assert opened == {str(scratch / "home" / "prefect.db")}
    assert (scratch / "home" / "server.log").exists()


@pytest.mark.slow
def test_its_telemetry_is_off(lab_server):
    variables = psutil.Process(lab_server.pid).environ()

    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["DO_NOT_TRACK"] == "1"


@pytest.mark.slow
def test_a_server_that_runs_can_be_used(lab_server):
    found = existing_server(lab_server.api_url + "/")

    assert (found.api_url, found.pid, found.database) == (lab_server.api_url, None, "unknown")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_url", "reason"),
    [
        ("postgresql+asyncpg://user:s3cret@127.0.0.1:1/lab", "Connect call failed"),
        ("nonsense://user:s3cret@127.0.0.1/lab", "sqlalchemy.dialects:nonsense"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(tmp_path, database_url, reason):
    with pytest.raises(ServerError) as refused, server.lab_server(tmp_path, database_url):
        pass

    message = str(refused.value)
    assert re.match(r"the Prefect server ended at once with database \w+(\+asyncpg)?://user:\*\*\*@127", message)
    assert reason in message
    assert str(tmp_path / "server.log") in message
    assert "s3cret" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+asyncpg://me:pw@host/db", "postgresql+asyncpg://me:***@host/db"),
        ("--url=postgresql://me:p%40w@host:5432/db -k x", "--url=postgresql://me:***@host:5432/db -k x"),
        ("postgresql://me:p@w:/x@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("sqlite+aiosqlite:////tmp/a@b.db", "sqlite+aiosqlite:////tmp/a@b.db"),
    ],
)
def test_passwords_are_not_shown(text, shown):
    assert without_password(text) == shown


def test_one_that_is_not_healthy_in_time_is_stopped(tmp_path, descendants):
    before, waits = descendants(), []

    with (
        pytest.raises(ServerError, match=r"was not healthy after 0 s \(see .*server\.log\)"),
        server.lab_server(tmp_path, on_wait=waits.append, limit_s=0.4),
    ):
        pass

    assert waits[0] < 0.4
    assert waits == sorted(waits)
    assert descendants() <= before


def test_what_is_raised_inside_stops_it(tmp_path, descendants, monkeypatch):
    before = descendants()
    monkeypatch.setattr(server, "_wait", lambda *args: None)

    def interrupted():
        with server.lab_server(tmp_path) as started:
            assert psutil.Process(started.pid) in descendants()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert descendants() <= before


def test_the_users_variables_do_not_reach_it(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_wait", lambda *args: None)
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://the/users")
    monkeypatch.setenv("PREFECT_API_KEY", "the user's")
    monkeypatch.setenv("PREFECT_HOME", "/the/users")

    with server.lab_server(tmp_path) as started:
        # For a moment a process that has just begun shows none.
        variables = wait_for("its environment", lambda: psutil.Process(started.pid).environ(), LIMIT_S, poll_s=0.01)

    assert "PREFECT_API_DATABASE_CONNECTION_URL" not in variables
    assert "PREFECT_API_KEY" not in variables
    assert "PREFECT_API_URL" not in variables
    assert variables["PREFECT_HOME"] == str(tmp_path)
    assert variables["PREFECT_PROFILES_PATH"] == str(tmp_path / "profiles.toml")
    assert variables[isolation.MARK] == os.environ[isolation.MARK]


def test_it_starts_from_a_copy_of_a_new_database_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_wait", lambda *args: None)
    monkeypatch.setattr(server, "supervised", lambda *args, **kwargs: nullcontext(SimpleNamespace(pid=0)))
    (tmp_path / "new.db").write_bytes(b"migrated")
    monkeypatch.setenv(server.NEW_DATABASE, str(tmp_path / "new.db"))

    def database(home, url=None):
        with server.lab_server(home, url):
            path = home / "prefect.db"
            return path.read_bytes() if path.exists() else None

    assert database(tmp_path / "home") == b"migrated"
    (tmp_path / "new.db").write_bytes(b"of another version")
    assert database(tmp_path / "home") == b"migrated"
    assert database(tmp_path / "other", "postgresql+asyncpg://the/lab") is None
    monkeypatch.delenv(server.NEW_DATABASE)
    assert database(tmp_path / "third") is None


def test_existing_server_refuses_a_port_where_nothing_listens():
    api_url = f"http://127.0.0.1:{isolation.free_port()}/api"

    with pytest.raises(ServerError, match=rf"^no Prefect server at {api_url}: .*Connection refused; is it running"):
        existing_server(api_url, limit_s=0)


@pytest.mark.parametrize("handler", [Page, Garbage])
def test_existing_server_refuses_what_is_not_prefect(handler):
    with answering(handler) as api_url, pytest.raises(ServerError, match="it answers, but not as a Prefect server"):
        existing_server(api_url, limit_s=0)


@pytest.mark.parametrize("api_url", ["", "nonsense", "ftp://host/api", "http://", "http:///api"])
def test_existing_server_refuses_what_is_no_url(api_url):
    with pytest.raises(ServerError, match=rf"^API URL '{api_url}' is not valid: give http://HOST:PORT/api$"):
        existing_server(api_url, limit_s=0)


def test_existing_server_does_not_show_a_password():
    api_url = f"http://user:s3cret@127.0.0.1:{isolation.free_port()}/api"

    with pytest.raises(ServerError) as refused:
        existing_server(api_url, limit_s=0)
    assert "s3cret" not in str(refused.value)


class Healthy(Page):
    page = b"true"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_server_on_this_host_is_asked_past_a_proxy(monkeypatch, name):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{isolation.free_port()}")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)

    with answering(Healthy) as api_url:
        api_url = api_url.replace("127.0.0.1", name)
        assert existing_server(api_url, limit_s=0).api_url == api_url


def test_a_server_elsewhere_is_asked_by_way_of_the_users_proxy(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with answering(Healthy) as proxy:
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/api"))

        assert existing_server("http://server.invalid:4200/api", limit_s=0).database == "unknown"
