"""What Dask and Ray are told about a task or a cluster, alike through stock and lean runners."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import pytest
from prefect import flow, task

pytestmark = pytest.mark.slow

LIMIT_S = 120.0
DASK = ["dask-stock", "dask-lean"]
RAY = ["ray-stock", "ray-lean"]


@task
def increment(x: int) -> int:
    return x + 1


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_annotations(arm, dask_cluster):
    import dask
    from distributed import Client

    @task
    def annotations() -> dict[str, Any]:
        from distributed import get_worker

        worker = get_worker()
        state = worker.state.tasks[worker.get_current_task()]
        return {"resources": dict(state.resource_restrictions), "all": dict(state.annotations or {})}

    async def one_slot(dask_worker: Any) -> None:
        await dask_worker.set_resources(slot=1)

    with Client(dask_cluster.address, set_as_default=False) as client:
        address = next(iter(client.scheduler_info()["workers"]))
        client.run(one_slot)

    def body():
        with dask.annotate(resources={"slot": 1}, priority=5, workers=[address], retries=2):
            return annotations.submit().result(LIMIT_S)

    found = arm.run(body)
    assert found["resources"] == {"slot": 1}
    assert found["all"]["priority"] == 5
    assert found["all"]["retries"] == 2
    assert list(found["all"]["workers"]) == [address]


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_keys_carry_the_name_of_the_task(arm):
    @task
    def key() -> str:
        from distributed import get_worker

        return str(get_worker().get_current_task())

    assert arm.run(lambda: key.submit().result(LIMIT_S)).startswith("key-")


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_cluster_of_its_own(arm, scratch):
    """A cluster that the runner starts and scales."""
    kwargs = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "local_directory": str(scratch)}
    runner = arm.make(
        address=None,
        cluster_class="distributed.LocalCluster",
        cluster_kwargs=kwargs,
        adapt_kwargs={"minimum": 1, "maximum": 1},
    )

    @flow(task_runner=runner)
    def own() -> int:
        return increment.submit(1).result(LIMIT_S)

    assert own() == 2
    assert runner.duplicate() == runner


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_performance_report(arm, tmp_path):
    """Dask writes the report with bokeh. Without it, stock and lean alike fail when the flow is over."""
    report = tmp_path / "report.html"
    runner = arm.make(performance_report_path=str(report))
    assert runner.duplicate().performance_report_path == str(report)

    @flow(task_runner=runner)
    def reported() -> int:
        return increment.submit(1).result(LIMIT_S)

    if find_spec("bokeh"):
        assert reported() == 2
    else:
        with pytest.raises(ImportError, match="bokeh"):
            reported()
    assert report.exists() is (find_spec("bokeh") is not None)


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_rejects_what_cannot_go_together(arm):
    with pytest.raises(ValueError, match="Cannot specify"):
        arm.make(cluster_kwargs={"n_workers": 1})
    with pytest.raises(ValueError, match="asynchronous"):
        arm.make(client_kwargs={"asynchronous": True})


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_running_cluster(arm, scratch):
    from distributed import LocalCluster

    place = {"dashboard_address": None, "local_directory": str(scratch), "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, **place) as cluster,
        arm.make(address=None, cluster=cluster) as runner,
    ):
        assert runner.submit(increment, {"x": 1}).result(LIMIT_S) == 2


@pytest.mark.parametrize("arm", RAY, indirect=True)
def test_ray_remote_options(arm):
    from prefect_ray.context import remote_options

    @task
    def resources() -> dict[str, Any]:
        import ray

        return ray.get_runtime_context().get_assigned_resources()

    def body():
        with remote_options(num_cpus=2):
            two = resources.submit().result(LIMIT_S)
        return two, resources.submit().result(LIMIT_S)

    two, one = arm.run(body)
    assert two["CPU"] == 2
    assert one["CPU"] == 1


@pytest.mark.parametrize("arm", RAY, indirect=True)
def test_ray_keeps_the_name_and_large_shared_context(arm):
    @task(name="a name of its own")
    def name() -> str:
        import ray

        return ray.get_runtime_context().get_task_name()

    @flow(task_runner=arm.make())
    def large(blob: bytes) -> list[str]:
        return [future.result(LIMIT_S) for future in [name.submit(), name.submit()]]

    assert large(b"x" * 300_000) == ["a name of its own"] * 2


@pytest.mark.parametrize("arm", RAY, indirect=True)
def test_ray_init_kwargs(arm):
    runner = arm.make(init_kwargs={"num_cpus": 1})
    assert runner.duplicate() == runner
    assert runner.duplicate().init_kwargs == {"num_cpus": 1, "namespace": "prefect"}
