"""The process pool, with threads in place of processes: they can be stopped, killed and forked at any point."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from fake_processes import End, Multiprocessing, Process

LIMIT_S = 20.0
"""For what would otherwise hang for ever; nothing is judged by how long it takes."""


def echo(calls: End, messages: End) -> None:
    """Answer with the request."""
    while call := calls.recv_bytes():
        calls.send_bytes(call)
    messages.send(b"flushed")


def pool_of(serve: Callable[..., None], process: type[Process] = Process, size: int = 1) -> tuple[Any, Any, list[Any]]:
    from prefect_lean.pool import ProcessPool

    delivered: list[Any] = []
    pool = ProcessPool(size, serve, (), delivered.append)
    pool._multiprocessing = Multiprocessing(process)
    return pool, pool._multiprocessing, delivered


def job(request: bytes = b"x", **more: Any) -> Any:
    from prefect_lean.pool import Job

    return Job((request,), loads=lambda reply: reply, died=lambda *death: ("died", *death), **more)


def close(pool: Any, **more: Any) -> threading.Thread:
    """Close the pool in a thread, past the point at which it is closed."""
    closing = threading.Thread(target=pool.close, kwargs=more, daemon=True)
    closing.start()
    until(lambda: pool._closed)
    with pool._changed:
        return closing


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_stopped_while_a_process_starts():
    """The process that starts meanwhile is stopped as well, before the body of the job begins."""
    starting, go_on, begun = threading.Event(), threading.Event(), threading.Event()

    class Slow(Process):
        def start(self) -> None:
            starting.set()
            go_on.wait(LIMIT_S)
            super().start()

    def serve(calls: End, messages: End) -> None:
        if calls.recv_bytes():
            begun.set()
            threading.Event().wait()

    pool, _, _ = pool_of(serve, Slow)
    doomed = job()
    pool.submit(doomed)
    assert starting.wait(LIMIT_S)
    closing = close(pool, stop_running=True)
    go_on.set()
    closing.join(LIMIT_S)
    assert not closing.is_alive()
    assert not begun.is_set()
    with pytest.raises(CancelledError):
        doomed.future.result(0)


def test_stopping_spares_the_idle():
    """A process whose task is over may have events to send, and does so."""
    hold, at_it = threading.Event(), threading.Event()

    def serve(calls: End, messages: End) -> None:
        while call := calls.recv_bytes():
            if call == b"long":
                at_it.set()
                hold.wait()
            calls.send_bytes(call)
        messages.send(b"flushed")

    pool, multiprocessing, delivered = pool_of(serve, size=2)
    short, long = job(b"short"), job(b"long")
    pool.submit(long)
    pool.submit(short)
    assert short.future.result(LIMIT_S) == b"short"
    assert at_it.wait(LIMIT_S)
    pool.close(stop_running=True)
    assert sorted(process.exitcode for process in multiprocessing.started) == [-9, 0]
    assert delivered == [b"flushed"]
    name, _, code, stopped = long.future.result(0)
    assert (name, code, stopped) == ("died", -9, True)


def test_death_of_a_process_with_children():
    """What the task has forked holds the pipes, which do not end with the process."""
    at_it = threading.Event()

    def serve(calls: End, messages: End) -> None:
        calls.recv_bytes()
        messages.send(b"said before")
        at_it.set()
        threading.Event().wait()

    pool, multiprocessing, delivered = pool_of(serve)
    doomed = job()
    pool.submit(doomed)
    assert at_it.wait(LIMIT_S)
    (process,) = multiprocessing.started
    process.fork()
    process.kill()
    assert doomed.future.result(LIMIT_S) == ("died", process.pid, -9, False)
    assert delivered == [b"said before"]


def test_job_to_be_run_again_when_the_pool_closes():
    """It is said to have died, as nobody else will say of a task that has begun."""
    from prefect_lean.pool import ProcessPool

    again = job(reruns=1)
    held: list[Any] = []

    class Closes(ProcessPool):
        def _next(self) -> Any:
            # The feeder that has just put the job back.
            if again.death is not None and not held:
                held.append(close(self))
            return super()._next()

    def serve(calls: End, messages: End) -> None:
        calls.recv_bytes()

    pool = Closes(1, serve, (), print)
    pool._multiprocessing = Multiprocessing()  # type: ignore[assignment]
    pool.submit(again)
    name, _, code, stopped = again.future.result(LIMIT_S)
    assert (name, code, stopped) == ("died", 0, False)


def test_process_that_cannot_be_started():
    class Refused(Process):
        refusals = 1

        def start(self) -> None:
            if Refused.refusals:
                Refused.refusals -= 1
                raise OSError("Resource temporarily unavailable")
            super().start()

    pool, _, _ = pool_of(echo, Refused)
    first, second = job(), job(b"second")
    pool.submit(first)
    with pytest.raises(OSError, match="unavailable"):
        first.future.result(LIMIT_S)
    pool.submit(second)
    assert second.future.result(LIMIT_S) == b"second"
    pool.close()


def test_reply_that_cannot_be_received():
    """It costs its job and the process, and the next job has another one."""

    class Large(Multiprocessing):
        def Pipe(self, duplex: bool = True) -> tuple[End, End]:
            one, other = super().Pipe(duplex)
            if duplex and not self.started:
                one.recv_bytes = too_large  # type: ignore[method-assign]
            return one, other

    def too_large() -> bytes:
        raise MemoryError("a reply of 9 GB")

    pool, _, delivered = pool_of(echo)
    pool._multiprocessing = Large()
    first, second = job(), job(b"second")
    pool.submit(first)
    with pytest.raises(MemoryError, match="9 GB"):
        first.future.result(LIMIT_S)
    pool.submit(second)
    assert second.future.result(LIMIT_S) == b"second"
    pool.close()
    assert [process.exitcode for process in pool._multiprocessing.started] == [-9, 0]
    assert delivered == [b"flushed"]


def test_message_that_cannot_be_delivered():
    def serve(calls: End, messages: End) -> None:
        messages.send_bytes(b"of a class that only the process has")
        messages.send("a word")
        echo(calls, messages)

    pool, _, delivered = pool_of(serve)
    one = job()
    pool.submit(one)
    assert one.future.result(LIMIT_S) == b"x"
    pool.close()
    assert delivered == ["a word", b"flushed"]


def test_process_whose_reply_has_come_is_not_stopped_for_it():
    """It may have events to send: stopped while its reply is read, it would lose them."""
    pool, pipes, delivered = pool_of(echo)
    reading, go_on = threading.Event(), threading.Event()
    made_pipe = pipes.Pipe

    def pipe(duplex: bool = True) -> tuple[End, End]:
        one, other = made_pipe(duplex)
        receive = one.recv_bytes

        def slowly() -> bytes:
            data = receive()
            reading.set()
            go_on.wait(LIMIT_S)
            return data

        one.recv_bytes = slowly if duplex else receive  # type: ignore[method-assign]
        return one, other

    pipes.Pipe = pipe
    one = job()
    pool.submit(one)
    assert reading.wait(LIMIT_S)
    closing = close(pool, stop_running=True)
    go_on.set()
    closing.join(LIMIT_S)
    assert one.future.result(LIMIT_S) == b"x"
    assert delivered == [b"flushed"]


NEVER_CLOSED = """
import concurrent.futures, multiprocessing
from prefect_lean.pool import Job, ProcessPool

