"""An environment of the lab's own for Prefect, Dask and Ray: nothing of the user's is touched, nothing phones home."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MARK = "RUNNER_LAB_MARK"
"""Environment variable that every process of a run carries, by which `runners.isolation.guard` finds what is left."""

_RAY_TOKEN = uuid.uuid4().hex

_RAY_ENTRY = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")

_PREFIXES = ("PREFECT_", "DASK_", "RAY_")


def environment(home: Path, api_url: str | None = None) -> dict[str, str]:
    """The variables that point Prefect, Dask and Ray at `home` and switch their telemetry off.

    Args:
        home: folder for Prefect's home: database, profiles, results.
        api_url: the server that all workers shall use; without one, each worker process would start its own.
    """
    variables = {
        "PREFECT_HOME": str(home),
        # A file that does not exist: else the profiles of the user's home would be read.
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_CLI_PROMPT": "false",
        # Logs go to the API as they do by default, since they are part of what a task costs; only the console is quiet.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Under `uv run` Ray would otherwise pack the working folder and start every worker through `uv run` again.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), _not_by_proxy())
    if api_url:
        variables["PREFECT_API_URL"] = api_url
    # How the user's own Ray cluster is entered: to one that wants a token, a driver without RAY_AUTH_MODE shows none.
    variables |= {name: os.environ[name] for name in _RAY_ENTRY if name in os.environ}
    if token := _ray_token():
        variables["RAY_AUTH_TOKEN"] = token
    return variables


def _not_by_proxy() -> str:
    """Hosts that are asked past any proxy: the user's, and this one, where the lab's server listens."""
    theirs = ",".join(os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")).split(",")
    hosts = dict.fromkeys([*filter(None, map(str.strip, theirs)), "127.0.0.1", "localhost"])
    # `*` is all of them, and means it only while it stands alone.
    return "*" if "*" in hosts else ",".join(hosts)


def _ray_token() -> str | None:
    """The secret of Ray's processes: the user's where there is one, else one that Ray need not write into a home."""
    if "RAY_AUTH_TOKEN_PATH" in os.environ or Path.home().joinpath(".ray", "auth_token").exists():
        return os.environ.get("RAY_AUTH_TOKEN")
    return os.environ.get("RAY_AUTH_TOKEN", _RAY_TOKEN)


@contextmanager
def isolated(variables: Mapping[str, str]) -> Iterator[None]:
    """Put `variables` into this process's environment, and take every other Prefect, Dask and Ray variable out.

    Raises:
        RuntimeError: Prefect was imported before, and so has read the user's settings already.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("the lab's environment must be set before Prefect is imported")
    before = dict(os.environ)
    wanted = {**without_foreign(before), **variables}
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Put one variable into this process's environment, and in the end what was there before."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def no_main_module() -> Iterator[None]:
    """Keep the processes that this one starts from importing what it was started by.

    `multiprocessing` has each import its parent's main module, where a script's functions are looked up. That of the
    lab is a command line or pytest: importing the first took 0.8 s of CPU in every process of a pool.
    """
    main = sys.modules["__main__"]
    before = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(before)


def without_foreign(variables: Mapping[str, str]) -> dict[str, str]:
    """`variables` without those that set up Prefect, Dask or Ray: the user's database, API key or cluster."""
    return {name: value for name, value in variables.items() if not name.startswith(_PREFIXES)}


def free_port() -> int:
    """A TCP port on loopback that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
