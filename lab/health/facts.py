"""The facts that `runner-lab doctor` judges. Nothing of the user's is written, Prefect's home least of all."""

from __future__ import annotations

import inspect
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import urllib.request
from importlib.metadata import requires
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from runner_lab.benchmarks.measuring import environment
from runner_lab.lab.health import reach
from runner_lab.lab.health.examination import PORTS, Facts, PrefectFacts
from runner_lab.runners import catalog

_LIMIT_S = 180.0

_PROCESS = f"""
import json
{inspect.getsource(reach.answer)}
found = {{}}
try:
    from prefect.context import get_settings_context
    context = get_settings_context()
    settings = context.settings
    found["api_url"] = settings.api.url
    found["profile"] = context.profile.name
    found["storage_block"] = settings.results.default_storage_block
except Exception as error:
    found["error"] = " ".join(f"{{type(error).__name__}}: {{error}}".split())[:300]
if url := found.get("api_url"):
    said = answer(url, {reach.ANSWER_S})
    found["unreachable"] = None if said == "ok" else said
print("\\n" + json.dumps(found))
"""
"""What a worker does first, and then asks its server."""


def gather(config: Path | None = None) -> Facts:
    """Look at this machine, its Prefect and the clusters of a `runners.toml`; takes about ten seconds.

    Raises:
        ConfigError: the `runners.toml` cannot be used.
    """
    requirements = tuple(requires("runner-lab") or ())
    arms = catalog.load(config or catalog.default_config())
    names = {Requirement(text).name for text in requirements} | {"prefect", "fastapi", "sqlalchemy"}
    names |= {package.distribution for engine in arms.engines.values() for package in engine.requires}
    clusters = {engine: settings.address for engine, settings in arms.clusters.items() if settings.address}
    # Before the processes below are there to be counted.
    busy = psutil.cpu_percent(interval=0.5) / 100
    with tempfile.TemporaryDirectory(prefix="rlab-") as elsewhere:
        asked = [_ask(Path.cwd(), Path(elsewhere)), _ask(Path(elsewhere), Path(elsewhere))]
        here, worker = map(_seen, asked)
    cores = environment.cores()
    return Facts(
        python=platform.python_version(),
        versions={name: environment.installed_version(name) for name in sorted(names)},
        requirements=requirements,
        engines={engine.title: [p.distribution for p in engine.requires] for engine in arms.engines.values()},
        missing={engine.title: line for engine in arms.engines.values() if (line := engine.missing())},
        here=here,
        worker=worker,
        server_storage=not here.unreachable and here.api_url is not None and _server_storage(here.api_url),
        clusters=clusters,
        reached={
            arms.engines[name].title: workers for name, workers in reach.from_workers(clusters, here.api_url).items()
        },
        governor=environment.governor(),
        busy=busy,
        load=os.getloadavg()[0] / cores,
        cores=cores,
        ports=_ports(),
    )


def _ask(folder: Path, home: Path) -> subprocess.Popen[str]:
    """A process that imports Prefect as a worker does, in `folder`, with the user's settings and a home of its own."""
    users_home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    variables = {
        "PREFECT_PROFILES_PATH": str(users_home / "profiles.toml"),
        **os.environ,
        # To import Prefect makes its home where there is none.
        "PREFECT_HOME": str(home),
        "DO_NOT_TRACK": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", _PROCESS],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _seen(process: subprocess.Popen[str]) -> PrefectFacts:
    try:
        said, _ = process.communicate(timeout=_LIMIT_S)
        return PrefectFacts(**{"api_url": None, **json.loads(said.splitlines()[-1])})
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return PrefectFacts(None, error=f"no answer within {_LIMIT_S:.0f} s")
    except (ValueError, IndexError, TypeError):
        return PrefectFacts(None, error=f"the process that imports Prefect ended with exit code {process.returncode}")


def _server_storage(api_url: str) -> bool:
    """Whether the server has a storage for results of those who set none."""
    try:
        with urllib.request.urlopen(f"{api_url.rstrip('/')}/admin/storage", timeout=reach.ANSWER_S) as answer:
            return any(json.load(answer).values())
    except (OSError, ValueError, AttributeError):
        return False


def _ports() -> dict[int, str | None]:
    return {number: listener(number) for number in PORTS}


def listener(number: int) -> str | None:
    """Who listens on a port, as far as this user may know."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == number:
                return _named(found.pid)
        return None
    except psutil.AccessDenied:
        # macOS shows nobody's connections to an ordinary user.
        with socket.socket() as tried:
            tried.settimeout(1.0)
            return "some process" if tried.connect_ex(("127.0.0.1", number)) == 0 else None


def _named(pid: int | None) -> str:
    """A process by its program and what it runs, such as `python -m prefect (pid 42)`."""
    if pid is None:
        return "a process of another user"
    try:
        program, *words = psutil.Process(pid).cmdline() or [psutil.Process(pid).name()]
    except psutil.Error:
        return f"pid {pid}"
    return f"{' '.join([Path(program).name, *words[:2]])[:60]} (pid {pid})"