def echo(calls, messages):
    while call := calls.recv_bytes():
        calls.send_bytes(call)

if __name__ == "__main__":
    pool = ProcessPool(1, echo, (), print)
    job = Job((b"x",), loads=bytes.decode, died=print)
    pool.submit(job)
    print(job.future.result(), flush=True)
"""


def test_interpreter_ends_though_its_pool_was_never_closed(tmp_path):
    script = tmp_path / "never_closed.py"
    script.write_text(NEVER_CLOSED)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run([sys.executable, str(script)], env=environ, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "x\n", "")


def test_idle_pool_keeps_nothing_of_its_jobs():
    pool, _, _ = pool_of(echo)

    class Value:
        pass

    value = Value()
    kept = weakref.ref(value)
    done = job()
    done.loads = lambda reply, value=value: reply
    pool.submit(done)
    assert done.future.result(LIMIT_S) == b"x"
    del done, value

    def let_go() -> bool:
        gc.collect()
        return kept() is None

    until(let_go)
    pool.close()


def test_chain_needs_one_process():
    """Each job becomes ready as the one before it ends, in the thread that tells of it."""
    pool, multiprocessing, _ = pool_of(echo, size=4)
    links = [job() for _ in range(30)]
    for before, after in itertools.pairwise(links):
        before.future.add_done_callback(lambda _, after=after: pool.submit(after))
    pool.submit(links[0])
    assert links[-1].future.result(LIMIT_S) == b"x"
    pool.close()
    assert len(multiprocessing.started) == 1


def test_jobs_that_become_ready_together_have_a_process_each():
    together = threading.Barrier(3, timeout=LIMIT_S)

    def serve(calls: End, messages: End) -> None:
        while call := calls.recv_bytes():
            if call == b"together":
                together.wait()
            calls.send_bytes(call)

    pool, _, _ = pool_of(serve, size=4)
    first, rest = job(), [job(b"together") for _ in range(3)]
    first.future.add_done_callback(lambda _: [pool.submit(one) for one in rest])
    pool.submit(first)
    assert [one.future.result(LIMIT_S) for one in rest] == [b"together"] * 3
    pool.close()
