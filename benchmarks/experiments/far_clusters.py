"""Dask and Ray clusters on the hosts of a network, started by their own command lines and without this project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from runner_lab.benchmarks.experiments.network import Host
from runner_lab.benchmarks.experiments.processes import running

DASK_PORT = 8786
START_LIMIT_S = 180.0
# Ray gives a node 30 s to come up, which on a busy machine is not enough.
_AGAIN = ("sh", "-c", 'for attempt in 1 2 3 4; do "$@" && exit; done', "again")
_CONNECT = """
import socket, sys, time
address, port, limit_s = sys.argv[1:]
deadline = time.monotonic() + float(limit_s)
while True:
    try:
        sys.exit(socket.create_connection((address, int(port)), timeout=5).close())
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.2)
"""
RAY_PORT = 6379
RAY_CLIENT_PORT = 10001
FORKS_IN_PEACE = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
"""For a head node with a Ray Client's address, whose server for a client else may die as it is forked:
https://github.com/ray-project/ray/issues/63202. It starts another program right away, so nothing is lost."""


@contextmanager
def dask_on(first: Host, second: Host, python: Path, folder: Path) -> Iterator[str]:
    """A scheduler and a worker on the first host, a worker on the second; its address."""
    address = f"tcp://{first.address}:{DASK_PORT}"
    dask = [str(python), "-m", "dask"]
    with ExitStack() as stack:
        scheduler = [*dask, "scheduler", "--host", first.address, "--port", str(DASK_PORT), "--no-dashboard"]
        stack.enter_context(process_on(first, scheduler, folder, "scheduler"))
        for host in (first, second):
            worker = [*dask, "worker", address, "--host", host.address, "--nthreads", "1", "--no-dashboard"]
            worker += ["--name", host.name, "--local-directory", str(_home(folder, host))]
            stack.enter_context(process_on(host, worker, folder, "worker"))
        yield address


@contextmanager
def ray_on(first: Host, second: Host, python: Path, folder: Path) -> Iterator[str]:
    """A head node on the first host, another node on the second, a CPU each; the address of Ray's client server.

    A driver on a third host would else have to be a node of the cluster itself.
    """
    start = [str(python), "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1", "--disable-usage-stats"]
    head = ["--head", "--port", str(RAY_PORT), "--ray-client-server-port", str(RAY_CLIENT_PORT)]
    head += ["--include-dashboard", "false", "--temp-dir", str(folder / "ray")]
    in_peace = ["env", *(f"{name}={value}" for name, value in FORKS_IN_PEACE.items())]
    with ExitStack() as stack:
        for host, arguments in ((first, head), (second, ["--address", f"{first.address}:{RAY_PORT}"])):
            command = [*in_peace, *_AGAIN, *start, *arguments, "--node-ip-address", host.address]
            stack.enter_context(process_on(host, command, folder, "ray"))
            # A node that comes before the head is up gives up.
            wait_for(second, first.address, RAY_CLIENT_PORT, 3 * START_LIMIT_S)
        yield f"ray://{first.address}:{RAY_CLIENT_PORT}"


@contextmanager
def process_on(
    host: Host,
    command: Sequence[str],
    folder: Path,
    name: str,
    variables: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on a host, in a folder and a Prefect home of the host's own.

    Args:
        folder: of all hosts; the output goes there unless `log` says where to.
        variables: for this project's own processes. Without any it gets, as one elsewhere, neither this project nor the
            address of the API.
    """
    home = _home(folder, host)
    # No way leads out of this network, to a proxy least of all.
    outer = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environ = {**outer, **(variables or {}), "PREFECT_HOME": str(home / "prefect")}
    if variables is None:
        for foreign in ("PYTHONPATH", "PREFECT_API_URL"):
            environ.pop(foreign, None)
    log = log or folder / f"{host.name}-{name}.log"
    with running(host.command(*command), environ, log, home) as process:
        yield process


def wait_for(here: Host, address: str, port: int, limit_s: float = START_LIMIT_S) -> None:
    """Wait on a host until somebody listens at an address.

    Raises:
        RuntimeError: nobody does within `limit_s`.
    """
    waiting = [sys.executable, "-c", _CONNECT, address, str(port), str(limit_s)]
    if subprocess.run(here.command(*waiting), stderr=subprocess.DEVNULL).returncode:
        raise RuntimeError(f"nobody listens at {address}:{port} after {limit_s:.0f} s")


def _home(folder: Path, host: Host) -> Path:
    home = folder / host.name
    home.mkdir(exist_ok=True)
    return home


CLUSTERS: dict[str, Callable[[Host, Host, Path, Path], AbstractContextManager[str]]] = {"dask": dask_on, "ray": ray_on}
