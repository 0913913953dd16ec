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
from prefect.filesystems import LocalFileSystem

pytestmark = pytest.mark.slow

LIMIT_S = 120.0


@task
def fail(message: str) -> None:
    raise ValueError(message)


@task
def echo(value: Any) -> Any:
    return value


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


def test_hooks(arm, tmp_path):
    folder = str(tmp_path)

    def note(task, run, state):
        (Path(folder) / f"{run.name}-{state.type.value}").touch()

    def body():
        echo.with_options(on_completion=[note], task_run_name="good").submit(1).wait(LIMIT_S)
        fail.with_options(on_failure=[note], task_run_name="bad").submit("expected").wait(LIMIT_S)

    arm.run(body)
    assert {path.name for path in tmp_path.iterdir()} == {"good-COMPLETED", "bad-FAILED"}


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
