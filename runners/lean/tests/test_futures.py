"""Futures of a process pool that wait for each other."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import Future
from typing import Any

import pytest


class Pool:
    def submit(self, job: Any) -> None:
        job.future.set_result("done")


def chain(links: int) -> tuple[Future[Any], list[Future[Any]]]:
    """A future, and those of jobs of which each waits for the one before."""
    from prefect_lean.context import Package
    from prefect_lean.futures import when_done
    from prefect_lean.pool import Job
    from prefect_lean.processes import _request

    first: Future[Any] = Future()
    futures = [first]
    for _ in range(links):
        job = Job((), loads=lambda reply: reply, died=lambda *death: death)
        package = Package(b"", b"", (futures[-1],))
        when_done(package.upstream, lambda job=job, package=package: _request(job, package, b"", Pool()))  # type: ignore[misc]
        futures.append(job.future)
    return first, futures[1:]


def test_failure_travels_down_a_long_chain():
    first, others = chain(500)
    first.set_exception(ValueError("expected"))
    for future in others:
        with pytest.raises(ValueError, match="expected"):
            future.result(0)


def test_cancellation_travels_past_what_was_cancelled_before():
    first, others = chain(5)
    others[2].cancel()
    first.cancel()
    assert all(future.done() for future in others)


def test_done_future_keeps_nothing_of_what_waited_for_it():
    from prefect_lean.futures import when_done

    class Value:
        pass

    value = Value()
    kept = weakref.ref(value)
    future: Future[Any] = Future()
    when_done([future], lambda value=value: None)  # type: ignore[misc]
    del value
    future.set_result(None)
    gc.collect()
    assert kept() is None
