"""The digest of a piece of source, by which a change of it is noticed."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from typing import Any

from .recent import digest

MISSING = "missing"


def source_digest(qualified_name: str) -> str:
    """Digest of the source of `module:name`, blind to white space, or of the arguments of `module:name()`.

    `MISSING` when there is no such thing.
    """
    module_name, _, name = qualified_name.partition(":")
    try:
        found: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
        for part in name.removesuffix("()").split("."):
            found = getattr(found, part)
        if name.endswith("()"):
            return digest(" ".join(inspect.signature(found).parameters).encode())
        return digest("".join(_source(found).split()).encode())
    except (ImportError, AttributeError, OSError, TypeError):
        return MISSING


def _source(found: Any) -> str:
    if not inspect.isclass(found):
        return inspect.getsource(found)
    # For a class `inspect.getsource` parses the module: slow in each worker that starts, and an error of CPython 3.11
    # ("AST constructor recursion depth mismatch") where another thread parses something at the same time.
    lines = inspect.getsource(importlib.import_module(found.__module__)).splitlines(keepends=True)
    head = re.compile(rf"class {found.__name__}\b")
    first = next((number for number, line in enumerate(lines) if head.match(line)), None)
    if first is None:
        raise OSError(f"no source of {found.__qualname__}")
    return "".join(inspect.getblock(lines[first:]))
