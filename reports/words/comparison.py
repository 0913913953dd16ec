"""A user's flow, compared: the words of its report. Which runner for it, and what else its runs show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner_lab.records.record import COMPARE, YOURS, FlowRun
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.estimate import Estimate
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Comparison, Noise, level_with_best
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose.ranking import simplicity
from runner_lab.reports.words import units

NOISY = 0.5
"""If two identical runners may differ by more than this, nothing is claimed."""
_PAST_TELLING = 2.0
"""Relative difference of two identical runners from which its size tells nobody anything."""
MORE_BLOCKS = 5

Timed = Sequence[tuple[Arm, Cell]]


def words(summary: Summary) -> tuple[str, ...]:
    """The verdict: which runner, the others' times, whether results agree, final states of the task runs."""
    assert summary.flow is not None
    timed = ranked(summary)
    lines = [
        *_headline(summary, timed),
        *_more_slots(summary, timed),
        *_times(timed),
        *(_failed(summary) if timed else []),
        *_results(summary),
        *_task_runs(summary),
    ]
    return tuple(lines)


def hedged(line: str, summary: Summary) -> str:
    """The first line of a verdict, with a warning before it if the whole run is in doubt."""
    if summary.paired_blocks == 1 and summary.model.median_error is None:
        return f"Measured once, so a first look only: {line}"
    if not summary.noise.covers_one:
        return f"The noise check failed, so a first look only: {line}"
    return line


def remarks(summary: Summary) -> list[str]:
    """What a reader must know before relying on a comparison; nothing for other runs."""
    if summary.flow is None:
        return []
    return [*_cached(summary), *_subflows(summary), *summary.flow.notes(said=_past_all_runners(summary))]


def ranked(summary: Summary) -> list[tuple[Arm, Cell]]:
    """The arms that have a time, the fastest first; without the control."""
    arms = {arm.name: arm for arm in summary.arms if arm.role != "control"}
    timed = [(arms[cell.arm], cell) for cell in summary.of(COMPARE) if cell.arm in arms]
    return sorted(timed, key=lambda pair: pair[1].time_s.value if pair[1].time_s else 0.0)


def flow_runs(summary: Summary, arm: str | None = None) -> list[FlowRun]:
    """Every measured run of the flow, of one arm or all."""
    return [run for cell in summary.cells if arm in (None, cell.arm) for run in cell.flow_runs.values()]


def states_of(runs: Sequence[FlowRun]) -> Counter[str]:
    """Task runs by final state, over several runs of the flow."""
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.states)
    return total


def told(states: Counter[str] | dict[str, int]) -> str:
    """`30 Completed, 1 Failed`; `none`."""
    return units.counted(states) or "none"


def named(arm: Arm) -> str:
    """How a sentence names a runner: `threads`; the flow's own as `your flow's runner`."""
    return "your flow's runner" if arm.name == YOURS else arm.label


def slots(arm: Arm, unlimited: str = "") -> str:
    """`2 threads`, `4 workers`; nothing where they are not known.

    Args:
        unlimited: what is said where there is no limit; by default `threads without a limit`.
    """
    one, many = ("worker", "workers")
    if arm.traits.slots_share_gil:
        one, many = "thread", "threads"
    elif arm.traits.reach == "host":
        one, many = "process", "processes"
    if arm.traits.slots == "no limit":
        return unlimited or f"{many} without a limit"
    return "" if arm.traits.slots == "unknown" else f"1 {one}" if arm.workers == 1 else f"{arm.workers} {many}"


def gain(ratio: Estimate) -> str:
    """`4.7x faster (3.9 to 5.6x)`, always above 1, of a ratio of times; `3.1x slower`."""
    between = gain_between(ratio)
    return f"{gain_alone(ratio)} ({between})" if between else gain_alone(ratio)


def gain_alone(ratio: Estimate) -> str:
    """`4.7x faster`."""
    faster = ratio.value < 1
    return f"{units.times(1 / ratio.value if faster else ratio.value)} {'faster' if faster else 'slower'}"


def gain_between(ratio: Estimate) -> str:
    """`3.9 to 5.6x`; nothing where there is no interval."""
    if ratio.low is None or ratio.high is None:
        return ""
    if ratio.vague:
        return units.TOO_WIDE
    low, high = (1 / ratio.high, 1 / ratio.low) if ratio.value < 1 else (ratio.low, ratio.high)
    return units.span(units.times(low), units.times(high))


def _described(arm: Arm) -> str:
    """With its slots: `threads (no limit)`, `your flow's runner (ThreadPoolTaskRunner, 2 threads)`."""
    runner = arm.runner.rpartition(".")[2] if arm.name == YOURS else ""
    told = ", ".join(filter(None, (runner, slots(arm, "no limit of threads"))))
    return f"{named(arm)} ({told})" if told else named(arm)


