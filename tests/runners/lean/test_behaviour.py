"""What a task runner does for a task, asserted alike of stock and lean runners of every engine.

Tasks are local to their tests: a worker cannot import a test module, and gets them by value.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from prefect import allow_failure, flow, tags, task, unmapped
from prefect.assets import materialize
from prefect.cache_policies import INPUTS
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterTaskRunId
from prefect.exceptions import UpstreamTaskError
from prefect.filesystems import LocalFileSystem
from prefect.futures import as_completed, wait
from prefect.settings import PREFECT_TASKS_DEFAULT_RETRIES, temporary_settings
from prefect.utilities.annotations import quote

pytestmark = pytest.mark.slow

LIMIT_S = 120.0


@task
def increment(x: int) -> int:
    return x + 1


@task
def fail(message: str) -> None:
    raise ValueError(message)


@task
def echo(value: Any) -> Any:
    return value


def test_value_and_state(arm, recorded):
    def body():
        future = increment.submit(1)
        assert future.result(timeout=LIMIT_S) == 2
        assert future.state.is_completed()
        assert increment.submit(2, return_state=True).result() == 3
        return future.task_run_id

    run = recorded(arm.run(body), lambda run: run.state and run.state.is_completed())
    assert run.flow_run_id == arm.flow_run_id
    assert run.name.startswith("increment-")


def test_failure(arm, recorded):
    def body():
        future = fail.submit("no")
        future.wait(LIMIT_S)
        assert future.state.is_failed()
        with pytest.raises(ValueError, match="no"):
            future.result()
        assert isinstance(future.result(raise_on_failure=False), ValueError)
        return future.task_run_id

    recorded(arm.run(body), lambda run: run.state and run.state.is_failed())


def test_chain_and_futures_in_collections(arm, recorded):
    def body():
        one = increment.submit(0)
        two = increment.submit(one)
        nested = echo.submit({"list": [one, {"deep": two}], "tuple": (two, 7)})
        assert nested.result(LIMIT_S) == {"list": [1, {"deep": 2}], "tuple": (2, 7)}
        return two.task_run_id, one.task_run_id

    second, first = arm.run(body)
    run = recorded(second, lambda run: run.state and run.state.is_completed())
    # Values of upstream tasks reach stock processes without their origin.
    origins = [] if arm.name == "processes-stock" else [str(first)]
    assert [str(found.id) for found in run.task_inputs["x"]] == origins


def test_map(arm):
    @task
    def add(x: int, y: int, z: int = 0) -> int:
        return x + y + z

    def body():
        assert add.map([1, 2], unmapped(10)).result(timeout=LIMIT_S) == [11, 12]
        assert add.map(increment.map([0, 1]), [5, 5], z=unmapped(1)).result(timeout=LIMIT_S) == [7, 8]

    arm.run(body)


def test_annotations(arm):
    def body():
        failed = fail.submit("expected")
        around_failed = echo.submit(allow_failure(failed))
        around_failed.wait(LIMIT_S)
        quoted = echo.submit(quote([1, 2])).result(LIMIT_S)
        if arm.name == "ray-stock":
            # It resolves the arguments itself; what becomes of the annotations there is not lean's to repeat.
            assert around_failed.state.is_completed()
        elif arm.name == "dask-stock":
            # The annotations are tuples, which come back from pickle wrapped twice.
            assert around_failed.state.name == "NotReady"
            assert quoted != [1, 2]
        else:
            assert isinstance(around_failed.result(LIMIT_S), ValueError)
            assert quoted == [1, 2]

    arm.run(body)


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
        run = recorded(future.task_run_id, lambda run: run.state is not None and run.state.name == "NotReady")
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


def test_logs_reach_the_api(arm, until):
    @task(log_prints=True)
    def talk() -> None:
        from prefect import get_run_logger

        get_run_logger().info("from the logger")
        print("from print")

    def body():
        future = talk.submit()
        future.wait(LIMIT_S)
        return future.task_run_id

    task_run_id = arm.run(body)
    wanted = LogFilter(task_run_id=LogFilterTaskRunId(any_=[task_run_id]))
    with get_client(sync_client=True) as client:
        until(
            lambda: (
                {"from the logger", "from print"}
                <= {log.message for log in client.read_logs(wanted, limit=100, offset=0)}
            )
        )


def test_tags_name_and_runtime(arm):
    @task(tags=["own"], task_run_name="seen-{x}")
    def see(x: int) -> tuple[set[str], str, str, dict[str, Any]]:
        from prefect.runtime import flow_run, task_run

        return set(task_run.tags), task_run.name, flow_run.id, flow_run.parameters

    def body():
        # Stock processes keep the context of the first submit.
        increment.submit(0).wait(LIMIT_S)
        with tags("around"):
            return see.submit(5).result(LIMIT_S)

    found_tags, name, flow_run_id, parameters = arm.run(body)
    assert (name, flow_run_id, parameters) == ("seen-5", str(arm.flow_run_id), {"pet": "fish"})
    assert found_tags == ({"own"} if arm.name == "processes-stock" else {"own", "around"})


def test_settings_changed_in_mid_flow(arm):
    @task
    def setting() -> int:
        from prefect.settings.context import get_current_settings

        return get_current_settings().tasks.default_retries

    def body():
        before = setting.submit().result(LIMIT_S)
        with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: before + 7}):
            during = setting.submit().result(LIMIT_S)
        # Stock processes keep the context of the first submit.
        assert during == (before if arm.name == "processes-stock" else before + 7)
        assert setting.submit().result(LIMIT_S) == before

    arm.run(body)


def test_assets(arm):
    @materialize("s3://lean/one")
    def one() -> int:
        return 1

    @materialize("s3://lean/two")
    def two(x: int) -> list[str]:
        from prefect.context import AssetContext

        context = AssetContext.get()
        assert context is not None
        return sorted(asset.key for asset in context.upstream_assets)

    upstream = arm.run(lambda: two.submit(one.submit()).result(LIMIT_S))
    # Values of upstream tasks reach stock processes without their origin, and so without its assets.
    assert upstream == ([] if arm.name == "processes-stock" else ["s3://lean/one"])


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


def test_what_cannot_travel(pair):
    """What becomes of it depends on the engine, and not on whether its runner is lean."""

    class Stubborn(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("stubborn")

    @task
    def exception_that_does_not_pickle() -> None:
        raise Stubborn(1, 2)

    @task
    def generator() -> Any:
        yield 1
        yield 2

    def argument_that_does_not_pickle() -> Any:
        return type(echo.submit(threading.Lock()).result(LIMIT_S)).__name__

    def outcome(body: Any) -> Any:
        try:
            return body()
        except BaseException as raised:
            return type(raised).__name__

    def outcomes(arm: Any) -> dict[str, Any]:
        bodies = {
            "exception": lambda: exception_that_does_not_pickle.submit().result(LIMIT_S),
            "argument": argument_that_does_not_pickle,
            "generator": lambda: str(type(generator.submit().result(LIMIT_S))),
        }
        return {name: arm.run(lambda body=body: outcome(body)) for name, body in bodies.items()}

    stock, lean = pair
    assert outcomes(lean) == outcomes(stock)


def test_duplicate_and_equality(arm):
    runner = arm.make()
    twin = runner.duplicate()
    assert type(twin) is type(runner)
    assert twin == runner
    assert cloudpickle.loads(cloudpickle.dumps(runner)) == runner
    with pytest.raises(RuntimeError, match="started"):
        runner.submit(increment, {"x": 1})
