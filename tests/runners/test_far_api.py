"""A server that is far away: when bytes arrive, what goes by way of the relay, and that it ends with the lab.

Times have lower bounds alone: a machine may be slow. What must not take longer is tried on a clock of the test's own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest

from runner_lab.benchmarks.measuring.quiescence import wait_recorded
from runner_lab.benchmarks.measuring.usage import Meter
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.records.graph import GraphSpec
from runner_lab.runners.far_api import carry, far_api, far_url
from runner_lab.runners.isolation.environment import free_port
from runner_lab.runners.isolation.waiting import wait_for
from runner_lab.runners.server import ServerError, ask
from tests.suite import LIMIT_S

ROUND_TRIP_S = 0.3

LAB = """
import sys, time
from pathlib import Path
from runner_lab.runners.far_api import far_api
from runner_lab.runners.isolation.guard import guarded

with guarded() as scratch, far_api("http://127.0.0.1:1/api", 0.1, scratch / "relay.log") as url:
    print(url, flush=True)
    time.sleep(600)
"""


@contextmanager
def echoing() -> Iterator[str]:
    """A server that sends back what it gets, until its client has no more to send."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def echo(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port_of(url)), LIMIT_S) as connection:
        yield connection


def received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def asked(connection: socket.socket) -> float:
    """Seconds from a question to its answer."""
    begun = time.monotonic()
    connection.sendall(b"ping")
    assert received(connection, 4) == b"ping"
    return time.monotonic() - begun


def test_an_answer_takes_a_round_trip_and_the_first_of_a_connection_two(tmp_path):
    with echoing() as near, far_api(near, ROUND_TRIP_S, tmp_path / "log") as far, connected(far) as connection:
        first, second = asked(connection), asked(connection)

    assert first >= 2 * ROUND_TRIP_S - 0.01
    assert second >= ROUND_TRIP_S - 0.01


def test_what_is_sent_arrives_whole_and_in_order_and_so_does_the_end(tmp_path):
    sent = os.urandom(5_000_000)
    with echoing() as near, far_api(near, 0.02, tmp_path / "log") as far, connected(far) as connection:
        writing = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
        writing.start()
        assert received(connection, len(sent) + 1) == sent
        writing.join()


def test_a_server_that_is_not_there_is_not_there_by_way_of_the_relay(tmp_path):
    near = f"http://127.0.0.1:{free_port()}/api"
    # Closed, or broken off: never an answer.
    with far_api(near, 0.02, tmp_path / "log") as far, connected(far) as connection, suppress(ConnectionError):
        assert connection.recv(1) == b""


class OwnClock(asyncio.SelectorEventLoop):
    """Time passes by waiting alone."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def skipping(timeout: float | None = None) -> list:
            self._now += timeout or 0.0
            return select(0)

        self._selector.select = skipping

    def time(self) -> float:
        return self._now


class Sink:
    """Notes what arrives, and when."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, bytes]] = []

    def write(self, data: bytes) -> None:
        self.arrived.append((asyncio.get_running_loop().time(), data))

    def write_eof(self) -> None:
        self.write(b"")

    async def drain(self) -> None: ...


