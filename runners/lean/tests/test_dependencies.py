"""Tasks that wait for tasks, and waiting for tasks, asserted alike of stock and lean runners of every engine."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.exceptions import UpstreamTaskError
from prefect.futures import as_completed, wait

pytestmark = pytest.mark.slow

LIMIT_S = 120.0


@task
def increment(x: int) -> int:
    return x + 1


@task
def fail(message: str) -> None:
    raise ValueError(message)


@pytest.mark.parametrize("by", ["wait_for", "argument"])
def test_failed_upstream(arm, by, tmp_path, recorded):
    marker = str(tmp_path / "ran")

    @task
    def mark(_: Any = None) -> None:
        Path(marker).touch()

    def body():
        failed = fail.submit("expected")
        future = mark.submit(failed) if by == "argument" else mark.submit(wait_for=[failed])
        if by == "argument" and arm.name == "processes-stock":
            # The future raises, and the API hears nothing of the task run.
            with pytest.raises(UpstreamTaskError):
                future.wait(LIMIT_S)
            assert future.state.is_pending()
            return None
        future.wait(LIMIT_S)
        return future

    if future := arm.run(body):
        run = recorded(future.task_run_id, lambda run: run.state.name == "NotReady")
        assert "did not reach a 'COMPLETED' state" in run.state.message
    assert not Path(marker).exists()


def test_wait_for_orders_tasks(arm, tmp_path):
    gate, ended = str(tmp_path / "open"), str(tmp_path / "ended")

    @task
    def first_task() -> None:
        while not Path(gate).exists():
            time.sleep(0.02)
        Path(ended).touch()

    @task
    def second_task() -> bool:
        return Path(ended).exists()

    def body():
        first = first_task.submit()
        second = second_task.submit(wait_for=[first])
        Path(gate).touch()
        assert second.result(LIMIT_S)

    arm.run(body)


def test_waiting(arm, tmp_path, until):
    gate = str(tmp_path / "open")

    @task
    def doze(gate: str | None) -> bool:
        while gate and not Path(gate).exists():
            time.sleep(0.02)
        return gate is not None

    def body():
        slow, quick = doze.submit(gate), doze.submit(None)
        assert quick.result(LIMIT_S) is False
        slow.wait(timeout=0.05)
        assert not slow.state.is_final()
        with pytest.raises(TimeoutError):
            slow.result(timeout=0.05)
        done, not_done = wait([slow, quick], timeout=0.1)
        assert (done, not_done) == ({quick}, {slow})
        called: list[Any] = []
        slow.add_done_callback(called.append)
        quick.add_done_callback(called.append)
        Path(gate).touch()
        assert {future.result() for future in as_completed([slow, quick], timeout=LIMIT_S)} == {False, True}
        slow.wait(LIMIT_S)
        until(lambda: len(called) == 2)
        assert set(called) == {slow, quick}

    arm.run(body)


def test_async_flow(arm):
    """Submits from a running event loop, which neither `submit` nor `result` may need for themselves."""

    @task
    async def later(x: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return x + 1

    @flow(task_runner=arm.make())
    async def asynchronous() -> list[int]:
        first = later.submit(1)
        both = [later.submit(first), increment.submit(first, wait_for=[first])]
        return [future.result(LIMIT_S) for future in both]

    assert asyncio.run(asynchronous()) == [3, 3]


def test_nested(arm):
    @task
    def outer(x: int) -> int:
        return increment.submit(x).result(LIMIT_S) + increment(x)

    @flow
    def inner_flow(x: int) -> int:
        return increment(x)

    @task
    def with_subflow(x: int) -> int:
        return inner_flow(x)

    def body():
        assert outer.submit(1).result(LIMIT_S) == 4
        assert with_subflow.submit(1).result(LIMIT_S) == 2

    arm.run(body)
