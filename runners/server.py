"""The lab's Prefect server: one for all arms and workers, in a home of its own, on loopback."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner_lab.runners.isolation.environment import environment, free_port, without_foreign
from runner_lab.runners.isolation.supervised import Supervised, module, supervised
from runner_lab.runners.isolation.waiting import last_within

START_LIMIT_S = 600.0
"""Generous: a first start imports for 12 s and migrates a database; on a machine with other work that takes minutes."""

NEW_DATABASE = "RUNNER_LAB_NEW_DATABASE"
"""Environment variable with the path of a SQLite database as a new server makes it: the lab's servers start from a copy
of the file, if it is there, and not from an empty one, whose migrations take most of a start."""

_POLL_S = 0.5
_END_GRACE_S = 10.0


class ServerError(RuntimeError):
    """A server that does not start or answer; the message is one line that says what to do."""


@dataclass(frozen=True)
class Server:
    """A server that answers.

    api_url: what `PREFECT_API_URL` is to be.
    database: `sqlite`, `postgresql` or, for a server the lab did not start, `unknown`.
    pid: its process, None where the lab did not start it.
    log: what it prints, None where the lab did not start it.
    settings: those given to it beside the lab's own.
    """

    api_url: str
    database: str
    pid: int | None = None
    log: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def lab_server(
    home: Path,
    database_url: str | None = None,
    port: int | None = None,
    on_wait: Callable[[float], None] = lambda waited_s: None,
    limit_s: float = START_LIMIT_S,
    dashboard: bool = False,
    settings: Mapping[str, str] | None = None,
    counted: bool = False,
) -> Iterator[Server]:
    """Start a server, wait until it is healthy, and stop it at the end.

    Args:
        home: Prefect home of the server; its SQLite database and `server.log` are put there.
        database_url: `postgresql+asyncpg://...` instead of SQLite.
        port: on 127.0.0.1; a free one by default.
        on_wait: called about twice a second while waiting, with the seconds waited.
        limit_s: how long to wait for health.
        dashboard: whether it serves Prefect's pages as well, from a copy in `home`.
        settings: further settings of the server, by the names of their environment variables.
        counted: it counts what it is asked (`runners.counted.counts`), and logs errors that clients may retry.

    Raises:
        ServerError: it ended, or was not healthy within `limit_s`.
    """
    home.mkdir(parents=True, exist_ok=True)
    api_url = f"http://127.0.0.1:{port or (port := free_port())}/api"
    log_path = home / "server.log"
    variables = {**without_foreign(os.environ), **environment(home), **_dashboard(home, api_url, dashboard)}
    if database_url:
        variables["PREFECT_API_DATABASE_CONNECTION_URL"] = database_url
    else:
        _migrated(home / "prefect.db")
    if counted:
        # By default a request that met a locked database is answered with 503 and said nowhere.
        variables["PREFECT_SERVER_LOG_RETRYABLE_ERRORS"] = "true"
        # And the console is quiet in the lab's environment: the log would hold nothing of what is to be counted.
        variables["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "WARNING"
    variables |= settings or {}
    program = "runner_lab.runners.counted" if counted else "prefect"
    command = module(program, "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with supervised(command, log_path, variables, grace_s=_END_GRACE_S) as process:
        _wait(process, api_url, log_path, database_url, on_wait, limit_s)
        database = "postgresql" if (database_url or "").startswith("postgresql") else "sqlite"
        yield Server(api_url, database, process.pid, log_path, dict(settings or {}))


def _migrated(database: Path) -> None:
    new = Path(os.environ.get(NEW_DATABASE, ""))
    if new.is_file() and not database.exists():
        shutil.copyfile(new, database)


def _dashboard(home: Path, api_url: str, wanted: bool) -> dict[str, str]:
    return {
        "PREFECT_SERVER_UI_ENABLED": str(wanted).lower(),
        # Else the pages ask port 4200, whichever the server's own is.
        "PREFECT_UI_API_URL": api_url,
        # Else Prefect copies them within its own package, which other servers of the machine share.
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
    }


def check_url(api_url: str) -> None:
    """
    Raises:
        ServerError: it is no URL of HTTP.
    """
    if not re.match(r"https?://[^/\s]", api_url):
        raise ServerError(f"API URL {without_password(api_url)!r} is not valid: give http://HOST:PORT/api")


def existing_server(api_url: str, limit_s: float = 10.0) -> Server:
    """A server that already runs.

    Raises:
        ServerError: it does not answer within `limit_s`.
    """
    check_url(api_url)
    shown = without_password(api_url)
    api_url = api_url.rstrip("/")
    if reason := last_within(lambda: _unhealthy(api_url), limit_s, _POLL_S, enough=lambda reason: reason is None):
        raise ServerError(f"no Prefect server at {shown}: {reason}; is it running, and does the URL end in /api?")
    return Server(api_url, "unknown")


def _wait(
    process: Supervised,
    api_url: str,
    log_path: Path,
    database_url: str | None,
    on_wait: Callable[[float], None],
    limit_s: float,
) -> None:
    begun_s = time.monotonic()

    def healthy() -> bool:
        if _unhealthy(api_url) is None:
            return True
        on_wait(time.monotonic() - begun_s)
        return False

    if process.reaches(healthy, limit_s, _POLL_S):
        return
    if process.over():
        where = f" with database {without_password(database_url)}" if database_url else ""
        said = without_password(_last_words(log_path))
        raise ServerError(f"the Prefect server ended at once{where}: {said} (all of it: {log_path})")
    raise ServerError(f"the Prefect server was not healthy after {limit_s:.0f} s (see {log_path})")


def ask(request: str | urllib.request.Request, limit_s: float) -> Any:
    """The answer of a server to a request. One on this host is asked past any proxy, which would not find it.

    Raises:
        OSError, ValueError, http.client.HTTPException: it does not answer, or not as it should.
    """
    url = request if isinstance(request, str) else request.full_url
    direct = [urllib.request.ProxyHandler({})] if _on_loopback(url) else []
    return urllib.request.build_opener(*direct).open(request, timeout=limit_s)


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _unhealthy(api_url: str) -> str | None:
    try:
        with ask(f"{api_url}/health", 5.0) as answer:
            return None if answer.read().strip() == b"true" else "it answers, but not as a Prefect server"
    except http.client.HTTPException:
        return "it answers, but not as a Prefect server"
    except (urllib.error.URLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def _last_words(log_path: Path) -> str:
    lines = [line.strip() for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "error" in line]
    return (errors or lines or ["it said nothing"])[-1][:300]


def without_password(text: str) -> str:
    """`text` as it may be shown: the passwords of the URLs in it are stars."""
    return re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)
