"""The verdict's table: work that people have by numbers of tasks, each cell answered as `choose` answers it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose.choice import Ranked, candidates, rank, without_async
from runner_lab.reports.choose.ranking import BEYOND, Request

COUNTS = (10, 100, 1_000, 10_000)
ROWS: tuple[tuple[str, str, float], ...] = (
    ("waits 0.3 s", "sleep", 0.3),
    ("CPU 0.1 s", "spin", 0.1),
    ("CPU 1 s", "spin", 1.0),
    ("CPU 1 min", "spin", 60.0),
    ("1 ms or less", "none", 0.0),
)


@dataclass(frozen=True)
class Decision:
    """The runner for one kind and length of work and one number of tasks.

    level:    arms that cannot be told from it, by time.
    estimate: the work is beyond what the run measured.
    without_async: the runner where tasks are no async functions, if `best` needs them to be.
    """

    tasks: int
    best: Ranked
    level: tuple[Ranked, ...]
    estimate: bool
    without_async: Ranked | None = None


@dataclass(frozen=True)
class Decisions:
    """`rows` by the names of their work, each with a decision for every number of tasks.

    cold: the times begin with nothing running; False where the run measured no such start.
    """

    rows: dict[str, tuple[Decision, ...]]
    cold: bool

    @property
    def start(self) -> str:
        """What its times begin from, in words."""
        return "from a cold start" if self.cold else "on warm workers"


@lru_cache(maxsize=1)
def decisions(summary: Summary) -> Decisions | None:
    """The table of a run; `None` where its cells carry no model of two arms, or are very wide graphs of nothing.

    A report asks for it several times: the last one is kept.
    """
    if summary.scale:
        return None
    cold = len(candidates(summary, cold=True)) > 1
    if len(candidates(summary, cold)) < 2:
        return None
    rows = {
        name: tuple(_decision(summary, Request(tasks, seconds, kind, cold=cold)) for tasks in COUNTS)
        for name, kind, seconds in ROWS
    }
    return Decisions(rows, cold)


def _decision(summary: Summary, request: Request) -> Decision:
    ranked = rank(summary, request)
    reach = [found.reach for found in candidates(summary, request.cold, request.kind)]
    beyond = (
        request.tasks > BEYOND * max(one.tasks for one in reach)
        or request.seconds > BEYOND * max(one.body_s for one in reach)
        or (request.kind != "none" and all(request.kind not in one.kinds for one in reach))
    )
    level = tuple(arm for arm in ranked[1:] if arm.leads)
    return Decision(request.tasks, ranked[0], level, beyond, without_async(summary, request, ranked))
