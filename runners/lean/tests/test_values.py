"""What goes to a task and what comes back, asserted alike of stock and lean runners of every engine.

Tasks are local to their tests: a worker cannot import a test module, and gets them by value.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from prefect import allow_failure, task, unmapped
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


@pytest.mark.core
def test_value_and_state(arm, recorded):
    def body():
        future = increment.submit(1)
        assert future.result(timeout=LIMIT_S) == 2
        assert future.state.is_completed()
        assert increment.submit(2, return_state=True).result() == 3
        return future.task_run_id

    run = recorded(arm.run(body), lambda run: run.state.is_completed())
    assert run.flow_run_id == arm.flow_run_id
    assert run.name.startswith("increment-")


@pytest.mark.core
def test_failure(arm, recorded):
    def body():
        future = fail.submit("no")
        future.wait(LIMIT_S)
        assert future.state.is_failed()
        with pytest.raises(ValueError, match="no"):
            future.result()
        assert isinstance(future.result(raise_on_failure=False), ValueError)
        return future.task_run_id

    recorded(arm.run(body), lambda run: run.state.is_failed())


def test_chain_and_futures_in_collections(arm, recorded):
    def body():
        one = increment.submit(0)
        two = increment.submit(one)
        nested = echo.submit({"list": [one, {"deep": two}], "tuple": (two, 7)})
        assert nested.result(LIMIT_S) == {"list": [1, {"deep": 2}], "tuple": (2, 7)}
        return two.task_run_id, one.task_run_id

    second, first = arm.run(body)
    run = recorded(second, lambda run: run.state.is_completed())
    # Values of upstream tasks reach stock processes without their origin.
    origins = [] if arm.name == "processes-stock" else [str(first)]
    assert [str(found.id) for found in run.task_inputs["x"]] == origins


@pytest.mark.core
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
    of_stock, of_lean = outcomes(stock), outcomes(lean)
    # A lean runner brings the exception itself where it can.
    assert of_lean["exception"] in ("Stubborn", of_stock["exception"])
    assert of_lean | {"exception": ""} == of_stock | {"exception": ""}


def test_large_arguments(arm):
    """What an engine takes another way than a call: large bytes and arrays, wherever they are in the arguments."""
    import numpy

    blob, array = b"x" * 300_000, numpy.arange(100_000)

    @task
    def see(blob: bytes, nested: dict[str, Any], upstream: Any) -> tuple[bool, int, int, int]:
        one, other = nested["twice"]
        return one is other, len(blob), int(one.sum()), int(upstream["array"].sum())

    def body():
        upstream = echo.submit({"array": array})
        future = see.submit(blob, {"twice": [array, array], "of it": (blob, upstream)}, upstream)
        return future.result(LIMIT_S)

    same, length, *sums = arm.run(body)
    assert same
    assert (length, *sums) == (300_000, int(array.sum()), int(array.sum()))


class Unloadable:
    """Goes into a pickle and does not come out of it, as what is too large for the memory that is left."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return _load, (self.path,)


def _load(path: str) -> Any:
    raise MemoryError(f"no room for {path}")


@pytest.mark.parametrize("arm", ["processes-lean", "dask-lean", "ray-lean"], indirect=True)
@pytest.mark.parametrize("what", ["a lock", "in a list", "async", "does not load"])
def test_result_that_cannot_be_sent_fails_its_task(arm, recorded, what):
    """In its future and in the API alike, with the reason; what depends on it does not begin, and others go on."""

    @task
    def give() -> Any:
        import threading

        if what == "does not load":
            return Unloadable("x")
        return [threading.Lock()] if what == "in a list" else threading.Lock()

    @task
    async def give_async() -> Any:
        import threading

        return threading.Lock()

    def body() -> Any:
        given = (give_async if what == "async" else give).submit()
        other = echo.submit(7)
        given.wait(LIMIT_S)
        assert given.state.name == "Failed"
        with pytest.raises(Exception, match=r"no room|cannot pickle"):
            given.result(LIMIT_S)
        assert given.state.is_failed()
        assert ("no room" if what == "does not load" else "cannot pickle") in given.state.message
        if what != "does not load" or arm.engine == "processes":
            after = echo.submit(given)
            after.wait(LIMIT_S)
            assert after.state.name == "NotReady"
        assert other.result(LIMIT_S) == 7
        return given.task_run_id

    assert recorded(arm.run(body), lambda run: run.state.is_final() and run.state.name != "Completed").state.is_failed()


@pytest.mark.parametrize("arm", ["processes-lean"], indirect=True)
def test_argument_that_cannot_be_sent_fails_its_task(arm, recorded):
    def body() -> Any:
        future = echo.submit(threading.Lock())
        future.wait(LIMIT_S)
        assert future.state.name == "Failed"
        assert "cannot pickle" in future.state.message
        with pytest.raises(TypeError, match="cannot pickle"):
            future.result(LIMIT_S)
        assert echo.submit(7).result(LIMIT_S) == 7
        return future.task_run_id

    assert recorded(arm.run(body), lambda run: run.state.is_final()).state.is_failed()


@pytest.mark.parametrize("arm", ["processes-lean"], indirect=True)
def test_result_of_a_task_within_a_task_stays(arm):
    """What a body gets from a task that it calls goes to no other process."""

    @task
    def lock() -> Any:
        import threading

        return threading.Lock()

    @task
    def outer() -> str:
        return type(lock()).__name__

    assert arm.run(lambda: outer.submit().result(LIMIT_S)) == "lock"
