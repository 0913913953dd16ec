"""Threads in place of processes: they can be stopped, killed and forked at any point."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import queue
import threading
from collections.abc import Callable
from typing import Any


class End:
    """One end of a pipe, open for as long as any holder has not closed it."""

    def __init__(self) -> None:
        self.inbox: queue.Queue[bytes | None] = queue.Queue()
        self.other: End
        self.holders = 1

    def send_bytes(self, data: bytes) -> None:
        if not self.other.holders:
            raise BrokenPipeError
        self.other.inbox.put(data)

    def send(self, message: Any) -> None:
        self.send_bytes(pickle.dumps(message))

    def recv_bytes(self) -> bytes:
        if (data := self.inbox.get()) is None:
            self.inbox.put(None)
            raise EOFError
        return data

    def poll(self, timeout: float = 0.0) -> bool:
        with self.inbox.not_empty:
            return bool(self.inbox.not_empty.wait_for(lambda: self.inbox.queue, timeout))

    def close(self) -> None:
        self.holders = max(0, self.holders - 1)
        if not self.holders:
            self.other.inbox.put(None)


class Process:
    """What the pool uses of a process. `fork` leaves a child that holds its pipes."""

    ids = itertools.count(1000)

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.target, self.args, self.exitcode = target, args, None
        self.ends = [arg for arg in args if isinstance(arg, End)]
        self.alive, self.ended = False, threading.Event()

    def start(self) -> None:
        self.pid = next(self.ids)
        self.alive = True
        for end in self.ends:
            end.holders += 1
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(EOFError, BrokenPipeError):
            self.target(*self.args)
        self._exit(0)

    def _exit(self, code: int) -> None:
        if self.alive:
            self.alive, self.exitcode = False, code
            for end in self.ends:
                end.close()
            self.ended.set()

    def kill(self) -> None:
        self._exit(-9)

    def is_alive(self) -> bool:
        return self.alive

    def join(self, timeout: float | None = None) -> None:
        self.ended.wait(timeout)

    def fork(self) -> None:
        for end in self.ends:
            end.holders += 1


class Multiprocessing:
    """In place of a context of `multiprocessing`."""

    def __init__(self, process: type[Process] = Process) -> None:
        self._process = process
        self.started: list[Process] = []

    def Pipe(self, duplex: bool = True) -> tuple[End, End]:
        one, other = End(), End()
        one.other, other.other = other, one
        return one, other

    def Process(self, target: Any, args: Any) -> Process:
        self.started.append(self._process(target, args))
        return self.started[-1]
