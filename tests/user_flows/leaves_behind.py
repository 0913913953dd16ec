import logging
import os
import tempfile

from prefect import flow, task
from prefect.context import FlowRunContext

LEFT = {}


@task
def first(i):
    return i


@flow
def leaves_behind():
    """What the flow finds that a run under another runner has left."""
    mine = type(FlowRunContext.get().task_runner).__name__
    by = {
        "environment": os.environ.get("LEFT_BY"),
        "module": LEFT.get("by"),
        "folder": os.path.basename(os.getcwd()).partition("-left-by-")[0] if "-left-by-" in os.getcwd() else None,
        "logging": logging.getLogger("left").handlers[0].name if logging.getLogger("left").handlers else None,
    }
    os.environ["LEFT_BY"] = LEFT["by"] = mine
    LEFT["folder"] = tempfile.TemporaryDirectory(prefix=f"{mine}-left-by-")
    os.chdir(LEFT["folder"].name)
    handler = logging.NullHandler()
    handler.name = mine
    logging.getLogger("left").handlers = [handler]
    return [[what for what, who in by.items() if who not in (None, mine)], first.map([1, 2]).result()]
