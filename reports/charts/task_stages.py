"""Where a task's time goes, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from runner_lab.records.task_stages import STAGES
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.analysis.task_stages import ArmStages, StagesOfArms
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Where a task's time goes"
COLOURS = dict(
    zip(
        STAGES,
        ("#332288", "#88ccee", "#999999", "#ddcc77", "#cc6677", "#44aa99", "#117733", "#aa4499"),
        strict=True,
    )
)
UNTOLD = "not told apart"
_ENLARGED = 0.25
"""Arms below this share of the longest are drawn again, on an axis of their own."""


def where_a_task_goes(summary: Summary) -> Drawing | Missing:
    """A bar an arm: the stages of an empty task, one task at a time, in the order of its life."""
    found = summary.task_stages.arms
    if not found:
        return Missing(TITLE, "The run has no cell of the task_stages suite that its probe saw whole.")
    longest = max(stages.total_s for stages in found)
    short = [stages for stages in found if stages.total_s <= longest * _ENLARGED]
    panels = [("all arms", found)]
    if short and len(short) < len(found):
        panels.append(("those below a quarter of the longest, enlarged", tuple(short)))
    heights = [style.rows_height(len(by_arm)) + 0.5 for _, by_arm in panels]
    fig, grid = style.figure(sum(heights) + 0.9, len(panels), squeeze=False, height_ratios=heights)
    for axes, (heading, by_arm) in zip(grid.flat, panels, strict=True):
        _bars(axes, heading, by_arm, summary.labels)
    grid.flat[-1].set_xlabel("milliseconds a task")
    handles = [Patch(color=COLOURS[stage], label=stage) for stage in STAGES]
    if any(stages.untold_s for stages in found):
        handles.append(Patch(facecolor=style.BAND, edgecolor=style.MUTED, label=UNTOLD))
    fig.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1.2)
    return Drawing(TITLE, _takeaway(summary.task_stages, summary.labels), _READING, fig)


_READING = (
    "Each bar is an empty task from its submit to the driver being told that it is done, one task at a time, so that "
    "nothing waits for a slot or an upstream; means. Stages from left to right in the order of a task's life; "
    "the method page says what each is. Where many tasks run at once the stages of driver and workers overlap."
)


def _bars(axes: Axes, heading: str, by_arm: Sequence[ArmStages], labels: dict[str, str]) -> None:
    style.rows(axes, [labels[stages.arm] for stages in by_arm])
    longest = max(stages.total_s for stages in by_arm) * 1e3
    for place, stages in enumerate(by_arm):
        left = 0.0
        for stage in STAGES:
            length = stages.stages_s.get(stage, 0.0) * 1e3
            axes.barh(place, length, left=left, height=0.66, color=COLOURS[stage], linewidth=0)
            left += length
        if stages.untold_s:
            rest = stages.untold_s * 1e3
            axes.barh(place, rest, left=left, height=0.66, facecolor=style.BAND, edgecolor=style.MUTED, linewidth=0.6)
            left += rest
        axes.text(left + longest * 0.012, place, units.seconds(stages.total_s), va="center", fontsize=8.5)
    axes.set_xlim(0, longest * 1.14)
    axes.set_title(heading)


def _takeaway(by_arm: StagesOfArms, labels: dict[str, str]) -> str:
    longest = max(by_arm.arms, key=lambda stages: stages.total_s)
    largest = sorted(longest.stages_s, key=lambda stage: -longest.stages_s[stage])[:2]
    parts = [f"{stage} {units.seconds(longest.stages_s[stage])}" for stage in largest]
    told = f"The longest task is {labels[longest.arm]}'s with {units.seconds(longest.total_s)}"
    told += f", most of it {units.listed(parts)}. " if parts else ". "
    return told + probe_cost(by_arm)


def probe_cost(by_arm: StagesOfArms) -> str:
    """What the probe adds, in a sentence, with its interval."""
    probe = by_arm.probe
    if probe is None:
        return "What the probe itself costs was not measured."
    told = f"With the probe on a task takes {probe.value:.3f} times as long as with it off"
    if probe.low is None or probe.high is None:
        return f"{told} (one block: no interval)."
    span = f"{probe.low:.3f} to {probe.high:.3f}" if not probe.vague else units.TOO_WIDE
    return f"{told} (95 % interval {span}, {units.plural(probe.n, 'pair')})."
