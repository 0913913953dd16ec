"""The class of a block, without the import of every integration that is installed."""

from __future__ import annotations

import functools
from typing import Any

from prefect.blocks.core import Block
from prefect.utilities.dispatch import lookup_type


def look_here_first() -> None:
    """Have Prefect import the integrations only where no class of that name is known yet.

    It imports all of them before it looks: a process that rebuilds a flow run's `LocalFileSystem` imports Dask and Ray
    wherever their integrations are installed, a second of CPU and tens of megabytes.
    """
    stock: Any = Block.get_block_class_from_key.__func__  # type: ignore[attr-defined]
    if getattr(stock, "_looks_here_first", False):
        return

    # What is wrapped shows its own source to `source_digest`, also to that of another version of this package.
    @functools.wraps(stock)
    def get_block_class_from_key(cls: Any, key: str) -> Any:
        try:
            return lookup_type(cls, key)
        except KeyError:
            return stock(cls, key)

    get_block_class_from_key._looks_here_first = True  # type: ignore[attr-defined]
    Block.get_block_class_from_key = classmethod(get_block_class_from_key)  # type: ignore[method-assign, assignment]
