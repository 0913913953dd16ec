"""Files that are there as a whole or not at all, and JSON in them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def to_text(data: Any, indent: int | None = None) -> str:
    """Strict JSON; halves of surrogate pairs, which no other program reads, become `?`.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    separators = (",", ":") if indent is None else None
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, indent=indent, separators=separators)
    return text.encode("utf-8", "replace").decode()


def write(path: Path, data: Any, indent: int | None = 2) -> None:
    """Put `data` at `path` in one step.

    Raises:
        OSError: the file cannot be written.
        ValueError: a value is NaN or infinite.
    """
    write_whole(path, f"{to_text(data, indent)}\n".encode())


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: who reads meanwhile, or after a kill, finds the old file or the new one.

    Raises:
        OSError: the file cannot be written.
    """
    # The process's number in it: two that write at once do not write into one file.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)
