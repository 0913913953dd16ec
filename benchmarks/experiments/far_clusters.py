"""Prefect's server, and Dask and Ray clusters, on the hosts of a network.

The clusters are started by their own command lines and without this project.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from runner_lab.benchmarks.experiments import network
from runner_lab.benchmarks.experiments.frame.suite import Surroundings
from runner_lab.benchmarks.experiments.network import Host
from runner_lab.benchmarks.session.stages import Say
from runner_lab.runners.isolation.environment import environment, isolated
from runner_lab.runners.isolation.supervised import Supervised, module, supervised
from runner_lab.runners.isolation.waiting import OverdueError, wait_for
from runner_lab.runners.server import Server, ServerError

DASK_PORT = 8786
START_LIMIT_S = 180.0
# Ray gives a node 30 s to come up, which on a busy machine is not enough.
_AGAIN = ("sh", "-c", 'for attempt in 1 2 3 4; do "$@" && exit; done', "again")
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()"
RAY_PORT = 6379
RAY_CLIENT_PORT = 10001
FORKS_IN_PEACE = {"GRPC_ENABLE_FORK_SUPPORT": "0"}
"""For a head node with a Ray Client's address, whose server for a client else may die as it is forked:
https://github.com/ray-project/ray/issues/63202. It starts another program right away, so nothing is lost."""


HOSTS = ("server", "driver", "left", "right")
_PREFECT_PORT = 4200


@contextmanager
def across_hosts(scratch: Path, say: Say) -> Iterator[Surroundings]:
    """A network of hosts with Prefect's server on one of them, and an environment that points at it.

    Raises:
        NetworkError: it cannot be made.
        ServerError: the server does not start.
    """
    say(f"making a network of {len(HOSTS)} hosts")
    with ExitStack() as stack:
        # A network first: where there can be none, that is all.
        net = stack.enter_context(network.network(HOSTS))
        here = net["server"].address
        api_url = f"http://{here}:{_PREFECT_PORT}/api"
        # A Ray node that joins, and a driver, show their token only where they are told to.
        stack.enter_context(isolated({**environment(scratch / "home", api_url), "RAY_AUTH_MODE": "token"}))
        say("starting the lab's Prefect server on a host of its own")
        serve = module("prefect", "server", "start", "--host", here, "--port", str(_PREFECT_PORT))
        variables = {**environment(scratch / "server"), "PREFECT_SERVER_UI_ENABLED": "false"}
        server = stack.enter_context(process_on(net["server"], serve, scratch, "prefect", variables))
        try:
            wait_until_answered(net["driver"], here, _PREFECT_PORT, 2 * START_LIMIT_S)
        except OverdueError as error:
            raise ServerError(f"the Prefect server did not come up: {error}") from None
        yield Surroundings(Server(api_url, "sqlite", server.pid), {"network": asdict(net)})


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
            wait_until_answered(second, first.address, RAY_CLIENT_PORT, 3 * START_LIMIT_S)
        yield f"ray://{first.address}:{RAY_CLIENT_PORT}"


@contextmanager
def process_on(
    host: Host,
    command: Sequence[str],
    folder: Path,
    name: str,
    variables: Mapping[str, str] | None = None,
    own_log: bool = True,
) -> Iterator[Supervised]:
    """A process on a host, in a folder and a Prefect home of the host's own.

    Args:
        folder: of all hosts; the output goes there.
        own_log: else the output goes where that of this process goes.
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
    log = folder / f"{host.name}-{name}.log" if own_log else None
    with supervised(host.command(*command), log, environ, home) as process:
        yield process


def wait_until_answered(here: Host, address: str, port: int, limit_s: float) -> None:
    """Wait on a host until somebody listens at an address.

    Raises:
        OverdueError: nobody does within `limit_s`.
    """
    connect = here.command(sys.executable, "-c", _CONNECT, address, str(port))
    wait_for(
        f"an answer at {address}:{port}",
        lambda: not subprocess.run(connect, stderr=subprocess.DEVNULL).returncode,
        limit_s,
        poll_s=0.2,
    )


def _home(folder: Path, host: Host) -> Path:
    home = folder / host.name
    home.mkdir(exist_ok=True)
    return home


CLUSTERS: dict[str, Callable[[Host, Host, Path, Path], AbstractContextManager[str]]] = {"dask": dask_on, "ray": ray_on}