def _headline(summary: Summary, timed: Timed) -> list[str]:
    flow = summary.flow
    assert flow is not None
    if not timed:
        return _hopeless(summary)
    if _past_all_runners(summary):
        return [_no_runner(summary)]
    if len(timed) == 1:
        return [f"Only {named(timed[0][0])} finished {flow.name}, so there is nothing to compare it with."]
    noise = summary.noise_by_suite.get(COMPARE, summary.noise)
    base = next((arm for arm, _ in timed if arm.name == summary.run.baseline), None)
    if base is None:
        first, cell = timed[0]
        took = units.seconds(cell.time_s.value) if cell.time_s else units.NONE
        return [
            f"{_lost(summary)} failed, so nothing is compared with it. The shortest time is {took}, under "
            f"{_described(first)}."
        ]
    level = set(level_with_best({arm.name: cell.by_block for arm, cell in timed}, noise))
    if base.name in level:
        rivals = [(arm, cell.versus) for arm, cell in timed if arm.name in level and arm is not base]
        return _stay(summary, base, rivals, noise)
    return _take(summary, base, [(arm, cell.versus) for arm, cell in timed if arm.name in level and cell.versus])


def _lost(summary: Summary) -> str:
    arm = summary.arm(summary.run.baseline)
    return "The baseline" if arm is None else named(arm).replace("your", "Your")


def _stay(summary: Summary, base: Arm, rivals: Sequence[tuple[Arm, Comparison | None]], noise: Noise) -> list[str]:
    """The baseline is the best, or may be."""
    flow = summary.flow.name if summary.flow else ""
    once = summary.paired_blocks == 1
    unsure = [(arm, versus) for arm, versus in rivals if versus is None or versus.verdict != "tie"]
    if unsure and (once or noise.threshold > NOISY):
        others = units.listed([named(base), *(arm.label for arm, _ in unsure)])
        why = _too_noisy(base, noise, once)
        return [
            f"This run cannot tell {others} apart for {flow}: {why}. Close other programs and measure again with "
            f"--blocks {max(MORE_BLOCKS, 2 * summary.run.blocks)}."
        ]
    once_told = "Measured once, so a first look only: stay" if once else "Stay"
    stay = f"{once_told} with {_described(base)} for {flow}"
    if not rivals:
        return [f"{stay}: no other runner is faster."]
    level = [arm.label for arm, versus in rivals if versus is not None and versus.verdict == "tie"]
    lines = [f"{stay}: {_as_fast(level)}." if level else f"{stay}: no other runner is faster beyond the noise."]
    if unsure:
        others = units.listed([arm.label for arm, _ in unsure])
        lines.append(
            f"This run cannot tell {others} from it: add blocks (--blocks {summary.run.blocks + MORE_BLOCKS})."
        )
    return lines


def _too_noisy(base: Arm, noise: Noise, once: bool) -> str:
    if noise.ratio is None:
        return "the noise of this run is not known"
    if once:
        apart = max(noise.ratio.value, 1 / noise.ratio.value)
        return f"two runs under {named(base)} alone were {units.times(apart)} apart, and each runner was measured once"
    if noise.threshold > _PAST_TELLING:
        return f"two runs under {named(base)} alone were too far apart"
    return f"two runs under {named(base)} alone may differ by {units.times(1 + noise.threshold)} here"


def _take(summary: Summary, base: Arm, level: Sequence[tuple[Arm, Comparison]]) -> list[str]:
    """One is faster than the baseline beyond the noise."""
    flow = summary.flow.name if summary.flow else ""
    sure = [pair for pair in level if pair[1].verdict == "faster"] or list(level)
    choice, versus = min(sure, key=lambda pair: simplicity(pair[0]))
    others = [arm.label for arm, _ in level if arm is not choice]
    also = f" {_as_fast(others)}." if others else ""
    lead = "Measured once, so a first look only: take" if summary.paired_blocks == 1 else "Take"
    return [f"{lead} {_described(choice)} for {flow}: {gain(versus.ratio)} than {_described(base)}.{also}"]


def _as_fast(labels: Sequence[str]) -> str:
    return f"{units.listed(labels)} {'is' if len(labels) == 1 else 'are'} as fast within this run's noise"


def _more_slots(summary: Summary, timed: Timed) -> list[str]:
    """The flow's runner has too few slots: one of its kind with more is faster beyond the noise."""
    yours = summary.arm(YOURS)
    if yours is None or yours.traits.slots != "counted":
        return []
    for arm, cell in timed:
        more = arm.traits.slots == "no limit" or arm.workers > yours.workers
        if arm.engine == yours.engine and more and cell.versus and cell.versus.verdict == "faster":
            many = slots(arm) if arm.traits.slots == "no limit" else f"{arm.label} with {slots(arm)}"
            return [f"Your flow's runner has {slots(yours)}; {many} are {gain(cell.versus.ratio)}."]
    return []


