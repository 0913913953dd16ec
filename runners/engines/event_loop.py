"""Async tasks awaited together by `asyncio.gather` in an async flow: no task runner takes part, no thread is added."""

from __future__ import annotations

from runner_lab.runners.engine import ClusterSettings, Engine
from runner_lab.runners.spec import RunnerSpec


class EventLoop(Engine):
    name = "asyncio"
    title = "asyncio"
    rank = 5
    warm_for = "run"
    caveat = "gather runs async tasks in the flow's event loop: a task that computes or blocks stops all others."
    palette = 6
    arms = (
        RunnerSpec("gather", "asyncio", workers=1, event_loop=True, summary="async tasks awaited together, no runner"),
    )

    def where(self, spec: RunnerSpec, settings: ClusterSettings) -> str:
        return "the flow's event loop"


ENGINE = EventLoop()
