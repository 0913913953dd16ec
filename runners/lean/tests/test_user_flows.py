"""What users have met with Prefect's runners and lean ones do right, in flows of the kinds that they reported."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, runtime, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
LEAN = ["threads-lean", "processes-lean", "dask-lean", "ray-lean"]
LEAN_REMOTE = LEAN[1:]


class NeedsMore(Exception):
    """Pickles well, and cannot be loaded: `__init__` takes more than it hands on."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host} does not answer on {port}")
        self.host, self.port = host, port


class HoldsALock(Exception):
    def __init__(self, text: str, more: int) -> None:
        super().__init__(text)
        import threading

        self.lock, self.more = threading.Lock(), more


@task
def connect(port: int) -> int:
    if port % 2:
        raise NeedsMore("db", port)
    if port == 4:
        raise HoldsALock("busy", port)
    return port


@pytest.mark.parametrize("arm", LEAN, indirect=True)
def test_exception_that_does_not_come_back_from_a_pickle(arm, recorded):
    def body() -> Any:
        futures = [connect.submit(port) for port in (2, 3, 4)]
        for future in futures:
            future.wait(LIMIT_S)
        assert [future.state.name for future in futures] == ["Completed", "Failed", "Failed"]
        assert "db does not answer on 3" in futures[1].state.message
        raised = futures[1].result(raise_on_failure=False)
        assert type(raised).__name__ == "NeedsMore"
        assert (str(raised), raised.host, raised.port) == ("db does not answer on 3", "db", 3)
        busy = futures[2].result(raise_on_failure=False)
        assert (type(busy).__name__, busy.more) == ("HoldsALock", 4)
        # And as what another task is given.
        after = connect.submit(futures[1])
        after.wait(LIMIT_S)
        assert after.state.name == "NotReady"
        return futures[1].task_run_id

    assert "db does not answer on 3" in recorded(arm.run(body), lambda run: run.state.is_failed()).state.message


@dataclass
class Basket:
    rows: list[Any]
    total: int = field(init=False, default=0)


@pytest.mark.parametrize("arm", LEAN, indirect=True)
def test_dataclass_with_a_field_that_init_does_not_take(arm):
    @task
    def number(x: int) -> int:
        return x

    @task
    def add_up(order: Any) -> Any:
        order.total += sum(order.rows)
        return type(order).__name__, order.rows, order.total

    def body() -> None:
        assert add_up.submit(Basket([4, 5])).result(LIMIT_S) == ("Basket", [4, 5], 9)
        order = Basket([number.submit(1), 2])
        order.total = 10
        assert add_up.submit(order).result(LIMIT_S) == ("Basket", [1, 2], 13)
        assert order.total == 10

    arm.run(body)


@pytest.mark.parametrize("arm", LEAN, indirect=True)
def test_work_in_place_on_what_a_task_was_given(arm):
    numpy = pytest.importorskip("numpy")

    @task
    def make(n: int) -> Any:
        import numpy

        return {"image": numpy.zeros(n)}

    @task
    def add(array: Any, x: float) -> float:
        array += x
        return float(array.sum())

    @task
    def scale(parts: Any) -> float:
        parts["image"][:] += 2
        return float(parts["image"].sum())

    def body() -> None:
        for n in (10, 100_000):
            assert add.submit(numpy.ones(n), 1.0).result(LIMIT_S) == 2 * n
            made = make.submit(n)
            assert scale.submit(made).result(LIMIT_S) == 2 * n
            assert scale.submit({"image": numpy.full(n, 3.0)}).result(LIMIT_S) == 5 * n

    arm.run(body)


@pytest.mark.parametrize("arm", ["threads-lean"], indirect=True)
def test_tasks_that_overlap_lose_no_line(arm, until):
    @task(log_prints=True)
    def say(n: int) -> None:
        time.sleep(n * 0.02)
        print(f"said {n}")

    @flow(task_runner=arm.make(max_workers=3))
    def talks() -> Any:
        for _ in range(10):
            say.map([0, 1, 2]).wait()
        return runtime.flow_run.id

    before = print
    flow_run_id = talks()
    assert print is before

    def lines() -> list[str]:
        with get_client(sync_client=True) as client:
            logs = client.read_logs(log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id])), limit=200)
        return [log.message for log in logs if log.message.startswith("said")]

    until(lambda: len(lines()) == 30, lambda: f"{len(lines())} of 30 lines")


@pytest.mark.parametrize("arm", LEAN, indirect=True)
@pytest.mark.parametrize("asks", ["wait", "result"])
def test_flow_that_runs_out_of_time_while_it_waits(arm, tmp_path, asks):
    """It ends then, and what had not begun never begins. Threads and processes let what runs go on."""

    @task
    def nap(seconds: float) -> None:
        time.sleep(seconds)

    @task
    def mark(path: str) -> None:
        Path(path).touch()

    # What Ray interrupts need not end soon, and is far from its end then on the slowest machine.
    long_s = 60 if arm.engine == "ray" else 12

    @flow(task_runner=arm.make(), timeout_seconds=4)
    def hasty() -> None:
        first = nap.submit(long_s)
        second = mark.submit(str(tmp_path / "mark"), wait_for=[first])
        getattr(second, asks)()

    # Both slots are up before the clock matters.
    arm.run(lambda: nap.map([0.5, 0.5]).wait())
    begun = time.monotonic()
    state = hasty(return_state=True)
    assert state.name == "TimedOut"
    if arm.engine == "ray":
        assert time.monotonic() - begun < 50
        time.sleep(max(0, 13 - (time.monotonic() - begun)))
    if arm.engine != "threads":
        assert not (tmp_path / "mark").exists()


FANS = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import sys

from prefect import flow, task
import prefect_lean


def cube(x):
    return x**3


@task
def fan(n):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(cube, range(n)))


@flow
def fans():
    return fan.submit(4).result()


if __name__ == "__main__":
    if sys.argv[1] == "dask":
        runner = prefect_lean.LeanDaskTaskRunner(cluster_kwargs={"n_workers": 1, "dashboard_address": None})
    else:
        runner = prefect_lean.LeanProcessPoolTaskRunner(max_workers=1)
    print(fans.with_options(task_runner=runner)())
"""


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_task_of_a_script_with_processes_of_its_own(lab_server, tmp_path, engine):
    script = tmp_path / "fans.py"
    script.write_text(textwrap.dedent(FANS))
    done = subprocess.run(
        [sys.executable, str(script), engine], env=os.environ, capture_output=True, text=True, timeout=LIMIT_S * 3
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "[0, 1, 8, 27]"
