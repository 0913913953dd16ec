"""The ledger: which bodies ran, on which host, and when each began and ended, kept outside Prefect.

Under a folder where the workers reach it; on hosts that share none, by a connection to a `Collector` in the driver.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import socketserver
import threading
import uuid
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_CONNECT_LIMIT_S = 30.0
_SCHEME = "tcp"


def host_id() -> str:
    """The host of this process: two bodies with the same one read the same clock.

    Hostname, the kernel's boot id and its time namespace. The boot id alone would be that of a virtual machine's copies
    too, and the hostname alone may be that of many containers. Containers of one kernel with names of their own count
    as other hosts, although their clocks may be one: a figure is lost, none is wrong.
    """
    boot = _read("/proc/sys/kernel/random/boot_id") or f"{uuid.getnode():012x}"
    # Kept nowhere: what a module keeps travels to another host with a function that is shipped by value.
    return "/".join(filter(None, (socket.gethostname(), boot, _time_namespace())))


@dataclass(frozen=True)
class Execution:
    """One execution of a body. Clocks are `time.monotonic` of the host it ran on, and mean nothing on another.

    host: `host_id` there.
    """

    name: str
    lane: int
    pid: int
    start_s: float
    end_s: float
    host: str = field(default_factory=host_id)

    @property
    def hostname(self) -> str:
        return self.host.partition("/")[0]


class Ledger:
    """Body executions under a folder: one file a process, one appended line an execution.

    Appending one short line to a file of its own needs no lock, and a killed worker loses at most its last line.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def write(self, entry: Execution) -> None:
        # Processes of two hosts may have one number, and the folder may be shared by both.
        with open(self.folder / f"{entry.pid}-{zlib.crc32(entry.host.encode()):08x}.jsonl", "a") as file:
            file.write(json.dumps(asdict(entry)) + "\n")

    def entries(self) -> list[Execution]:
        """All executions so far; a line that is not whole (its writer was killed, or is still at it) is none."""
        return [
            Execution(**json.loads(line))
            for path in sorted(self.folder.glob("*.jsonl"))
            for line in path.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def attempts(self, name: str, lane: int) -> int:
        """Executions so far of one task, whichever process they ran in."""
        return sum(entry.name == name and entry.lane == lane for entry in self.entries())


class RemoteLedger:
    """The ledger of another host, by the address of its `Collector`.

    A connection for each call: what is shipped to a worker by value has no place there to keep one.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def write(self, entry: Execution) -> None:
        """
        Raises:
            OSError: the collector cannot be reached, or did not take the entry.
        """
        self._ask({"entry": asdict(entry)})

    def attempts(self, name: str, lane: int) -> int:
        """
        Raises:
            OSError: the collector cannot be reached, or gave no answer.
        """
        return self._ask({"attempts": [name, lane]})

    def _ask(self, request: dict[str, object]) -> int:
        parts = urlsplit(self.address)
        line = json.dumps({"token": parts.path.strip("/"), **request})
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_CONNECT_LIMIT_S) as connection:
            connection.sendall(line.encode() + b"\n")
            answer = connection.makefile("rb").readline()
        if not answer.strip().isdigit():
            raise ConnectionError(f"the ledger at {parts.hostname}:{parts.port} did not take a request")
        return int(answer)


def ledger_at(place: str) -> Ledger | RemoteLedger:
    """The ledger at a folder, or at the address of a collector."""
    return RemoteLedger(place) if place.startswith(f"{_SCHEME}://") else Ledger(place)


class Collector:
    """Takes the entries of other hosts into a folder, for as long as it is entered.

    Args:
        folder: of the `Ledger` that gets them.
        host: the address of this host to listen on; only who knows `address`, which holds a secret, is answered.
    """

    def __init__(self, folder: Path, host: str) -> None:
        ledger, lock, token = Ledger(folder), threading.Lock(), secrets.token_hex(8)

        class Request(socketserver.StreamRequestHandler):
            timeout = _CONNECT_LIMIT_S

            def handle(self) -> None:
                # What is no request of a body gets no answer.
                with suppress(OSError, ValueError, TypeError, KeyError):
                    request = json.loads(self.rfile.readline(1 << 16))
                    if not secrets.compare_digest(str(request["token"]), token):
                        return
                    with lock:
                        if "entry" in request:
                            ledger.write(Execution(**request["entry"]))
                            answer = 1
                        else:
                            name, lane = request["attempts"]
                            answer = ledger.attempts(name, lane)
                    self.wfile.write(b"%d\n" % answer)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Listener((host, 0), Request)
        self.address = f"{_SCHEME}://{host}:{self._server.server_address[1]}/{token}"

    def __enter__(self) -> Collector:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="ledger", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _time_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/time")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
