"""Prefect's default: a thread pool in the flow's process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from runner_lab.runners.engine import Cluster, Engine
from runner_lab.runners.spec import RunnerSpec


class Threads(Engine):
    name = "threads"
    title = "Threads"
    rank = 10
    warm_for = "run"
    runner_classes = frozenset({"ThreadPoolTaskRunner"})
    caveat = "Threads share the flow's process: no other host takes part, and a crash of it takes all tasks along."
    palette = 1
    worker_option = "max_workers"
    arms = (
        RunnerSpec("threads", "threads", "prefect.task_runners.ThreadPoolTaskRunner", summary="Prefect's default"),
        RunnerSpec(
            "lean-threads",
            "threads",
            "prefect_lean.LeanThreadPoolTaskRunner",
            lean=True,
            summary="Prefect's default, its futures know their state",
        ),
        RunnerSpec("bare-threads", "threads", bare=True, summary="concurrent.futures threads, no Prefect"),
    )

    @contextmanager
    def bare(self, spec: RunnerSpec, cluster: Cluster, limit_s: float) -> Iterator[BareThreads]:
        pool = ThreadPoolExecutor(spec.workers)
        try:
            yield BareThreads(pool, limit_s)
        finally:
            # Past the limit nobody waits for what has not begun, and the next cell would be measured beside it.
            pool.shutdown(cancel_futures=True)


class BareThreads:
    """A task waits for its upstream in its slot, as under Prefect; first in, first out, so that cannot deadlock."""

    def __init__(self, pool: ThreadPoolExecutor, limit_s: float) -> None:
        self._pool = pool
        self._limit_s = limit_s

    def submit(self, node: Any, *args: Any) -> Future[Any]:
        return self._pool.submit(lambda: node(*(a.result() if isinstance(a, Future) else a for a in args)))

    def on_done(self, handle: Future[Any], callback: Callable[[], None]) -> None:
        handle.add_done_callback(lambda _: callback())

    def result(self, handle: Future[Any]) -> Any:
        return handle.result(self._limit_s)


ENGINE = Threads()
