"""The verdict in words, made from the data: which runner for which regime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner_lab.reports.analysis import regimes, scale, statistics
from runner_lab.reports.analysis.fits import crossover
from runner_lab.reports.analysis.regimes import ALIKE, Regime
from runner_lab.reports.analysis.summary import ArmRow, Summary
from runner_lab.reports.words import comparison, kinds, units


def of(summary: Summary) -> tuple[str, ...]:
    """The verdict, a sentence or two a line: which runner, then each regime, then what a cold start costs."""
    if summary.flow is not None:
        return comparison.words(summary)
    rows = [row for row in summary.rows if not row.arm.bare and row.arm.role != "control"]
    cheapest = _cheapest(rows, summary)
    present = dict.fromkeys([*kinds.ALL, *(cell.graph.work_kind for cell in summary.of("work"))])
    found = [r for kind in present if (r := regimes.find(summary, kind, [row.arm for row in rows])) is not None]
    lines = [
        *_headline(rows, cheapest, found),
        *_small_tasks(rows, cheapest),
        *(_sentence(regime) for regime in found),
        *_cold_start(rows),
        *scale.words(summary.scale, {arm.name: arm.label for arm in summary.arms}),
    ]
    if not lines:
        return (
            "No verdict: it takes two widths of the overhead suite, or the work suite, under two arms. See the tables.",
        )
    return (comparison.hedged(lines[0], summary), *lines[1:])


def _cheapest(rows: Sequence[ArmRow], summary: Summary) -> tuple[str, ...]:
    """The arm with the smallest marginal cost, and those level with it."""
    costs = {
        row.arm.label: row.marginal.by_block
        for row in rows
        if row.marginal is not None and all(slope > 0 for slope in row.marginal.by_block.values())
    }
    if len(costs) < 2:
        return ()
    return statistics.level_with_best(costs, summary.noise_by_suite.get("overhead", summary.noise))


def _headline(rows: Sequence[ArmRow], cheapest: Sequence[str], found: Sequence[Regime]) -> list[str]:
    """The runner that leads most often, and the work for which another arm is better."""
    votes = Counter(cheapest[:1])
    for regime in found:
        votes.update(arm for leaders in regime.leaders for arm in leaders)
    place = {row.arm.label: i for i, row in enumerate(rows)}
    runners = [row.arm.label for row in rows if row.arm.engine != "none" and votes[row.arm.label]]
    if not votes:
        return []
    choice = max(runners or votes, key=lambda arm: (votes[arm], -place[arm]))
    exceptions: dict[str, list[str]] = {}
    for regime in found:
        for better, where in _exception(regime, choice):
            exceptions.setdefault(better, []).append(where)
    if cheapest and choice not in cheapest and cheapest[0] not in exceptions:
        exceptions[cheapest[0]] = ["tasks that do next to nothing"]
    failed = next(row.failed for row in rows if row.arm.label == choice)
    warning = f" ({choice} failed {units.plural(failed, 'measurement')}: see Failures)" if failed else ""
    if exceptions:
        told = [f"{arm} {units.listed([f'for {what}' for what in where])}" for arm, where in exceptions.items()]
        return [f"Start with {choice}; take {'; '.join(told)}{warning}."]
    return [f"Use {choice}: nothing beat it in any kind of task that was measured{warning}."]


def _exception(regime: Regime, choice: str) -> list[tuple[str, str]]:
    """Another arm that leads, and for what; nothing where the choice always leads."""
    behind = [i for i, leaders in enumerate(regime.leaders) if choice not in leaders and choice in regime.times]
    what = kinds.tasks(regime.kind)
    if not behind:
        return []
    last = len(regime.durations) - 1
    better = regime.leaders[behind[-1]][0]
    if len(behind) > last:
        return [(better, what)]
    ours, theirs = regime.times[choice], regime.times[better]
    above, under = crossover(regime.durations, ours, theirs), crossover(regime.durations, theirs, ours)
    if behind[-1] == last and above is not None:
        return [(better, f"{what} above about {units.about(above)}")]
    if behind[0] == 0 and under is not None:
        return [(better, f"{what} under about {units.about(under)}")]
    told = [units.exactly(regime.durations[i]) for i in behind if regime.durations[i] > 0]
    return [(better, f"{what} of {', '.join(told)}")] if told else []


def _small_tasks(rows: Sequence[ArmRow], cheapest: Sequence[str]) -> list[str]:
    """Empty tasks: who is cheapest, and by how much the others are dearer."""
    if not cheapest:
        return []
    costs = {row.arm.label: row.marginal.per_task_s.value for row in rows if row.marginal}
    best = costs[cheapest[0]]
    lead = f"Tasks that do next to nothing cost {units.seconds(best)} each under {_alternatives(cheapest)}"
    dearer = sorted((cost / best, arm) for arm, cost in costs.items() if arm not in cheapest and cost > 0)
    others = _few([f"{units.times(ratio)} under {arm}" for ratio, arm in dearer])
    return [f"{lead}; {units.listed(others)}." if others else f"{lead}: no arm is clearly cheaper."]


def _sentence(regime: Regime) -> str:
    what = kinds.tasks(regime.kind)
    shortest, longest = (units.exactly(duration) for duration in (regime.durations[0], regime.durations[-1]))
    alike, within = regime.alike_from, units.percent(ALIKE - 1)
    if alike == regime.durations[0]:
        length = f" of {shortest} and more" if alike else ""
        return f"For {what}{length}, any runner: all are within {within}."
    if alike is not None:
        return (
            f"For {what} under about {units.about(alike)}, {_alternatives(regime.leaders[0])}{_margin(regime, 0)}; "
            f"above, any runner: all are within {within}."
        )
    if regime.handover is not None:
        point, early, late = regime.handover
        gain = regime.times[early][-1] / regime.times[late[0]][-1]
        return (
            f"For {what} under about {units.about(point)}, {early}; above, {_alternatives(late)}, "
            f"{units.times(gain)} ahead of {early} at {longest}.{_beyond(regime)}"
        )
    steady = [arm for arm in regime.leaders[-1] if arm in regime.leaders[0]] or list(regime.leaders[-1])
    span = f"of {longest}" if shortest == longest else f"from {shortest} to {longest}, all that was measured"
    if regime.durations[0] == 0:
        span = f"up to {longest}, the longest measured"
    level = [arm for arm in regime.leaders[-1] if arm not in steady]
    also = f" ({units.listed(level)} level at {longest})" if level else ""
    return f"For {what} {span}, {_alternatives(steady)}{also}{_margin(regime, -1)}.{_beyond(regime)}"


def _beyond(regime: Regime) -> str:
    """Where it would cease to matter, beyond what was measured; nothing where that cannot be told."""
    point = regime.alike_beyond
    return "" if point is None else f" By extrapolation any runner will do above about {units.about(point)}."


def _margin(regime: Regime, place: int) -> str:
    """`, 1.3x ahead of sequential and 4.8x ahead of processes at 500 ms`."""
    behind = regime.ahead(place)
    if not behind:
        return ""
    ends = behind if len(behind) < 3 else [behind[0], behind[-1]]
    told = units.listed([f"{units.times(ratio)} ahead of {arm}" for ratio, arm in ends])
    if len(regime.durations) == 1:
        return f", {told}"
    duration = regime.durations[place]
    return f", {told} {f'at {units.exactly(duration)}' if duration else 'when they are empty'}"


def _cold_start(rows: Sequence[ArmRow]) -> list[str]:
    """What the first result costs a user who starts from nothing."""
    times = sorted((row.first_result_s.value, row.arm.label) for row in rows if row.first_result_s is not None)
    if len(times) < 2:
        return []
    told = _few([f"{units.seconds(time)} under {label}" for time, label in times])
    return [f"From a cold start the first result takes {units.listed(told)}."]


def _few(told: list[str]) -> list[str]:
    """Of an ascending list the first four and the last, with the number of those between."""
    return told if len(told) <= 6 else [*told[:4], f"{len(told) - 5} more up to {told[-1]}"]


def _alternatives(arms: Sequence[str]) -> str:
    return arms[0] if len(arms) == 1 else f"{', '.join(arms[:-1])} or {arms[-1]}"
