"""Files of JSON that are there as a whole or not at all."""

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
    """Put `data` at `path` in one step: who reads meanwhile, or after a kill, finds the old file or the new one.

    Raises:
        OSError: the file cannot be written.
        ValueError: a value is NaN or infinite.
    """
    text = to_text(data, indent) + "\n"
    # The process's number in it: two that write at once do not write into one file.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
