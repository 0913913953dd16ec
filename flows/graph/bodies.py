"""What the tasks do, as plain functions: Prefect wraps them as tasks, the bare engines call them as they are.

Every body that runs makes an entry in a ledger outside Prefect (`flows.graph.ledger`): that is how a cell knows
how often its bodies ran, whatever states a runner reports, and when each began and ended.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from runner_lab.flows.graph.ledger import Execution, ledger_at
from runner_lab.records.graph import Work, greeting, payload, summarise


class PlannedFailure(Exception):
    """The failure a `retrying` graph asks for."""


@contextmanager
def recorded(ledger: str, name: str, lane: int) -> Iterator[None]:
    """One execution of a body: an entry of the ledger when it ends, also by an error."""
    start = time.monotonic()
    try:
        yield
    finally:
        ledger_at(ledger).write(Execution(name, lane, os.getpid(), start, time.monotonic()))


def perform(work: Work) -> None:
    """Do the work: wait for, or consume, its seconds."""
    if work.kind == "sleep":
        time.sleep(work.seconds)
    elif work.kind == "spin":
        end = time.thread_time() + work.seconds
        while time.thread_time() < end:
            pass
    elif work.kind == "crunch":
        block = bytes(1 << 16)
        end = time.thread_time() + work.seconds
        while time.thread_time() < end:
            # hashlib lets go of the GIL for buffers over 2047 bytes.
            hashlib.sha256(block).digest()


def hello(lane: int, work: Work, payload_bytes: int, failures: int, ledger: str, batch: int = 1) -> tuple[str, bytes]:
    """Do the work of each item of the batch, one after another.

    Raises:
        PlannedFailure: in the first `failures` executions of this lane.
    """
    attempt = ledger_at(ledger).attempts("hello", lane) if failures else 0
    with recorded(ledger, "hello", lane):
        for _ in range(batch):
            perform(work)
        return spoken(lane, payload_bytes, attempt, failures)


def spoken(lane: int, payload_bytes: int, attempt: int, failures: int) -> tuple[str, bytes]:
    """What a hello gives once its work is done; `attempt` counts from 0.

    Raises:
        PlannedFailure: it is one of those that fail.
    """
    if attempt < failures:
        raise PlannedFailure(f"hello {lane}: attempt {attempt + 1} of {failures} that fail")
    return f"hello-{lane}", payload(lane, payload_bytes)


def world(lane: int, ledger: str) -> str:
    with recorded(ledger, "world", lane):
        return f"world-{lane}"


def greet(greeted: tuple[str, bytes], name: str, ledger: str) -> str:
    """Raises:
    ValueError: hello and world are not of one lane.
    """
    text, data = greeted
    lane = int(text.rpartition("-")[2])
    with recorded(ledger, "greet", lane):
        if name != f"world-{lane}":
            raise ValueError(f"{text} was given {name}")
        return greeting(lane, zlib.crc32(data))


def gather(ledger: str, *greetings: str) -> str:
    with recorded(ledger, "gather", 0):
        return summarise(greetings)


def link(before: str, lane: int, ledger: str, mark: object) -> str:
    """One task of a chain.

    Args:
        mark: nothing to this body; it travels with the call (see `flows.graph.chain`).

    Raises:
        ValueError: `before` is not the result of the link before.
    """
    with recorded(ledger, "link", lane):
        if before != (f"link-{lane - 1}" if lane else ""):
            raise ValueError(f"link {lane} was given {before!r}")
        return f"link-{lane}"
