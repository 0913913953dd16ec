"""Prefect's API as far away as users have it: a relay on loopback that keeps every byte back for half a round trip.

What is modelled is distance and nothing else. A byte arrives half of the round trip after it was sent, in both
directions; bytes on their way overlap, so that neither pipelined requests nor a websocket are slowed down beyond that.
A connection costs a round trip to set up: nothing of it arrives before one and a half of them have passed since it was
accepted, as if its first byte had waited for the handshake. There is no limit of throughput, no loss, no TLS, whose
handshake would be one or two round trips more, and no slow start of TCP.

It is a process of its own, so that it never waits for the GIL of the flow's process nor takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from runner_lab.runners.isolation.environment import free_port
from runner_lab.runners.isolation.supervised import module, supervised
from runner_lab.runners.server import ServerError, without_password

running: set[int] = set()
"""Pids of the relays that this process has started: part of the lab, and no worker of what is measured."""

_START_LIMIT_S = 120.0
"""Generous: it imports in a tenth of a second, on a busy machine in many."""
_CHUNK_BYTES = 1 << 16
_CHUNKS_UNDER_WAY = 1024
"""64 MiB in each direction of a connection: so much can be on its way before a sender has to wait."""


@contextmanager
def far_api(api_url: str, round_trip_s: float, log: Path, port: int | None = None) -> Iterator[str]:
    """Put a server `round_trip_s` seconds away, and give the URL by which it is that far.

    The server itself stays as near as it was under its own URL.

    Args:
        api_url: `http://HOST:PORT/api`.
        log: what the relay prints is appended there.
        port: of the relay, on 127.0.0.1; a free one by default.

    Raises:
        ServerError: the URL is not of plain HTTP, or the relay does not start.
    """
    refuse_https(api_url)
    parts = urlsplit(api_url)
    port = port or free_port()
    place = [str(parts.hostname), str(parts.port or 80)]
    command = module("runner_lab.runners.far_api", *place, str(port), repr(round_trip_s))
    with supervised(command, log) as process:
        running.add(process.pid)
        try:
            if not process.reaches(lambda: _listens(port), _START_LIMIT_S):
                raise ServerError(f"the relay that puts the API {round_trip_s:g} s away did not start (see {log})")
            yield far_url(api_url, port)
        finally:
            running.discard(process.pid)


def far_url(api_url: str, port: int) -> str:
    """The URL of a server by way of the relay on `port`."""
    parts = urlsplit(api_url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()


def refuse_https(api_url: str) -> None:
    """
    Raises:
        ServerError: the server is asked by HTTPS, which a relay of bytes would break: the names would not match.
    """
    if urlsplit(api_url).scheme != "http":
        raise ServerError(
            f"{without_password(api_url)} cannot be put farther away: --lab-api-latency works with http:// alone"
        )


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
    except OSError:
        return False
    return True


class Relay:
    """Relays connections to a server, `round_trip_s` away."""

    def __init__(self, host: str, port: int, round_trip_s: float) -> None:
        self._host, self._port = host, port
        self._round_trip_s = round_trip_s

    async def serve(self, port: int) -> None:
        """Relay until cancelled."""
        # The backlog is that of a server that many workers connect to at once.
        listening = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=1024, limit=_CHUNK_BYTES)
        async with listening:
            await listening.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        established_s = asyncio.get_running_loop().time() + self._round_trip_s
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port, limit=_CHUNK_BYTES)
        except OSError:
            writer.transport.abort()
            return
        for end in (writer, far_writer):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(carry(reader, far_writer, self._round_trip_s / 2, established_s))
                both.create_task(carry(far_reader, writer, self._round_trip_s / 2))
        except* OSError:
            # An end that went away without a word takes the other with it.
            pass
        finally:
            for end in (writer, far_writer):
                end.transport.abort()


async def carry(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float, not_before_s: float = 0.0
) -> None:
    """Bring each chunk so long after it was sent, which was not before `not_before_s` (the loop's clock); then the end.

    Raises:
        OSError: one of the two is gone.
    """
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_UNDER_WAY)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_take(source, under_way, delay_s, not_before_s))
            both.create_task(_bring(under_way, sink))
    except* OSError as gone:
        raise gone.exceptions[0] from None


async def _take(
    source: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]], delay_s: float, not_before_s: float
) -> None:
    loop, data = asyncio.get_running_loop(), b"more"
    while data:
        data = await source.read(_CHUNK_BYTES)
        await under_way.put((max(loop.time(), not_before_s) + delay_s, data))


async def _bring(under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s, data = await under_way.get()
        if (left_s := due_s - loop.time()) > 0:
            await asyncio.sleep(left_s)
        if not data:
            sink.write_eof()
            return
        sink.write(data)
        await sink.drain()


def main() -> None:
    parser = argparse.ArgumentParser(description="Relay connections to a server as if it were far away.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("listen", type=int, help="Port on 127.0.0.1.")
    parser.add_argument("round_trip", type=float, help="Seconds.")
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(Relay(given.host, given.port, given.round_trip).serve(given.listen))


if __name__ == "__main__":
    main()
