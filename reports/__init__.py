"""WHAT IT MEANS: records in; statistics, charts and pages out. Never starts a runner or a server.

`reports.render(run_dir)` is the one thing the rest of the lab calls. It is imported on first use, so that
what the lab imports where it measures costs no matplotlib and no scipy: `records.record`, `run`, `metg`.

Where to look:

- `analysis`: figures, from the records and the plan of a run; `summary` has all of them
- `words`: `verdict`, `advice`, `comparison`, `described`
- `model`, `choose`: the cost model, and the answer made with it (`runner-lab choose`, the verdict, the decision map)
- `history`: several runs (`runner-lab diff`, `history`)
- `charts`, `pages`: what a reader sees, also of experiments; `rendering` makes a report of them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_lab.records.record import RecordError

if TYPE_CHECKING:
    from runner_lab.reports.rendering import Rendered, render

__all__ = ["RecordError", "Rendered", "render"]


def __getattr__(name: str) -> Any:
    if name in ("Rendered", "render"):
        from runner_lab.reports import rendering

        return getattr(rendering, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