def carried(delay_s: float, not_before_s: float, sent: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    async def main() -> list[tuple[float, bytes]]:
        source, sink = asyncio.StreamReader(), Sink()

        async def send() -> None:
            for at_s, data in sent:
                await asyncio.sleep(at_s - asyncio.get_running_loop().time())
                source.feed_data(data)
            await asyncio.sleep(1.0)
            source.feed_eof()

        await asyncio.gather(send(), carry(source, sink, delay_s, not_before_s))  # type: ignore[arg-type]
        return sink.arrived

    with asyncio.Runner(loop_factory=OwnClock) as runner:
        return [(round(at_s, 6), data) for at_s, data in runner.run(main())]


def test_bytes_that_are_under_way_together_arrive_as_they_were_sent():
    found = carried(0.5, 0.0, [(0.1, b"a"), (0.2, b"b"), (0.3, b"c")])

    assert found == [(0.6, b"a"), (0.7, b"b"), (0.8, b"c"), (1.8, b"")]


def test_nothing_arrives_of_a_connection_that_is_still_being_set_up():
    found = carried(0.5, 1.0, [(0.1, b"a"), (0.2, b"b"), (1.4, b"c")])

    assert found == [(1.5, b"a"), (1.5, b"b"), (1.9, b"c"), (2.9, b"")]


@pytest.mark.parametrize(
    ("api_url", "far"),
    [
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:5/api"),
        ("http://me:pw@prefect.example/some/api", "http://me:pw@127.0.0.1:5/some/api"),
    ],
)
def test_the_url_of_a_server_that_is_farther_away(api_url, far):
    assert far_url(api_url, 5) == far


def test_https_is_refused_in_one_line_without_a_password(tmp_path):
    with (
        pytest.raises(ServerError, match=r"^https://me:\*\*\*@h/api cannot be put farther away: [^\n]+ http:// alone$"),
        far_api("https://me:s3cret@h/api", 0.1, tmp_path / "log"),
    ):
        pass


def test_a_relay_that_does_not_start_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        relay = far_api("http://127.0.0.1:1/api", 0.1, tmp_path / "log", taken.getsockname()[1])
        with pytest.raises(
            ServerError, match=r"^the relay that puts the API 0\.1 s away did not start \(see [^\n]+\)$"
        ):
            relay.__enter__()


def test_it_is_no_worker_of_what_is_measured(tmp_path, descendants):
    before = descendants()
    with far_api("http://127.0.0.1:1/api", 0.1, tmp_path / "log"):
        (relay,) = descendants() - before
        meter = Meter(None)
        others = [resident(before)]
        meter.start()
        usage, _ = meter.stop()
        # The suite's server may grow or shrink meanwhile.
        others.append(resident(before))
        assert usage.workers_rss_bytes < max(others) + relay.memory_info().rss / 2


def resident(processes: set[psutil.Process]) -> int:
    """Bytes of those that are still there: what the suite has left may end at any moment."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_does_not_outlive_the_lab(users_environment, tmp_path, number):
    lab = subprocess.Popen(
        [sys.executable, "-c", LAB],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=users_environment,
        cwd=tmp_path,
        start_new_session=True,
        # As in a terminal, even where the suite itself runs in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert lab.stdout is not None
        with lab.stdout:
            lab.stdout.readline()
            family = psutil.Process(lab.pid).children(recursive=True)
            assert any("runner_lab.runners.far_api" in process.cmdline() for process in family)
            os.killpg(lab.pid, number)
            lab.wait(LIMIT_S)
            wait_for("the end of the relay", lambda: not any(map(psutil.Process.is_running, family)), LIMIT_S)
    finally:
        lab.kill()
        lab.wait()


def connections(url: str) -> set[int]:
    """Ports of this process that are connected to a server."""
    port = port_of(url)
    found = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in found if c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED}


@pytest.mark.slow
def test_a_server_is_asked_by_way_of_it(lab_server, tmp_path):
    with far_api(lab_server.api_url, ROUND_TRIP_S, tmp_path / "log") as far:
        begun = time.monotonic()
        with ask(f"{far}/health", LIMIT_S) as answer:
            assert answer.read() == b"true"
        assert time.monotonic() - begun >= 2 * ROUND_TRIP_S - 0.01


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["threads", "lean-threads", "processes"])
def test_a_flow_that_is_far_from_its_server_has_all_its_task_runs_recorded(
    lab_server, arms, run_graph, cluster_for, tmp_path, arm
):
    from prefect.settings import PREFECT_API_URL

    graph, before = GraphSpec(width=3), connections(lab_server.api_url)
    spec = arms.arms[arm].with_workers(2)
    with ExitStack() as relays:
        places = ApiPlaces(lab_server.api_url, tmp_path, relays)
        with places.at(ROUND_TRIP_S):
            begun = time.monotonic()
            far = places.url(ROUND_TRIP_S)
            assert (PREFECT_API_URL.value(), os.environ["PREFECT_API_URL"]) == (far, far)
            ran = run_graph(graph, spec, cluster_for(spec))
            took_s = time.monotonic() - begun
            # HTTP and the websocket of the events alike: nothing of a flow run goes to the server past the relay.
            assert connections(far)
            # (A pool's processes make the driver so slow that what earlier tests left behind connects anew.)
            assert connections(lab_server.api_url) <= before or arm == "processes"
        assert (PREFECT_API_URL.value(), os.environ["PREFECT_API_URL"]) == (lab_server.api_url, lab_server.api_url)

    assert ran.outcome.result == graph.result
    assert took_s >= 4 * ROUND_TRIP_S
    recorded = wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks, LIMIT_S)
    assert (recorded.final, recorded.completed) == (graph.tasks, graph.tasks)
