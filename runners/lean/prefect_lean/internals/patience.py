"""How long a flow waits for a server that is gone: by default Prefect asks for minutes, at each of several ends."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from prefect.context import AsyncClientContext, FlowRunContext, SyncClientContext
from prefect.logging.handlers import APILogWorker

WAIT = "PREFECT_LEAN_WAIT_S"
"""The environment variable with the seconds that a flow, and a process at its end, waits for a server that is gone or
takes nothing."""

# With the tries that are under way then, a flow ends within two minutes of its last task.
_WAIT_S = 60.0

_LONGEST_PAUSE_S = 5.0

_AWAY = (httpx.ConnectError, httpx.ConnectTimeout)


def wait_limit_s() -> float:
    return float(os.environ.get(WAIT) or _WAIT_S)


class ServerGone(ConnectionError):
    """The Prefect server has not answered for the limit."""


class _Absence:
    """Since when a server has not answered. One for all clients of a flow's process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.since_s: float | None = None

    def ends(self) -> None:
        self.since_s = None

    def goes_on(self, error: Exception) -> None:
        """Raises ServerGone once it has been gone for the limit."""
        with self._lock:
            self.since_s = since_s = self.since_s or time.monotonic()
        if time.monotonic() - since_s >= wait_limit_s():
            context = FlowRunContext.get()
            flow_run = context.flow_run if context is not None else None
            of = f" of flow run {flow_run.name!r} ({flow_run.id})" if flow_run is not None else ""
            raise ServerGone(
                f"The Prefect server has not answered for {wait_limit_s():.0f} s ({WAIT}):"
                f" the last state{of} is not recorded."
            ) from error


absence = _Absence()


def wait_no_longer() -> None:
    """Have the clients of the flow that runs here give up after the limit, and from then on at once."""
    log_lines_wait_no_longer()
    for context in (SyncClientContext.get(), AsyncClientContext.get()):
        if context is not None:
            _limit(context.client._client)


def log_lines_wait_no_longer() -> None:
    """Have what sends this process's log lines give up after the limit: by itself it waits for a minute a batch."""
    handle: Any = getattr(APILogWorker, "_handle_batch", None)
    if handle is None or hasattr(handle, "_lean_limit"):
        return

    @functools.wraps(handle)
    async def limited(self: Any, items: Any) -> None:
        client = getattr(getattr(self, "_client", None), "_client", None)
        if client is not None:
            _limit(client)
        await handle(self, items)

    limited._lean_limit = True  # type: ignore[attr-defined]
    APILogWorker._handle_batch = limited  # type: ignore[method-assign]


def _limit(client: Any) -> None:
    if hasattr(client, "_lean_limit"):
        return
    client._lean_limit = True
    send_with_retry: Callable[..., Any] = client._send_with_retry

    def pause_s(error: Exception, retry_exceptions: tuple[type[Exception], ...], tries: int) -> float:
        """How long until the next try. Raises the error where that is Prefect's to say."""
        # Prefect does not retry at all where it has never reached the server.
        if not isinstance(error, retry_exceptions):
            raise error
        absence.goes_on(error)
        if not isinstance(error, _AWAY):
            raise error
        return min(2.0 ** min(tries, 8), _LONGEST_PAUSE_S)

    def patient(request: Any, send: Any, send_args: Any, send_kwargs: Any, **kwargs: Any) -> Any:
        def limited(*args: Any, **more: Any) -> Any:
            tries = 0
            while True:
                try:
                    response = send(*args, **more)
                except Exception as error:
                    time.sleep(pause_s(error, kwargs.get("retry_exceptions", ()), tries))
                    tries += 1
                else:
                    absence.ends()
                    return response

        return send_with_retry(request=request, send=limited, send_args=send_args, send_kwargs=send_kwargs, **kwargs)

    async def patient_async(request: Any, send: Any, send_args: Any, send_kwargs: Any, **kwargs: Any) -> Any:
        async def limited(*args: Any, **more: Any) -> Any:
            tries = 0
            while True:
                try:
                    response = await send(*args, **more)
                except Exception as error:
                    await asyncio.sleep(pause_s(error, kwargs.get("retry_exceptions", ()), tries))
                    tries += 1
                else:
                    absence.ends()
                    return response

        return await send_with_retry(
            request=request, send=limited, send_args=send_args, send_kwargs=send_kwargs, **kwargs
        )

    client._send_with_retry = patient if isinstance(client, httpx.Client) else patient_async
