"""What a driver keeps of tasks that are over and whose futures the flow has let go of: nothing."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from prefect import task

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
TASKS = 100


@task
def nothing() -> None: ...


@pytest.mark.parametrize("arm", ["threads-lean", "processes-lean", "dask-lean", "ray-lean"], indirect=True)
def test_nothing_grows_with_the_number_of_tasks(arm):
    """Objects of the driver, by type, after many tasks against those after fewer."""
    from runners.lean.internals import events_workers

    def run_tasks() -> None:
        for future in [nothing.submit() for _ in range(TASKS)]:
            future.wait(LIMIT_S)

    def objects() -> Counter[str]:
        for worker in events_workers():
            worker.wait_until_empty()
            # Events wait in a buffer of a fixed size until the server has confirmed them.
            worker._client._unconfirmed_events.clear()
        gc.collect()
        kinds = (type(found) for found in gc.get_objects())
        return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)

    def body() -> Counter[str]:
        run_tasks()
        before = objects()
        run_tasks()
        return objects() - before

    grown = {name: more for name, more in arm.run(body).items() if more >= TASKS // 2}
    if arm.engine == "threads":
        # Upstream notes the assets of every task run in the flow run's context, and so also that there are none.
        assert grown.pop("builtins.set", 0) <= TASKS
        assert grown.pop("uuid.UUID", 0) <= TASKS
    assert grown == {}
