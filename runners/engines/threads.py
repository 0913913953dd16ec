"""Prefect's default: a thread pool in the flow's process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_lab.runners.engine import Cluster, Engine, load_runner_class
from runner_lab.runners.spec import RunnerSpec

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


class Threads(Engine):
    name = "threads"
    title = "Threads"
    rank = 10
    warm_for = "run"
    runner_classes = frozenset({"ThreadPoolTaskRunner"})
    caveat = "Threads share the flow's process: no other host takes part, and a crash of it takes all tasks along."
    palette = 1
    worker_option = "max_workers"
    unlimited = True
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

    def suitable_slots(self, spec: RunnerSpec, cores: int) -> int:
        """As many as the runner's class has by itself: threads that wait take no core."""
        return self.declared(load_runner_class(spec)(**spec.options))[0]

    def declared(self, runner: TaskRunner[Any]) -> tuple[int, dict[str, Any]]:
        threads = getattr(runner, "_max_workers", sys.maxsize)
        # `sys.maxsize` is Prefect's word for no limit.
        return (0 if threads >= sys.maxsize else threads), {}

    def options(self, spec: RunnerSpec, cluster: Cluster | None, scratch: Path = Path()) -> dict[str, Any]:
        return super().options(spec, cluster, scratch) if spec.workers else dict(spec.options)

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
