"""Tasks that submit tasks and wait for them: they end, with no more bodies running than there are slots."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from prefect import task

LIMIT_S = 120.0


@pytest.fixture
def executor():
    from prefect_lean.slots import LendingExecutor

    made = []

    def executor(size: int) -> Any:
        made.append(LendingExecutor(size))
        return made[-1]

    yield executor
    for one in made:
        one.shutdown(cancel_futures=True)


class Bodies:
    """How many run at a time."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *exc_info: Any) -> None:
        with self._lock:
            self.now -= 1


@pytest.mark.parametrize(("size", "width", "depth"), [(1, 1, 3), (2, 2, 2), (2, 30, 1), (3, 4, 3)])
def test_bodies_that_wait_for_others_lend_their_slots(executor, monkeypatch, size, width, depth):
    from prefect_lean import slots

    pool, bodies = executor(size), Bodies()
    monkeypatch.setattr(slots, "_in_body", lambda: True)

    def branch(depth: int) -> int:
        with bodies:
            time.sleep(0.005)
        if not depth:
            return 1
        below = [pool.submit(branch, depth - 1) for _ in range(2)]
        with slots.lent():
            wait(below, LIMIT_S)
        with bodies:
            time.sleep(0.005)
        return sum(future.result() for future in below)

    futures = [pool.submit(branch, depth) for _ in range(width)]
    assert [future.result(LIMIT_S) for future in futures] == [2**depth] * width
    assert bodies.most <= size
    # Those of the flow do not all begin before the first of theirs.
    assert len(pool._threads) <= size * (2 * depth + 2)


def test_chain_that_waits_for_its_arguments_takes_few_threads(executor):
    from prefect_lean import slots

    pool, bodies = executor(2), Bodies()

    def link(before: Any) -> int:
        if before is None:
            return 0
        with slots.lent(before):
            number = before.result(LIMIT_S)
        with bodies:
            time.sleep(0.001)
        return number + 1

    last = None
    for _ in range(301):
        last = pool.submit(link, last)
    assert last.result(LIMIT_S) == 300
    assert bodies.most <= 2
    assert len(pool._threads) < 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named_by", "asynchronous", "record"),
    [("argument", False, "all"), ("wait_for", False, "final"), ("argument", True, "final")],
)
def test_tasks_that_wait_for_arguments_hold_their_slots(lab_server, until, named_by, asynchronous, record):
    """As many threads as slots, however many tasks wait for a running one."""
    from prefect import flow
    from prefect.context import FlowRunContext
    from prefect_lean import LeanThreadPoolTaskRunner

    begun, held = threading.Event(), threading.Event()

    @task
    def slow() -> int:
        begun.set()
        assert held.wait(LIMIT_S)
        return 1

    async def add_async(before: int, number: int) -> int:
        return before + number

    def add_sync(before: int, number: int) -> int:
        return before + number

    add: Any = task(add_async if asynchronous else add_sync)

    @flow(task_runner=LeanThreadPoolTaskRunner(max_workers=4, record=record))
    def waiting() -> tuple[list[int], int]:
        threads = FlowRunContext.get().task_runner._executor._threads
        first = slow.submit()
        assert begun.wait(LIMIT_S)
        if named_by == "argument":
            futures = [add.submit(first, number) for number in range(100)]
        else:
            futures = [add.submit(1, number, wait_for=[first]) for number in range(100)]
        until(lambda: len(threads) >= 4)
        # Time for each thread to make way for the next one.
        time.sleep(2)
        held.set()
        return [future.result() for future in futures], len(threads)

    sums, threads = waiting()
    assert sums == [1 + number for number in range(100)]
    assert threads < 10, threads


@pytest.mark.slow
def test_body_that_calls_a_task_lends_its_slot_while_that_waits(lab_server):
    """The other slot is taken until the task that is waited for has begun."""
    from prefect import flow
    from prefect_lean import LeanThreadPoolTaskRunner

    begun = threading.Event()

    @task
    def one() -> int:
        begun.set()
        return 1

    @task
    def add(first: int, second: int) -> int:
        return first + second

    @task
    def calls() -> int:
        return add(one.submit(), 1)

    @task
    def holds() -> bool:
        return begun.wait(LIMIT_S)

    @flow(task_runner=LeanThreadPoolTaskRunner(max_workers=2))
    def calling() -> tuple[bool, int]:
        futures = holds.submit(), calls.submit()
        return futures[0].result(), futures[1].result()

    assert calling() == (True, 2)


def test_time_that_is_up_is_no_end(executor, monkeypatch):
    """What is waited for in vain keeps nobody from beginning."""
    from prefect_lean import slots

    pool = executor(1)
    monkeypatch.setattr(slots, "_in_body", lambda: True)
    held = threading.Event()

    def impatient() -> bool:
        never = pool.submit(held.wait, LIMIT_S)
        with slots.lent(never), pytest.raises(TimeoutError):
            never.result(0.05)
        return True

    future = pool.submit(impatient)
    time.sleep(0.2)
    # Whoever comes back waits for the slot that it lent.
    assert not future.done()
    held.set()
    assert future.result(LIMIT_S)
    assert pool.submit(int, "7").result(LIMIT_S) == 7


