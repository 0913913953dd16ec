"""The verdict in words: which runner for which work, what a task costs, what a cold start costs."""

from __future__ import annotations

from collections.abc import Sequence

from runner_lab.reports.analysis import scale
from runner_lab.reports.analysis.summary import ArmRow, Summary
from runner_lab.reports.choose.answer import placed
from runner_lab.reports.choose.decisions import Decision, Decisions, decisions
from runner_lab.reports.words import comparison, units

HEADLINE_TASKS = 1_000
HEADLINE = {
    "waits 0.3 s": "tasks that wait 0.3 s",
    "CPU 1 s": "CPU tasks of 1 s",
    "1 ms or less": "tasks of 1 ms or less",
}
WIDE = 4.0
"""Upper over lower end from which an interval is not printed."""
ASK = "For your own numbers: runner-lab choose --tasks 500 --task-seconds 2 --work cpu"


def of(summary: Summary) -> tuple[str, ...]:
    """The verdict, a sentence or two a line: which runner for which work, then what a task and a cold start cost."""
    if summary.flow is not None:
        return comparison.words(summary)
    rows = [row for row in summary.rows if row.arm.choosable]
    found = decisions(summary)
    lines = [
        *_headline(found, rows),
        *_cost_of_a_task(rows),
        *_cold_start(rows),
        *scale.words(summary.scale, summary.labels),
    ]
    if not lines:
        return ("No verdict: it takes empty graphs of two widths under two runners. See the tables.",)
    return (comparison.hedged(lines[0], summary), *lines[1:], *([ASK] if found else []))


def _headline(found: Decisions | None, rows: Sequence[ArmRow]) -> list[str]:
    """The runner for 1,000 tasks of the three kinds of work that differ most."""
    if found is None:
        return []
    named: dict[str, list[str]] = {}
    chosen: set[str] = set()
    for work, what in HEADLINE.items():
        decision = next(d for d in found.rows[work] if d.tasks == HEADLINE_TASKS)
        named.setdefault(choice(decision), []).append(what)
        chosen |= {decision.best.arm, *(arm.arm for arm in decision.level)}
    warnings = [
        f"{row.arm.label} failed {units.plural(row.failed, 'measurement')}: see Failures"
        for row in rows
        if row.failed and row.arm.label in chosen
    ]
    told = "; ".join(f"{units.listed(works)}: {arm}" for arm, works in named.items())
    return [f"For {HEADLINE_TASKS:,} tasks {found.start}, {told}{f' ({units.listed(warnings)})' if warnings else ''}."]


def choice(decision: Decision) -> str:
    """`threads with 64 slots (lean-threads as fast)`."""
    if other := decision.without_async:
        return f"{placed(decision.best)} ({placed(other)} if they are not async)"
    level = [arm.arm for arm in decision.level]
    return f"{placed(decision.best)} ({units.listed(level)} as fast)" if level else placed(decision.best)


def _cost_of_a_task(rows: Sequence[ArmRow]) -> list[str]:
    """What one more empty task costs under each runner, with its interval."""
    costs = sorted((row.marginal.per_task_s.value, row.arm.label, row.marginal) for row in rows if row.marginal)
    if len(costs) < 2:
        return []
    told = []
    for cost, label, marginal in costs:
        low, high = marginal.per_task_s.low, marginal.per_task_s.high
        # With two or three blocks an interval may say nothing: then it is not a figure to print.
        told_apart = low is not None and high is not None and low > 0 and high / low < WIDE
        between = f" ({units.span(units.seconds(low), units.seconds(high))})" if told_apart and low and high else ""
        told.append(
            f"{units.seconds(cost)} under {label}{between}" if cost > 0 else f"too little to tell under {label}"
        )
    return [f"An empty task costs {units.listed(told)}."]


def _cold_start(rows: Sequence[ArmRow]) -> list[str]:
    """What the first result costs a user who starts from nothing."""
    times = sorted((row.first_result_s.value, row.arm.label) for row in rows if row.first_result_s is not None)
    if len(times) < 2:
        return []
    return [
        f"From a cold start the first result takes {units.listed([f'{units.seconds(t)} under {n}' for t, n in times])}."
    ]
