"""The API that a task is about, for what is said of it elsewhere and later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import cloudpickle
from prefect.context import FlowRunContext, SettingsContext

from .recent import digest

# The burst worker that events of this context go by, where there are any.
events_worker_here: ContextVar[Any] = ContextVar("lean_events_worker", default=None)


def client_key(settings: Any) -> str:
    """Name of what decides which client serves: address, keys, certificates, timeouts."""
    return digest(cloudpickle.dumps((settings.api.__dict__, settings.client.__dict__)))


class Origin:
    """The API that a submit is about. What a thread without a context says of the task later, it says there."""

    def __init__(self) -> None:
        flow_run_context = FlowRunContext.get()
        self._flow_run = flow_run_context.flow_run if flow_run_context else None
        self._settings = SettingsContext.get()
        self._events_worker = events_worker_here.get()

    @contextmanager
    def entered(self, with_flow_run: bool = False) -> Iterator[None]:
        """With the flow run, an event that is emitted within belongs to it: the server has that from nothing else."""
        with ExitStack() as stack:
            if with_flow_run:
                known = FlowRunContext.model_construct(flow_run=self._flow_run) if self._flow_run else None
                # None is what `get` gives where nothing has been entered.
                entered: Any = FlowRunContext.__var__.set(known)  # type: ignore[arg-type]
                stack.callback(FlowRunContext.__var__.reset, entered)
            if self._settings is not None:
                # A copy: a context cannot be entered twice.
                stack.enter_context(self._settings.model_copy())
            token = events_worker_here.set(self._events_worker)
            stack.callback(events_worker_here.reset, token)
            yield