def test_cancelled_tasks_take_no_slot(executor):
    pool, held = executor(1), threading.Event()
    running = pool.submit(held.wait, LIMIT_S)
    waiting = [pool.submit(int, "1") for _ in range(3)]
    assert all(future.cancel() for future in waiting)
    held.set()
    assert running.result(LIMIT_S)
    assert pool.submit(int, "7").result(LIMIT_S) == 7


def test_shutdown_cancels_what_has_not_begun_and_ends_all_threads(executor):
    pool, held = executor(1), threading.Event()
    running = pool.submit(held.wait, LIMIT_S)
    waiting = pool.submit(int, "1")
    threading.Timer(0.1, held.set).start()
    pool.shutdown(cancel_futures=True)
    assert running.result()
    assert waiting.cancelled()
    assert not any(thread.is_alive() for thread in pool._threads)


def test_nothing_is_submitted_once_shutdown_has_begun(executor):
    """As to any executor, also while it cancels."""
    pool, held = executor(1), threading.Event()
    running = pool.submit(held.wait, LIMIT_S)
    waiting = pool.submit(int, "1")
    refused: list[bool] = []

    def again(_: Any) -> None:
        try:
            pool.submit(int, "2")
        except RuntimeError:
            refused.append(True)
        held.set()

    waiting.add_done_callback(again)
    pool.shutdown(cancel_futures=True)
    assert running.result()
    assert refused == [True]


def test_shutdown_waits_for_threads_that_begin_meanwhile(executor, monkeypatch):
    """Without cancelling: the tasks of a task that runs are run."""
    from prefect_lean import slots

    pool, begun, held = executor(1), threading.Event(), threading.Event()
    monkeypatch.setattr(slots, "_in_body", lambda: True)

    def waits(depth: int) -> int:
        begun.set()
        assert held.wait(LIMIT_S)
        if not depth:
            return 1
        with slots.lent(below[depth - 1]):
            return below[depth - 1].result(LIMIT_S)

    below: list[Any] = []
    below.extend(pool.submit(waits, depth) for depth in range(4))
    assert begun.wait(LIMIT_S)
    threading.Timer(0.2, held.set).start()
    pool.shutdown()
    assert [future.result(0) for future in below] == [1] * 4
    assert not any(thread.is_alive() for thread in pool._threads)


def test_thread_that_cannot_be_started_is_not_waited_for(executor, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from prefect_lean import slots

    pool = executor(1)
    monkeypatch.setattr(slots, "_in_body", lambda: True)

    def none(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    def body() -> int:
        inner = pool.submit(int, "7")
        with monkeypatch.context() as full:
            full.setattr(ThreadPoolExecutor, "_adjust_thread_count", none)
            with pytest.raises(RuntimeError, match="new thread"), slots.lent(inner):
                pass
        with slots.lent(inner):
            return inner.result(LIMIT_S)

    with monkeypatch.context() as full:
        full.setattr(ThreadPoolExecutor, "_adjust_thread_count", none)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.submit(int, "6")
    assert pool.submit(body).result(10) == 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "asks"),
    [
        # Of two Ray CPUs a `map` within a `map` may take both and wait for ever, so that one is not among them.
        *((f"{engine}-lean", "result") for engine in ("threads", "processes", "dask", "ray")),
        *((f"{engine}-lean", "map") for engine in ("threads", "processes", "dask")),
    ],
    indirect=["arm"],
)
def test_tasks_of_tasks_on_a_full_pool(arm, tmp_path, asks):
    """Two slots, and two tasks that each wait for a task that waits for one."""

    @task
    def body(folder: str, name: str, depth: int) -> int:
        import os
        import threading
        import time
        from pathlib import Path

        def run() -> None:
            mark = Path(folder) / f"{os.getpid()}-{threading.get_ident()}-{depth}-{name}"
            mark.touch()
            Path(folder, f"most-{len(list(Path(folder).glob('*-*-*-*')))}").touch()
            time.sleep(0.2)
            mark.unlink()

        run()
        if not depth:
            return 1
        if asks == "map":
            below = sum(body.map(folder, [f"{name}.{number}" for number in range(2)], depth - 1).result())
        else:
            below = body.submit(folder, f"{name}.0", depth - 1).result()
        run()
        return below

    def flow() -> int:
        return sum(future.result() for future in [body.submit(str(tmp_path), str(n), 2) for n in range(2)])

    assert arm.flow(flow)() == (8 if asks == "map" else 2)
    if arm.engine in ("threads", "dask"):
        # Ray and the pools of processes within processes have slots of their own.
        assert max(int(path.name.removeprefix("most-")) for path in Path(tmp_path).glob("most-*")) <= 2
