"""What a flow and its tasks take of Prefect's concurrency limits and rate limits, noted as it is taken.

A limit is on the server that the flow runs against in production, and hardly ever on the lab's: there Prefect goes on
without it. So what is noted is for what the user's own limits will do.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

Note = Callable[..., None]
"""Takes the entry of a limit: names, slots of each, monotonic seconds of asking, having and giving back."""


def watch(note: Note) -> None:
    """Note what is taken from now on, also by functions that the user's code has imported before.

    What stands behind them has names of Prefect's own, which a release may drop: nothing is noted then.
    """
    from prefect.concurrency import asyncio as awaited
    from prefect.concurrency import sync

    for module, name, noting in (
        (sync, "_concurrency_internal", _held),
        (sync, "_acquire_concurrency_slots", _taken),
        (awaited, "_concurrency_internal", _held_async),
        (awaited, "aacquire_concurrency_slots", _taken_async),
    ):
        if hasattr(module, name):
            setattr(module, name, noting(getattr(module, name), note))


def _held(concurrency: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @contextmanager
    def noting(names: Any, occupy: int = 1, **kwargs: Any) -> Iterator[None]:
        t0 = time.monotonic()
        with concurrency(names=names, occupy=occupy, **kwargs):
            t1 = time.monotonic()
            try:
                yield
            finally:
                note(names=_listed(names), slots=occupy, t0=t0, t1=t1, t2=time.monotonic())

    return noting


def _held_async(concurrency: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @asynccontextmanager
    async def noting(names: Any, occupy: int = 1, **kwargs: Any) -> AsyncIterator[None]:
        t0 = time.monotonic()
        async with concurrency(names=names, occupy=occupy, **kwargs):
            t1 = time.monotonic()
            try:
                yield
            finally:
                note(names=_listed(names), slots=occupy, t0=t0, t1=t1, t2=time.monotonic())

    return noting


def _taken(acquire: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(acquire)
    def noting(names: Any, slots: int, *args: Any, **kwargs: Any) -> Any:
        t0 = time.monotonic()
        taken = acquire(names, slots, *args, **kwargs)
        note(names=_listed(names), slots=slots, t0=t0, t1=time.monotonic(), t2=None)
        return taken

    return noting


def _taken_async(acquire: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(acquire)
    async def noting(names: Any, slots: int, *args: Any, **kwargs: Any) -> Any:
        t0 = time.monotonic()
        taken = await acquire(names, slots, *args, **kwargs)
        note(names=_listed(names), slots=slots, t0=t0, t1=time.monotonic(), t2=None)
        return taken

    return noting


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
