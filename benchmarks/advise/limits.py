"""Note what a flow and its tasks take of Prefect's concurrency limits and rate limits.

Limits are on the user's server. The lab's server has none, and Prefect goes on without them there.
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


@contextmanager
def _noted(note: Note, names: Any, slots: int, held: bool) -> Iterator[Callable[[], None]]:
    """Note one use, if it comes to that: the caller tells when it has the slots."""
    asked_s, had_s = time.monotonic(), []
    try:
        yield lambda: had_s.append(time.monotonic())
    finally:
        if had_s:
            listed = [names] if isinstance(names, str) else list(names)
            note(names=listed, slots=slots, t0=asked_s, t1=had_s[0], t2=time.monotonic() if held else None)


def _held(concurrency: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @contextmanager
    def noting(names: Any, occupy: int = 1, **kwargs: Any) -> Iterator[None]:
        with _noted(note, names, occupy, held=True) as had, concurrency(names=names, occupy=occupy, **kwargs):
            had()
            yield

    return noting


def _held_async(concurrency: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @asynccontextmanager
    async def noting(names: Any, occupy: int = 1, **kwargs: Any) -> AsyncIterator[None]:
        with _noted(note, names, occupy, held=True) as had:
            async with concurrency(names=names, occupy=occupy, **kwargs):
                had()
                yield

    return noting


def _taken(acquire: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(acquire)
    def noting(names: Any, slots: int, *args: Any, **kwargs: Any) -> Any:
        with _noted(note, names, slots, held=False) as had:
            taken = acquire(names, slots, *args, **kwargs)
            had()
            return taken

    return noting


def _taken_async(acquire: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(acquire)
    async def noting(names: Any, slots: int, *args: Any, **kwargs: Any) -> Any:
        with _noted(note, names, slots, held=False) as had:
            taken = await acquire(names, slots, *args, **kwargs)
            had()
            return taken

    return noting
