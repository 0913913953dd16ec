"""What a probe saw, in one file a process that outlives a process which is killed."""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STAGES = ("serialize", "unpickle", "hydrate", "client", "body", "task")

# A record is there once its first byte, the number of its stage, is: it is written last.
_RECORD = struct.Struct("<Bqdd")
_REST = struct.Struct("<qdd")


@dataclass(frozen=True)
class Span:
    """A process was at something from `begin_s` to `end_s`: see `Point.stage`."""

    stage: str
    pid: int
    thread: int
    begin_s: float
    end_s: float


class SpanFile:
    """The spans of this process, in memory that it shares with a file.

    Noting one takes no system call, so that a task which is timed waits for none. What was noted is in the file even if
    the process is killed.
    """

    def __init__(self, folder: str, capacity: int = 16_384) -> None:
        self._folder = folder
        self._capacity = capacity
        self._parts = itertools.count()
        self._lock = threading.Lock()
        self._begin_part()

    def note(self, stage: str, begin_s: float, end_s: float) -> None:
        part, indices = self._part
        index = next(indices)
        if index >= self._capacity:
            with self._lock:
                # Another thread may have begun the next part meanwhile.
                if self._part[0] is part:
                    self._begin_part()
            self.note(stage, begin_s, end_s)
            return
        offset = index * _RECORD.size
        _REST.pack_into(part, offset + 1, threading.get_ident(), begin_s, end_s)
        part[offset] = _NUMBERS[stage]

    def moved(self, stage: str) -> None:
        """A function of this stage is not the one that was tested."""
        with open(Path(self._folder) / f"{os.getpid()}.moved", "a") as file:
            file.write(f"{stage}\n")

    def _begin_part(self) -> None:
        path = Path(self._folder) / f"{os.getpid()}-{next(self._parts)}.spans"
        size = self._capacity * _RECORD.size
        with open(path, "w+b") as file:
            file.truncate(size)
            self._part = (mmap.mmap(file.fileno(), size), itertools.count())


_NUMBERS = {stage: number for number, stage in enumerate(STAGES, start=1)}


def read_spans(folder: str) -> Iterator[Span]:
    """What all processes have noted so far."""
    for path in sorted(Path(folder).glob("*.spans")):
        pid = int(path.stem.partition("-")[0])
        for number, thread, begin_s, end_s in _RECORD.iter_unpack(path.read_bytes()):
            if number:
                yield Span(STAGES[number - 1], pid, thread, begin_s, end_s)


def read_moved(folder: str) -> frozenset[str]:
    """Stages of which some process found a function that is not the one that was tested."""
    return frozenset(stage for path in Path(folder).glob("*.moved") for stage in path.read_text().splitlines())
