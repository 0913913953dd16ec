"""What Dask and Ray are told about a task or a cluster, alike through stock and lean runners."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from prefect import flow, task

pytestmark = pytest.mark.slow

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

    with Client(dask_cluster.scheduler_address) as client:
        address = next(iter(client.scheduler_info()["workers"]))

    def body():
        with dask.annotate(resources={"slot": 1}, priority=5, workers=[address], retries=2):
            return annotations.submit().result(60)

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

    assert arm.run(lambda: key.submit().result(60)).startswith("key-")


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_cluster_of_its_own(arm, tmp_path):
    """A cluster that the runner starts, scales and reports on."""
    report = tmp_path / "report.html"
    kwargs = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    runner = arm.make(
        address=None,
        cluster_class="distributed.LocalCluster",
        cluster_kwargs=kwargs,
        adapt_kwargs={"minimum": 1, "maximum": 1},
        performance_report_path=str(report) if find_spec("bokeh") else None,
    )

    @flow(task_runner=runner)
    def own() -> int:
        return increment.submit(1).result(120)

    assert own() == 2
    assert report.exists() is (find_spec("bokeh") is not None)
    assert runner.duplicate() == runner


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_rejects_what_cannot_go_together(arm):
    with pytest.raises(ValueError, match="Cannot specify"):
        arm.make(cluster_kwargs={"n_workers": 1})
    with pytest.raises(ValueError, match="asynchronous"):
        arm.make(client_kwargs={"asynchronous": True})


@pytest.mark.parametrize("arm", DASK, indirect=True)
def test_dask_running_cluster(arm, dask_cluster):
    runner = arm.make(address=None, cluster=dask_cluster)
    with runner:
        assert runner.submit(increment, {"x": 1}).result(60) == 2


@pytest.mark.parametrize("arm", RAY, indirect=True)
def test_ray_remote_options(arm):
    from prefect_ray.context import remote_options

    @task
    def resources() -> dict[str, Any]:
        import ray

        return ray.get_runtime_context().get_assigned_resources()

    def body():
        with remote_options(num_cpus=2):
            two = resources.submit().result(120)
        return two, resources.submit().result(120)

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
        return [future.result(120) for future in [name.submit(), name.submit()]]

    assert large(b"x" * 300_000) == ["a name of its own"] * 2


@pytest.mark.parametrize("arm", RAY, indirect=True)
def test_ray_init_kwargs(arm):
    runner = arm.make(init_kwargs={"num_cpus": 1})
    assert runner.duplicate() == runner
    assert runner.duplicate().init_kwargs == {"num_cpus": 1, "namespace": "prefect"}
