"""What a task knows of the flow run it belongs to, asserted alike of stock and lean runners of every engine."""

from __future__ import annotations

from typing import Any

import cloudpickle
import prefect
import pytest
from packaging.version import Version
from prefect import tags, task
from prefect.assets import materialize
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterTaskRunId
from prefect.settings import PREFECT_TASKS_DEFAULT_RETRIES, temporary_settings

pytestmark = pytest.mark.slow

LIMIT_S = 120.0


@task
def increment(x: int) -> int:
    return x + 1


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


def keeps_first_context(arm) -> bool:
    """Prefect's process pool before 3.9.1 sends every task with the context of its first submit."""
    return arm.name == "processes-stock" and Version(prefect.__version__) < Version("3.9.1")


def test_tags_name_and_runtime(arm):
    @task(tags=["own"], task_run_name="seen-{x}")
    def see(x: int) -> tuple[set[str], str, str, dict[str, Any]]:
        from prefect.runtime import flow_run, task_run

        return set(task_run.tags), task_run.name, flow_run.id, flow_run.parameters

    def body():
        increment.submit(0).wait(LIMIT_S)
        with tags("around"):
            return see.submit(5).result(LIMIT_S)

    found_tags, name, flow_run_id, parameters = arm.run(body)
    assert (name, flow_run_id, parameters) == ("seen-5", str(arm.flow_run_id), {"pet": "fish"})
    assert found_tags == ({"own"} if keeps_first_context(arm) else {"own", "around"})


def test_settings_changed_in_mid_flow(arm):
    @task
    def setting() -> int:
        from prefect.settings.context import get_current_settings

        return get_current_settings().tasks.default_retries

    def body():
        before = setting.submit().result(LIMIT_S)
        with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: before + 7}):
            during = setting.submit().result(LIMIT_S)
        assert during == (before if keeps_first_context(arm) else before + 7)
        assert setting.submit().result(LIMIT_S) == before

    arm.run(body)


def test_events_name_what_they_belong_to(arm, until):
    def related(client: Any, task_run_id: Any) -> list[set[tuple[str, str]]]:
        found = client.request(
            "POST", "/events/filter", json={"filter": {"resource": {"id": [f"prefect.task-run.{task_run_id}"]}}}
        ).json()["events"]
        return [
            {(resource["prefect.resource.role"], resource["prefect.resource.id"]) for resource in event["related"]}
            for event in found
        ]

    def body():
        # On the task: stock processes keep the surrounding tags of their first submit.
        return [increment.with_options(tags=["own"]).submit(x) for x in range(2)]

    futures = arm.run(body)
    for future in futures:
        future.wait(LIMIT_S)
    with get_client(sync_client=True) as client:
        flow_id = client.read_flow_run(arm.flow_run_id).flow_id
        # The second task run's are from what was found for the first.
        for future in futures:
            until(lambda future=future: len(related(client, future.task_run_id)) == 3)
            for event in related(client, future.task_run_id):
                assert event == {
                    ("flow-run", f"prefect.flow-run.{arm.flow_run_id}"),
                    ("flow", f"prefect.flow.{flow_id}"),
                    ("tag", "prefect.tag.own"),
                }


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


def test_duplicate_and_equality(arm):
    runner = arm.make()
    twin = runner.duplicate()
    assert type(twin) is type(runner)
    assert twin == runner
    assert cloudpickle.loads(cloudpickle.dumps(runner)) == runner
    with pytest.raises(RuntimeError, match="started"):
        runner.submit(increment, {"x": 1})
