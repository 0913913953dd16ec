from prefect import flow, task
from prefect.context import FlowRunContext


@task
def leaf(i):
    return i


@flow
def inner():
    return sum(leaf.map([1, 2]).result())


@flow
def hands_down():
    runner = FlowRunContext.get().task_runner
    return inner.with_options(task_runner=runner.duplicate())()
