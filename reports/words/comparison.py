"""A user's flow, compared: the words of its report. Which runner for it, and what its runs tell besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner_lab.records.record import COMPARE, FlowRun
from runner_lab.reports.analysis.cells import Cell
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import LARGEST_TIE, level_with_best
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose.ranking import simplicity
from runner_lab.reports.words import units

NOISY = LARGEST_TIE - 1
"""Two identical arms that may differ by more than this leave nothing but a guess."""
TROUBLED = ("Failed", "Crashed", "Cancelled", "NotReady", "not ended")
"""Final states of task runs that a reader has to know of."""


def words(summary: Summary) -> tuple[str, ...]:
    """The verdict: which runner, how the others did, whether they agree, what became of the task runs."""
    assert summary.flow is not None
    timed = ranked(summary)
    lines = [
        *_headline(summary, timed),
        *_times(summary, timed),
        *_failed(summary),
        *_results(summary),
        *_task_runs(summary),
    ]
    return tuple(lines)


def hedged(line: str, summary: Summary) -> str:
    """The first line of a verdict, with what is the matter with the run as a whole put before it."""
    if summary.paired_blocks == 1:
        return f"Measured once, so no more than a first look: {line}"
    if not summary.noise.covers_one:
        return f"With an A/A control that is off, no more than a first look: {line}"
    if summary.flow and summary.noise.threshold > NOISY:
        return f"In so noisy a run no more than a first look: {line}"
    return line


def remarks(summary: Summary) -> list[str]:
    """What a reader of a comparison must know before relying on it; nothing for other runs."""
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
    """`30 Completed, 1 Failed`."""
    return ", ".join(f"{count} {name}" for name, count in states.items()) or "none"


def _headline(summary: Summary, timed: Sequence[tuple[Arm, Cell]]) -> list[str]:
    flow = summary.flow
    assert flow is not None
    if not timed:
        return [f"{flow.name} failed under every arm: mend that first. The reasons are under Failures."]
    if _past_all_runners(summary):
        return [_no_runner(summary)]
    if len(timed) == 1:
        return [f"Only {timed[0][0].label} got through {flow.name}, so there is nothing to compare it with."]
    noise = summary.noise_by_suite.get(COMPARE, summary.noise)
    level = level_with_best({arm.label: cell.by_block for arm, cell in timed}, noise)
    choice = min((arm for arm, _ in timed if arm.label in level), key=simplicity).label
    base = summary.label(summary.run.baseline)
    rivals = [label for label in level if label != choice]
    if choice == base:
        also = f"; {units.listed(rivals)} cannot be told from it" if rivals else ": no other runner was faster"
        return [hedged(f"Stay with {choice} for {flow.name}{also}.", summary)]
    versus = next(cell.versus for arm, cell in timed if arm.label == choice)
    gain = "" if versus is None else f": {_gain(versus.ratio.value)} {base}"
    also = f"; {units.listed(rivals)} cannot be told from it" if rivals else ""
    return [hedged(f"Take {choice} for {flow.name}{gain}{also}.", summary)]


def _no_runner(summary: Summary) -> str:
    flow = summary.flow
    assert flow is not None
    lead = f"No runner will help {flow.name}: it"
    if not any(run.direct for run in flow_runs(summary)):
        return f"{lead} ran no task of its own, and handed none to any runner."
    where = f" ({flow.direct_calls[0]})" if flow.direct_calls else ""
    cure = f"write TASK.submit(...) or TASK.map(...) there{where}"
    return f"{lead} called its tasks directly, and handed none to any runner: {cure}."


def _gain(ratio: float) -> str:
    return f"{units.times(1 / ratio)} as fast as" if ratio < 1 else f"{units.times(ratio)} the time of"


def _times(summary: Summary, timed: Sequence[tuple[Arm, Cell]]) -> list[str]:
    if not timed:
        return []
    shown = [f"{units.seconds(cell.time_s.value)} under {arm.label}" for arm, cell in timed if cell.time_s]
    return [f"One run took {units.listed(shown)}."]


def _failed(summary: Summary) -> list[str]:
    """A line for each arm that failed, with the first reason."""
    lines = []
    for cell in summary.cells:
        if cell.errors:
            label = summary.label(cell.arm)
            every = "every time" if not cell.ok else f"{cell.failed} of {cell.ok + cell.failed} times"
            lines.append(f"Under {label} it failed {every}: {units.printable(cell.errors[0][1])}")
    return lines


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
    return ["All arms returned the same result."] if len(ranked(summary)) > 1 else []


def _compared(cell: Cell, block: int) -> bool:
    """Where the flow got as far as a result."""
    return block in cell.by_block or cell.flow_runs[block].result == "different"


def _task_runs(summary: Summary) -> list[str]:
    """Task runs by final state: once for all where every run had the same."""
    kinds = {told(run.states) for run in flow_runs(summary)}
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
        "): the arms did less than all the work, and not all of them the same if the cache outlives a run. For a "
        "comparison of the work switch it off."
    ]


def _subflows(summary: Summary) -> list[str]:
    most = max((run.subflow_tasks for run in flow_runs(summary)), default=0)
    if not most:
        return []
    return [
        f"{units.plural(most, 'task run')} of each run belong to sub-flows, which keep the task runners of their own: "
        "no arm changes how those run. To compare a sub-flow, name it."
    ]
