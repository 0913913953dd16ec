"""The form in which settings and flow run travel."""

from __future__ import annotations

import zlib
from typing import Any

import cloudpickle


def packed(pickled: bytes) -> bytes:
    """It goes with every task, and a scheduler keeps it for every task that it has: a fifth of the size."""
    return zlib.compress(pickled)


def unpacked(data: bytes) -> dict[str, Any]:
    """A context in the form of its `serialize`, from what a `SettingsPart` or a `FlowRunPart` holds."""
    serialized: dict[str, Any] = cloudpickle.loads(zlib.decompress(data))
    return serialized
