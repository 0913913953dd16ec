from prefect import flow
from prefect.context import FlowRunContext


@flow(timeout_seconds=50)
def limited():
    return FlowRunContext.get().flow.timeout_seconds


@flow
def unlimited():
    return FlowRunContext.get().flow.timeout_seconds
