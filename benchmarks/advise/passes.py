"""Two passes over one flow, the second under fewer threads: how much its tasks hinder each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runner_lab.records.flow_profile import Crowding, FlowProfile, TaskProfile

_WIDE = 1.2
"""Cores from which a task computes in more than its own thread."""
_MOST_SLOWER = 4.0
"""Times as much CPU that many threads may cost; and waits, beyond those for a service that does one thing at a time."""


_LIKE_BYTES = 0.2
"""Of what two passes return, relative."""


_LEAST_S = 0.001
"""Seconds of a run below which two passes are not compared."""


def uncrowded(crowded: FlowProfile, alone: FlowProfile, slots: int) -> FlowProfile:
    """The first pass with what its tasks wait and compute where fewer of them go on at a time, by a second pass.

    Args:
        alone: the second pass, under `slots` threads.
    """
    before, after = crowded.by_task(), alone.by_task()
    like = [task for task, runs in before.items() if _did_the_same(runs, after.get(task, ()))]
    lasted_s = sum(run.end_s - run.start_s for run in crowded.runs)
    many = max(round(lasted_s / max(crowded.fn_s, 1e-9)), slots + 1)
    # What libraries' own threads compute is told from task to task by time alone: it is one factor for all of these.
    wide = [task for task in like if before[task][0].width > _WIDE or after[task][0].width > _WIDE]
    together = _ratio([run for task in wide for run in before[task]], [run for task in wide for run in after[task]])
    told = {
        task: Crowding(
            few=slots,
            many=many,
            cpu=round(max(together if task in wide else _ratio(before[task], after[task]), 1.0), 3),
            wait=round(_ratio(before[task], after[task], "wait_s"), 3),
        )
        for task in like
    }
    # So much slower a task is not for others beside it: what it had to do once it found done the second time.
    told = {
        task: one for task, one in told.items() if one.cpu <= _MOST_SLOWER and one.wait <= _MOST_SLOWER * many / slots
    }

    def by_itself(run: TaskProfile) -> TaskProfile:
        if (crowding := told.get(run.task)) is None:
            return run
        cpu_s, gil_s = _total(after[run.task], "cpu_s"), _total(after[run.task], "gil_s")
        own_s = run.cpu_s / crowding.cpu
        return replace(
            run,
            cpu_s=own_s,
            gil_s=own_s * gil_s / cpu_s if cpu_s > 0 else 0.0,
            wait_s=run.wait_s / crowding.wait if crowding.wait > 0 else 0.0,
        )

    return replace(crowded, runs=tuple(map(by_itself, crowded.runs)), crowding=told)


def _did_the_same(before: Sequence[TaskProfile], after: Sequence[TaskProfile]) -> bool:
    """Whether two passes ran the same bodies, as far as their number and what they returned tell."""
    if len(before) != len(after) or sum(run.attempts > 0 for run in before) != sum(run.attempts > 0 for run in after):
        return False
    one, other = (sum(run.out_bytes or 0.0 for run in runs) for runs in (before, after))
    return bool(before[0].attempts) and abs(one - other) <= _LIKE_BYTES * max(one, other)


def _ratio(before: Sequence[TaskProfile], after: Sequence[TaskProfile], what: str = "cpu_s") -> float:
    """Of two sums; 1 where either is next to nothing."""
    one_s, other_s = _total(before, what), _total(after, what)
    least_s = _LEAST_S * len(before)
    return one_s / other_s if one_s > least_s and other_s > least_s else 1.0


def _total(runs: Sequence[TaskProfile], what: str) -> float:
    return float(sum(getattr(run, what) for run in runs))
