"""One server, one Dask cluster and one Ray instance for all lean runner tests, and one flow run for each arm."""

from __future__ import annotations

import contextvars
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Prefect reads its settings when it is imported, which is when the test modules are collected.
_HOME = tempfile.mkdtemp(prefix="lean")
_PORT = _free_port()
os.environ.update(
    PREFECT_HOME=_HOME,
    PREFECT_PROFILES_PATH=f"{_HOME}/profiles.toml",
    PREFECT_API_URL=f"http://127.0.0.1:{_PORT}/api",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_LOGGING_LEVEL="INFO",
    DO_NOT_TRACK="1",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
)


@pytest.fixture(scope="session")
def lab_server() -> Iterator[str]:
    """The API URL of a server of the session's own."""
    log = Path(_HOME, "server.log").open("wb")  # noqa: SIM115
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(_PORT),
        "--no-ui",
    ]
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{_PORT}/api"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).read()
                break
            except OSError:
                assert server.poll() is None, Path(log.name).read_text()[-2000:]
                time.sleep(0.5)
        else:
            pytest.fail("The Prefect server did not answer within two minutes.")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


@pytest.fixture(scope="session")
def dask_cluster(lab_server: str) -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, resources={"slot": 1}, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray_instance(lab_server: str) -> Iterator[None]:
    import ray

    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(num_cpus=3, include_dashboard=False, _temp_dir=folder, log_to_driver=False)
        yield
        ray.shutdown()


@dataclass
class Arm:
    """One runner, and a flow run of it that tests run their bodies in."""

    engine: str
    lean: bool
    make: Callable[..., Any]
    """Make a runner, with further arguments of its constructor."""
    flow_run_id: Any = None
    _context: contextvars.Context | None = None
    _ready: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)

    def run(self, body: Callable[[], Any]) -> Any:
        """Run `body` as if it were the body of this arm's flow."""
        assert self._context is not None
        return self._context.copy().run(body)

    def differs(self, reason: str, *, engine: str, lean: bool) -> None:
        """A difference between stock and lean that docs/lean-runners.md lists."""
        if self.engine == engine and self.lean == lean:
            pytest.xfail(reason)


# A flow is shipped to the workers: what its function refers to must not hold locks.
HOSTS: dict[str, Arm] = {}
ARMS = [f"{engine}-{kind}" for engine in ("threads", "processes", "dask", "ray") for kind in ("stock", "lean")]


@pytest.fixture(scope="session", params=ARMS)
def arm(request: pytest.FixtureRequest, lab_server: str) -> Iterator[Arm]:
    from prefect import flow

    name = request.param
    arm = HOSTS[name] = Arm(*_maker(name, request))
    module = __name__

    def host(pet: str) -> None:
        import contextvars
        import sys

        from prefect.context import FlowRunContext

        here = sys.modules[module].HOSTS[name]
        flow_run_context = FlowRunContext.get()
        assert flow_run_context is not None
        assert flow_run_context.flow_run is not None
        here.flow_run_id = flow_run_context.flow_run.id
        here._context = contextvars.copy_context()
        here._ready.set()
        here._done.wait()

    hosting = threading.Thread(target=flow(host, name=name, task_runner=arm.make()), args=("fish",))
    hosting.start()
    assert arm._ready.wait(120)
    yield arm
    arm._done.set()
    hosting.join()


def _maker(name: str, request: pytest.FixtureRequest) -> tuple[str, bool, Callable[..., Any]]:
    import runners.lean as lean

    engine, kind = name.split("-")
    if engine == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        threads: Any = lean.LeanThreadPoolTaskRunner if kind == "lean" else ThreadPoolTaskRunner
        return engine, kind == "lean", lambda **more: threads(**{"max_workers": 3} | more)
    if engine == "processes":
        from prefect.task_runners import ProcessPoolTaskRunner

        processes: Any = lean.LeanProcessPoolTaskRunner if kind == "lean" else ProcessPoolTaskRunner
        return engine, kind == "lean", lambda **more: processes(**{"max_workers": 2} | more)
    if engine == "dask":
        from prefect_dask import DaskTaskRunner

        address = request.getfixturevalue("dask_cluster").scheduler_address
        dask: Any = lean.LeanDaskTaskRunner if kind == "lean" else DaskTaskRunner
        return engine, kind == "lean", lambda **more: dask(**{"address": address} | more)
    from prefect_ray import RayTaskRunner

    request.getfixturevalue("ray_instance")
    ray_runner: Any = lean.LeanRayTaskRunner if kind == "lean" else RayTaskRunner
    return engine, kind == "lean", lambda **more: ray_runner(**more)


@pytest.fixture(scope="session")
def recorded(lab_server: str) -> Callable[..., Any]:
    """`recorded(task_run_id, ready)`: the task run once `ready` says so of it."""
    return _recorded


def _recorded(task_run_id: Any, ready: Callable[[Any], bool], within_s: float = 60) -> Any:
    """The task run as the API has it once `ready` says so of it; the server lags behind what it is told."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    seen = None
    deadline = time.monotonic() + within_s
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            try:
                seen = client.read_task_run(task_run_id)
                if ready(seen):
                    return seen
            except ObjectNotFound:
                pass
            time.sleep(0.1)
    raise AssertionError(f"The API has {seen and seen.state!r} of task run {task_run_id}")
