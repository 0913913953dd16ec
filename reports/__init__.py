"""WHAT IT MEANS: records in; statistics, charts and pages out. Never starts a runner or a server.

`reports.render(run_dir)` is the one thing the rest of the lab calls. It is imported on first use, so that
what the lab imports where it measures costs no matplotlib and no scipy: `reports.records`, `run`, `metg`.

Where to look:

- what comes in: `records` and its parts `validation`, `graphs`, `flow_runs`, `tax`, `traffic`; `run` for the plan
- figures: `cells`, `statistics`, `fits`, `metg`, `batching`, `scaling`, `scale`, `taxes`; `summary` has all of a run
- the cost model: `costs`, `model`, `fitting`, `judgement`
- an answer (`runner-lab choose`, the decision map): `asking`, `ranking`, `alternatives`, `choice`, `answer`, `atlas`
- several runs (`diff`, `history`): `timings`, `difference`, `history`, `trend`
- behaviour: `behaviour`, `placement`, `hosts`
- words and pages: `verdict`, `regimes`, `advice`, `comparison`, `tables` and other `*_tables`, `charts`, `page`,
  `markdown`, `terminal`, `brief`, `rendering`
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
