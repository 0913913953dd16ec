"""What a task asks for of its engine, asserted alike of stock and lean runners of every engine."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import task
from prefect.cache_policies import INPUTS
from prefect.client.orchestration import get_client
from prefect.exceptions import MissingResult
from prefect.filesystems import LocalFileSystem

pytestmark = pytest.mark.slow

LIMIT_S = 120.0


@task
def fail(message: str) -> None:
    raise ValueError(message)


@task
def echo(value: Any) -> Any:
    return value


@pytest.mark.core
def test_retries(arm, tmp_path):
    counter = tmp_path / "runs"

    @task(retries=3, retry_delay_seconds=0.1, retry_condition_fn=lambda task, run, state: "again" in state.message)
    def flaky(path: str, message: str) -> int:
        runs = len(Path(path).read_text()) + 1 if Path(path).exists() else 1
        Path(path).write_text("x" * runs)
        if runs < 3:
            raise ValueError(message)
        return runs

    def body():
        assert flaky.submit(str(counter), "again").result(LIMIT_S) == 3
        counter.unlink()
        with pytest.raises(ValueError, match="never"):
            flaky.submit(str(counter), "never").result(LIMIT_S)
        assert counter.read_text() == "x"

    arm.run(body)


def test_async_task_and_timeout(arm):
    @task
    async def nap(seconds: float) -> float:
        import asyncio

        await asyncio.sleep(seconds)
        return seconds

    def body():
        assert nap.submit(0.01).result(LIMIT_S) == 0.01
        late = nap.with_options(timeout_seconds=0.2).submit(30.0)
        late.wait(LIMIT_S)
        assert late.state.name == "TimedOut"

    arm.run(body)


def test_timeout_of_a_task_that_is_not_async(arm, recorded):
    @task(timeout_seconds=0.2)
    def dawdle() -> None:
        import time

        # In steps: in a thread that is not the main one, a timeout is raised between two of them.
        for _ in range(600):
            time.sleep(0.05)

    def body():
        late = dawdle.submit()
        late.wait(LIMIT_S)
        assert late.state.name == "TimedOut"
        with pytest.raises(TimeoutError):
            late.result(LIMIT_S)
        return late.task_run_id

    recorded(arm.run(body), lambda run: run.state.name == "TimedOut")


def test_name_from_a_function_and_tags_reach_the_api(arm, recorded):
    def named() -> str:
        from prefect.runtime import task_run

        return f"named-{task_run.parameters['x']}"

    @task(tags=["own"], task_run_name=named)
    def tagged(x: int) -> int:
        return x

    def body():
        future = tagged.submit(5)
        assert future.result(LIMIT_S) == 5
        return future.task_run_id

    run = recorded(arm.run(body), lambda run: run.state.is_completed())
    assert (run.name, "own" in run.tags) == ("named-5", True)


def test_retries_are_counted_by_the_api_and_wait_as_long_as_a_function_says(arm, recorded, tmp_path):
    counter = tmp_path / "runs"

    @task(retries=2, retry_delay_seconds=lambda retries: [0.05 * (1 + i) for i in range(retries)])
    def stubborn(path: str) -> int:
        runs = len(Path(path).read_text()) + 1 if Path(path).exists() else 1
        Path(path).write_text("x" * runs)
        raise ValueError(f"run {runs}")

    def body():
        future = stubborn.submit(str(counter))
        future.wait(LIMIT_S)
        assert future.state.is_failed()
        with pytest.raises(ValueError, match="run 3"):
            future.result(LIMIT_S)
        return future.task_run_id

    run = recorded(arm.run(body), lambda run: run.state.is_failed() and run.run_count == 3)
    assert run.state.message.endswith("run 3")
    assert counter.read_text() == "xxx"


@pytest.mark.core
def test_cache(arm, tmp_path):
    storage = LocalFileSystem(basepath=str(tmp_path))
    storage.save(f"cache-{arm.name}")

    @task(cache_policy=INPUTS, persist_result=True, result_storage=storage)
    def stamp(x: int) -> str:
        import uuid

        return uuid.uuid4().hex

    def body():
        first = stamp.submit(1)
        assert first.result(LIMIT_S)
        again = stamp.submit(1)
        assert again.result(LIMIT_S) == first.result()
        assert again.state.name == "Cached"
        assert stamp.submit(2).result(LIMIT_S) != first.result()
        fresh = stamp.with_options(refresh_cache=True).submit(1)
        assert fresh.result(LIMIT_S) != first.result()
        # Over by the time the next one is submitted.
        short = stamp.with_options(cache_expiration=timedelta(microseconds=1))
        expired = short.submit(3).result(LIMIT_S)
        assert short.submit(3).result(LIMIT_S) != expired

    arm.run(body)
    assert list(tmp_path.iterdir())


def test_a_persisted_result_is_read_back_by_who_knows_only_the_task_run(arm, recorded):
    def body():
        kept = echo.with_options(persist_result=True).submit({"a": [1, 2]})
        passing = echo.with_options(persist_result=False).submit("not kept")
        for future in (kept, passing):
            future.wait(LIMIT_S)
        return kept.task_run_id, passing.task_run_id

    kept, passing = (recorded(task_run_id, lambda run: run.state.is_completed()).state for task_run_id in arm.run(body))
    assert kept.result() == {"a": [1, 2]}
    with pytest.raises(MissingResult):
        passing.result()


def test_hooks(arm, tmp_path):
    folder = str(tmp_path)

    def note(task, run, state):
        (Path(folder) / f"{run.name}-{state.type.value}").touch()

    def body():
        hooks = {"on_running": [note], "on_completion": [note]}
        echo.with_options(**hooks, task_run_name="good").submit(1).wait(LIMIT_S)
        fail.with_options(on_failure=[note], task_run_name="bad").submit("expected").wait(LIMIT_S)

    arm.run(body)
    assert {path.name for path in tmp_path.iterdir()} == {"good-RUNNING", "good-COMPLETED", "bad-FAILED"}


def test_concurrency_limit(arm, tmp_path):
    tag = f"one-at-a-time-{arm.name}"
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit(tag=tag, concurrency_limit=1)
    place = str(tmp_path / "taken")

    @task(tags=[tag])
    def hold() -> bool:
        # Raises when another one is there.
        Path(place).mkdir()
        time.sleep(0.1)
        Path(place).rmdir()
        return True

    assert arm.run(lambda: [future.result(LIMIT_S) for future in [hold.submit(), hold.submit()]]) == [True, True]
