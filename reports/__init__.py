"""WHAT IT MEANS: records in; statistics, charts and pages out. Never starts a runner or a server.

`reports.render(run_dir)` is the one thing the rest of the lab calls. It is imported on first use, so that
what the lab imports where it measures costs no matplotlib and no scipy: `reports.records`, `run`, `metg`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.records import RecordError

if TYPE_CHECKING:
    from reports.rendering import Rendered, render

__all__ = ["RecordError", "Rendered", "render"]


def __getattr__(name: str) -> Any:
    if name in ("Rendered", "render"):
        from reports import rendering

        return getattr(rendering, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
