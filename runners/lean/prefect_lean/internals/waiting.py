"""Events that wait until the server has room for them: packed in memory, or in a file that outlives the process."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from prefect.events.schemas.events import Event

LIMIT = "PREFECT_LEAN_WAITING_MB"
"""The environment variable with the most that the events of a process may take while they wait, in MB (10^6 bytes)."""

_LIMIT_MB = 256.0

# An event has some 2 kB, nearly all of it as in the one before.
_TOGETHER = 64

_HEAD = struct.Struct("<Q")
_SUFFIX = ".events"


class Waiting:
    """A queue of events.

    The next ones are here as they are, the rest is packed: about a tenth of the size. With a folder, what is packed is
    in a file of this process in it.
    """

    def __init__(self) -> None:
        self._next: deque[Event] = deque()
        self._packed: deque[bytes] = deque()
        self._unpacked: list[Event] = []
        self._file: _File | None = None
        self._next_in_file = False
        self._count = 0
        self._bytes = 0
        self._limit_bytes = float(os.environ.get(LIMIT) or _LIMIT_MB) * 1e6

    def __len__(self) -> int:
        return self._count

    @property
    def is_kept(self) -> bool:
        """Whether what waits outlives this process, once it is closed."""
        return self._file is not None

    def is_safe(self) -> bool:
        """Whether nothing waits that would be lost if this process ended at once. Read by other threads."""
        return not self or (self._file is not None and (not self._next or self._next_in_file))

    def is_full(self) -> bool:
        # Read by other threads.
        packed = self._file.size_bytes if self._file else self._bytes
        return packed > self._limit_bytes

    def keep_in(self, folder: str) -> None:
        """From now on, what has to wait longer waits in a file in `folder`."""
        if self._file is None:
            with contextlib.suppress(OSError):
                self._file = _File(Path(folder))
                for packed in [*self._packed, *([_pack(self._unpacked)] if self._unpacked else [])]:
                    self._file.append(packed)
                self._packed.clear()
                self._unpacked, self._bytes = [], 0

    def append(self, events: list[Event], later: bool) -> None:
        """later: they will not be sent at once, since there is no room."""
        self._count += len(events)
        only_next = self._count == len(self._next) + len(events)
        if not later and only_next and not (self._next and self._next_in_file):
            self._next_in_file = False
            self._next.extend(events)
        elif self._file is not None:
            self._file.append(_pack(events))
        else:
            self._unpacked += events
            while len(self._unpacked) >= _TOGETHER:
                self._packed.append(packed := _pack(self._unpacked[:_TOGETHER]))
                self._bytes += len(packed)
                del self._unpacked[:_TOGETHER]

    def first(self) -> Event:
        if not self._next:
            self._refill()
        return self._next[0]

    def done(self) -> None:
        """The first one has been sent."""
        self._next.popleft()
        self._count -= 1
        if not self._next and self._next_in_file and self._file is not None:
            self._file.done()

    def close(self) -> None:
        if self._file is None:
            return
        # Whoever takes over finds in the file what had been read from it and not been sent.
        if self._next and not self._next_in_file:
            self._file.append(_pack(list(self._next)))
        self._file.close(empty=not self._count)

    def _refill(self) -> None:
        self._next_in_file = not self._packed and not self._unpacked
        if self._packed:
            packed = self._packed.popleft()
            self._bytes -= len(packed)
        elif self._unpacked:
            self._next.extend(self._unpacked)
            self._unpacked = []
            return
        else:
            assert self._file is not None
            packed = self._file.read()
        self._next.extend(_unpack(packed))


class _File:
    """Packed events, one record after the other, and before them how far they have been sent."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"
        self._file = self._path.open("w+b", buffering=0)
        self._read = self._end = _HEAD.size
        self._write(_HEAD.pack(self._read), 0)

    @property
    def size_bytes(self) -> int:
        return self._end - self._read

    def append(self, packed: bytes) -> None:
        self._write(_HEAD.pack(len(packed)) + packed, self._end)
        self._end += _HEAD.size + len(packed)

    def read(self) -> bytes:
        (record, self._read) = _record(self._file, self._read)
        return record

    def done(self) -> None:
        """What was read has been sent."""
        if self._read == self._end:
            self._file.truncate(_HEAD.size)
            self._read = self._end = _HEAD.size
        self._write(_HEAD.pack(self._read), 0)

    def close(self, empty: bool) -> None:
        self._file.close()
        if empty:
            self._path.unlink(missing_ok=True)

    def _write(self, data: bytes, at: int) -> None:
        self._file.seek(at)
        self._file.write(data)


def has_kept_events(folder: str) -> bool:
    """Whether processes that have ended left something in `folder`."""
    return bool(_kept(folder))


def kept_events(folder: str) -> Iterator[list[Event]]:
    """What processes that have ended left in files in `folder`. Each file is removed after its last."""
    for path in _kept(folder):
        with path.open("rb") as file:
            at = _HEAD.unpack(file.read(_HEAD.size))[0]
            # The last record may be half of one.
            with contextlib.suppress(EOFError):
                while True:
                    record, at = _record(file, at)
                    yield _unpack(record)
        path.unlink()


def _kept(folder: str) -> list[Path]:
    files = sorted(Path(folder).glob(f"*{_SUFFIX}"))
    return [path for path in files if not path.name.startswith(f"{os.getpid()}-")]


def _record(file: IO[bytes], at: int) -> tuple[bytes, int]:
    file.seek(at)
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    (size,) = _HEAD.unpack(head)
    record = file.read(size)
    if len(record) < size:
        raise EOFError
    return record, at + _HEAD.size + size


def _pack(events: list[Event]) -> bytes:
    return zlib.compress(json.dumps([event.model_dump_json() for event in events]).encode(), 1)


def _unpack(packed: bytes) -> list[Event]:
    return [Event.model_validate_json(event) for event in json.loads(zlib.decompress(packed))]
