"""What a driver keeps of tasks that are over and whose futures the flow has let go of: nothing."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from prefect import task
from prefect.futures import wait

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
TASKS = 100


@task
def nothing() -> None: ...


@pytest.mark.parametrize("arm", ["threads-lean", "processes-lean", "dask-lean", "ray-lean"], indirect=True)
def test_nothing_grows_with_the_number_of_tasks(arm, until):
    """Objects of the driver, by type, after many tasks against those after fewer."""
    from prefect.task_runs import TaskRunWaiter
    from prefect_lean.internals import events_workers

    if TaskRunWaiter._instance is not None:
        # Once anything in this process has waited for a served task, it notes the last 10,000 task runs of the server.
        TaskRunWaiter._instance.stop()

    def run_tasks() -> None:
        assert not wait([nothing.submit() for _ in range(TASKS)], LIMIT_S).not_done

    def objects() -> Counter[str]:
        released(arm, until)
        for worker in events_workers():
            until(lambda events=worker._queue: not events.unfinished_tasks)
            # Events wait in buffers of a fixed size until the server has confirmed and recorded them.
            window = worker._client
            window.under_way.clear()
            window._client._unconfirmed_events.clear()
        gc.collect()
        kinds = (type(found) for found in gc.get_objects())
        # Containers and references belong to some object, or to a log of a fixed size as Dask's scheduler has them.
        # Log records are kept by pytest.
        named = (kind for kind in kinds if kind.__module__ not in ("builtins", "weakref", "logging"))
        return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in named)

    def body() -> None:
        run_tasks()
        before = objects()
        run_tasks()

        def grown() -> dict[str, int]:
            return {name: more for name, more in (objects() - before).items() if more >= TASKS // 2}

        # What an event loop has yet to come to is gone in a moment; what is kept stays.
        until(lambda: not grown(), lambda: f"Grown: {grown()}")

    arm.run(body)


def released(arm, until):
    """Return once a scheduler in the driver has heard that nobody wants the tasks any more.

    Its log of the last 1,000 transitions, and that of each connection's last 1,000 messages, are of a fixed size.
    """
    if arm.engine != "dask":
        return
    from distributed import Client
    from distributed.batched import BatchedSend

    def on_scheduler(dask_scheduler):
        dask_scheduler.transition_log.clear()
        return [key for key in dask_scheduler.tasks if key.startswith("nothing-")]

    with Client(arm.make().address, set_as_default=False) as client:
        until(lambda: not client.run_on_scheduler(on_scheduler))
    for connection in [found for found in gc.get_objects() if isinstance(found, BatchedSend)]:
        connection.recent_message_log.clear()
