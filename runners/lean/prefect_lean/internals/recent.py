"""Values by the name of what they were made from, so that each is made once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

V = TypeVar("V")


def digest(data: bytes) -> str:
    """Name of a shipped value: equal bytes have equal names."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Recent(Generic[V]):
    """The values used last, by key: each made once, shared between threads, the oldest dropped first."""

    def __init__(self, size: int = 8, dropped: Callable[[V], None] = lambda value: None) -> None:
        self._values: OrderedDict[Any, V] = OrderedDict()
        self._size = size
        self._dropped = dropped
        self._lock = threading.RLock()

    def get(self, key: Any, make: Callable[[], V]) -> V:
        with self._lock:
            if (value := self.found(key)) is not None:
                return value
            value = self._values[key] = make()
            while len(self._values) > self._size:
                self._dropped(self._values.popitem(last=False)[1])
            return value

    def found(self, key: Any) -> V | None:
        """None where it has not been made, or is gone."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def values(self) -> list[V]:
        with self._lock:
            return list(self._values.values())

    def forget(self, key: Any, value: V) -> None:
        """Unless another thread has put another value in its place."""
        with self._lock:
            if self._values.get(key) is value:
                del self._values[key]

    def clear(self) -> None:
        with self._lock:
            while self._values:
                self._dropped(self._values.popitem()[1])