def _hopeless(summary: Summary) -> list[str]:
    flow = summary.flow.name if summary.flow else ""
    reasons = {units.printable(reason) for cell in summary.cells for _, reason in cell.errors}
    if len(reasons) == 1:
        return [f"{flow} failed under every runner: {reasons.pop()}. Fix that first."]
    return [f"{flow} failed under every runner. Fix that first:", *_failed(summary)]


def _no_runner(summary: Summary) -> str:
    flow = summary.flow
    assert flow is not None
    lead = f"No runner can speed up {flow.name}:"
    if not any(run.direct for run in flow_runs(summary)):
        return f"{lead} it ran no task of its own."
    where = f" ({flow.direct_calls[0]})" if flow.direct_calls else ""
    return f"{lead} it called its tasks directly. Write TASK.submit(...) or TASK.map(...) instead{where}."


def _times(timed: Timed) -> list[str]:
    if not timed:
        return []
    shown = []
    for arm, cell in timed:
        if cell.time_s:
            told = slots(arm, "no limit")
            shown.append(f"{arm.label} {units.seconds(cell.time_s.value)}{f' ({told})' if told else ''}")
    return [f"Time of one run: {', '.join(shown)}."]


def _failed(summary: Summary) -> list[str]:
    """A line for each reason, the first of each arm."""
    told: dict[tuple[str, str], list[str]] = {}
    for cell in summary.cells:
        if cell.errors:
            every = "every time" if not cell.ok else f"{cell.failed} of {cell.ok + cell.failed} times"
            told.setdefault((every, units.printable(cell.errors[0][1])), []).append(summary.label(cell.arm))
    return [f"Under {units.listed(labels)} it failed {every}: {reason}" for (every, reason), labels in told.items()]


def _results(summary: Summary) -> list[str]:
    """Whether all arms returned the same."""
    runs = flow_runs(summary)
    found = Counter(run.result for cell in summary.cells for b, run in cell.flow_runs.items() if _compared(cell, b))
    if not runs or not found:
        return []
    if found["different"]:
        return []
    if found["unasked"]:
        return ["Results were not compared (--no-check-result)."]
    if found["unsteady"] or found["unchecked"]:
        remark = next((run.remark for run in runs if run.result in ("unsteady", "unchecked") and run.remark), "")
        return [f"Results could not be compared: {units.printable(remark)}."]
    if found["nothing"]:
        return ["The flow returned nothing, so there was no result to compare."]
    return ["All runners returned the same result."] if len(ranked(summary)) > 1 else []


def _compared(cell: Cell, block: int) -> bool:
    """Where the flow got as far as a result."""
    return block in cell.by_block or cell.flow_runs[block].result == "different"


def _task_runs(summary: Summary) -> list[str]:
    """Task runs by final state: once for all where every run had the same."""
    # A run that was stopped has none.
    kinds = {told(run.states) for run in flow_runs(summary) if run.states}
    if not kinds:
        return []
    if len(kinds) == 1:
        return [f"Task runs in each run, by final state: {kinds.pop()}."]
    by_arm = [f"{arm.label} {told(states_of(runs))}" for arm in summary.arms if (runs := flow_runs(summary, arm.name))]
    return [f"Task runs by final state, all runs of an arm together: {'; '.join(by_arm)}."]


def _past_all_runners(summary: Summary) -> bool:
    """The flow ended well, and handed no task to any arm's runner."""
    runs = [run for cell in summary.cells for block, run in cell.flow_runs.items() if block in cell.by_block]
    return bool(runs) and not any(run.submitted for run in runs)


def _cached(summary: Summary) -> list[str]:
    shares = {
        arm.label: states_of(flow_runs(summary, arm.name))["Cached"]
        for arm in summary.arms
        if flow_runs(summary, arm.name)
    }
    if not any(shares.values()):
        return []
    return [
        f"Task runs came from a cache ({units.listed([f'{label} {count}' for label, count in shares.items() if count])}"
        "), so the runners did not do all the work, and perhaps not the same work. To compare the work, switch the "
        "cache off."
    ]


def _subflows(summary: Summary) -> list[str]:
    most = max((run.subflow_tasks for run in flow_runs(summary)), default=0)
    if not most:
        return []
    return [
        f"{units.plural(most, 'task run')} of each run belong to sub-flows, which keep their own task runners. To "
        "compare a sub-flow, name it."
    ]
