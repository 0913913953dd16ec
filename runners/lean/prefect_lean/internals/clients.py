"""One HTTP client a worker thread and address, on one TLS context a process."""

from __future__ import annotations

import atexit
import ssl
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from prefect.client.orchestration import SyncPrefectClient
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.settings.context import get_current_settings

from .recent import Recent

_tls_contexts: Recent[ssl.SSLContext] = Recent()


def tls_context() -> ssl.SSLContext:
    """One TLS context a process: Prefect loads the CA bundle, tens of milliseconds, for every client it makes."""
    import certifi

    api = get_current_settings().api
    cert_file = api.ssl_cert_file or certifi.where()

    def load() -> ssl.SSLContext:
        if not api.tls_insecure_skip_verify:
            return ssl.create_default_context(cafile=cert_file)
        insecure = ssl.create_default_context()
        insecure.check_hostname = False
        insecure.verify_mode = ssl.CERT_NONE
        return insecure

    return _tls_contexts.get((api.tls_insecure_skip_verify, cert_file), load)


class _ThreadClients(threading.local):
    """The HTTP clients of one thread. They close when the thread ends, or else with the process."""

    def __init__(self) -> None:
        # An address that was given up keeps its client only until a few others have been used.
        self.contexts: Recent[SyncClientContext] = Recent(size=4, dropped=_close)
        self._owner = _Owner()
        close = weakref.finalize(self._owner, self.contexts.clear)
        # Closed by the atexit hook below, which runs before the modules that closing needs are torn down.
        close.atexit = False  # type: ignore[misc]
        open_clients.add(self.contexts)


class _Owner:
    """Lives as long as the thread that made it."""


open_clients: weakref.WeakSet[Recent[SyncClientContext]] = weakref.WeakSet()


def _close(client_context: SyncClientContext) -> None:
    client_context.client.__exit__(None, None, None)


@atexit.register
def close_clients() -> None:
    """Close every HTTP client that tasks of this process used."""
    for contexts in list(open_clients):
        contexts.clear()


_thread_clients = _ThreadClients()


def _kept(key: str) -> SyncClientContext:
    def open_client() -> SyncClientContext:
        made = SyncClientContext(httpx_settings={"verify": tls_context()})
        # `get_client()` in a task compares these with its own argument and would make another client.
        made._httpx_settings = None
        made.client.__enter__()
        try:
            if get_current_settings().client.server_version_check_enabled:
                made.client.raise_for_api_version_mismatch_once()
        except BaseException:
            _close(made)
            raise
        return made

    return _thread_clients.contexts.get(key, open_client)


@contextmanager
def thread_client(key: str) -> Iterator[SyncPrefectClient]:
    """Make the thread's client the one that the engine and `get_client()` find."""
    client_context = _kept(key)
    # Entered through the variable: `SyncClientContext.__exit__` would close the client with the first task.
    token = SyncClientContext.__var__.set(client_context)
    client_context._context_stack += 1
    try:
        yield client_context.client
    finally:
        client_context._context_stack -= 1
        SyncClientContext.__var__.reset(token)


@asynccontextmanager
async def async_client() -> AsyncIterator[None]:
    """An async client of this event loop, on the process's TLS context. The loop ends with the task, so it does too."""
    client_context = AsyncClientContext(httpx_settings={"verify": tls_context()})
    client_context._httpx_settings = None
    async with client_context:
        yield
