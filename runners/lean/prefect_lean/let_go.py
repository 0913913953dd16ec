"""Tasks of Ray whose futures the flow has let go of, and what Ray can tell of references without fetching a value."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import ray
from ray.experimental import get_local_object_locations

from .crash import Submitted


class LetGo:
    """Tasks whose futures nobody keeps, for as long as they have not ended.

    Ray runs such a task all the same, and only by a reference can it be cancelled.
    """

    def __init__(self) -> None:
        # Filled by finalizers, which may run in any thread at any moment: appending needs no lock.
        self.tasks: deque[tuple[Any, Submitted]] = deque()
        self.dead: set[bytes] = set()
        """The ids of tasks that have died, and of those that needed them."""
        self.closed = False
        """Whether the Ray of these tasks is gone. It is not to be asked: it would start another one to answer."""
        self._died: list[tuple[Any, Submitted]] = []
        self._ticks = 0
        self._looking = threading.Lock()

    def tick(self) -> None:
        """Now and then, drop those that have ended: a reference keeps the result in memory."""
        self._ticks += 1
        # Where another thread is at it, this one need not be.
        if self._ticks >= 16 and 2 * self._ticks >= len(self.tasks) and self._looking.acquire(blocking=False):
            try:
                self._ticks = 0
                self._look()
            finally:
                self._looking.release()

    def unfinished(self) -> list[Any]:
        with self._looking:
            return self._look()

    def died(self) -> list[tuple[Any, Submitted]]:
        """Those whose worker has died, as of the last look."""
        with self._looking:
            died, self._died = self._died, []
            return died

    def clear(self, closed: bool) -> None:
        self.closed = closed
        self.tasks.clear()

    def _look(self) -> list[Any]:
        found = dict(self.tasks.popleft() for _ in range(len(self.tasks)))
        unfinished = list(found)
        try:
            ended, unfinished = waited(unfinished)
        finally:
            # Also those that an interrupt has kept from being looked at.
            self.tasks.extend((reference, found[reference]) for reference in unfinished)
        self._died += [(reference, found[reference]) for reference in without_value(ended)]
        return unfinished


def waited(references: list[Any]) -> tuple[list[Any], list[Any]]:
    """Those whose tasks have ended, and the others. Nothing is waited for or fetched.

    Neither where the flow has ended the Ray that they are of: asked, Ray would start another one, which knows none.
    """
    if not references or not ray.is_initialized():
        return [], []
    try:
        return ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
    except ValueError:
        # Another has been started since.
        return [], []


def without_value(ended: list[Any]) -> list[Any]:
    """Those of tasks that left nothing, as where a worker has died.

    Asking each for its result would fetch what nobody wants. The driver knows the size of all that its tasks have left;
    through Ray Client it does not.
    """
    if not ended:
        return []
    try:
        found = get_local_object_locations(ended)
    except Exception:
        return []
    return [reference for reference in ended if found.get(reference, {}).get("object_size") is None]
