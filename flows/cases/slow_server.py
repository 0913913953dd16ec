"""The program behind `services.order_service`: orders by HTTP, each after a time that is always the same for it.

Run as a script with its folder and the slowest answer in milliseconds; its port is in the folder's file `port`.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

FASTEST_MS = 50


def order(number: int) -> dict[str, int]:
    """What the service has of an order."""
    return {"order": number, "amount": random.Random(number).randrange(100, 100_000)}


def delay_s(number: int, slowest_ms: int) -> float:
    """Seconds until the answer: most are quick, a few take ten times as long, as of a real service."""
    share = random.Random(-1 - number).random() ** 4
    return (FASTEST_MS + max(0, slowest_ms - FASTEST_MS) * share) / 1000


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slowest_ms: int) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            number = int(head.split(maxsplit=2)[1].rpartition(b"/")[2])
            await asyncio.sleep(delay_s(number, slowest_ms))
            body = json.dumps(order(number)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    writer.close()


async def main(folder: Path, slowest_ms: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    # Room for as many callers at once as a runner without a limit has.
    server = await asyncio.start_server(lambda r, w: _serve(r, w, slowest_ms), "127.0.0.1", 0, backlog=4096)
    part = folder / "port.part"
    part.write_text(str(server.sockets[0].getsockname()[1]))
    part.rename(folder / "port")
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
