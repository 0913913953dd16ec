"""`advise.html`: the advice for a flow, its time line before and after, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from runner_lab.records.flow_profile import FlowProfile
from runner_lab.reports.advise.advice import Advice, change, data, placed, told
from runner_lab.reports.charts import timeline
from runner_lab.reports.charts.svg import variable
from runner_lab.reports.charts.timeline import Stretch
from runner_lab.reports.pages.page import filled
from runner_lab.reports.pages.tables import Column, Entry, Table
from runner_lab.reports.words import units


def html(advice: Advice) -> str:
    """The page: one file, offline. Whatever comes from the flow is escaped."""
    prediction = advice.prediction
    profile, named = prediction.profile, prediction.named
    before = _measured(profile)
    after = [Stretch(profile.runs[bar.run].task, bar.lane, bar.start_s, bar.end_s) for bar in named.replay.bars]
    until_s = max([run.end_s for run in (*before, *after)], default=1.0)
    colour = timeline.colours(_by_time(profile))
    lines = [
        (
            f"Measured: its own {profile.runner}",
            Markup(timeline.timeline("before", "measured", before, until_s, colour)),
        ),
        (
            f"Replayed: {placed(named)}, an estimate",
            Markup(timeline.timeline("after", "replayed", after, until_s, colour)),
        ),
    ]
    return filled(
        "advise.html.j2",
        name=profile.name,
        words=told(advice),
        change=change(advice),
        lines=lines,
        legend=[(task, variable(shade)) for task, shade in list(colour.items())[:8]],
        runners=_runners(advice),
        tasks=_tasks(advice),
        path=_path(advice),
        model=prediction.run_id,
        told=_profiled(profile),
    )


def _measured(profile: FlowProfile) -> list[Stretch]:
    return [
        Stretch(run.task, None if run.direct and not run.asynchronous else run.lane, max(run.start_s, 0.0), run.end_s)
        for run in profile.runs
        if run.attempts
    ]


def _by_time(profile: FlowProfile) -> list[str]:
    by_task = profile.by_task()
    return sorted(by_task, key=lambda task: -sum(run.end_s - run.start_s for run in by_task[task]))


def _profiled(profile: FlowProfile) -> str:
    return f"Profiled once on {units.plural(profile.cores, 'core')}, {units.plural(len(profile.runs), 'task run')}."


def _runners(advice: Advice) -> Table:
    columns = (
        Column("Runner", numeric=False),
        Column("Slots", "The fewest with which it is as fast as with any number."),
        Column("Time", "One run of the flow; below it the 90 % interval."),
        Column("Start", "What starting its pool or cluster takes, of that."),
        Column("Memory", "Of all processes."),
        Column("In code", "What the flow declares to have it.", False),
    )
    rows = tuple(
        (
            Entry(one.arm, "named" if one is advice.prediction.named else "as fast" if one.leads else ""),
            Entry(str(one.slots) if one.has_slots else "-", sort=one.slots),
            Entry(units.seconds(one.seconds), units.span(units.seconds(one.low), units.seconds(one.high)), one.seconds),
            Entry("-" if one.start_s is None else units.seconds(one.start_s), sort=one.start_s or 0.0),
            Entry("-" if one.memory_bytes is None else units.size(one.memory_bytes), sort=one.memory_bytes or 0.0),
            Entry(advice.code.get(one.arm, "")),
        )
        for one in advice.prediction.ranked
    )
    return Table("runners", "The flow under each runner", columns, rows, "Estimates by replay.", rows_are="runners")


def _tasks(advice: Advice) -> Table:
    columns = (
        Column("Task", numeric=False),
        Column("Runs", "Task runs; below it those called directly, cached or retried."),
        Column("Waits", "Seconds a run waits, for anything but the GIL or a core."),
        Column("Computes", "CPU seconds a run; below it the share under the GIL."),
        Column("Held up", "Seconds a run was held up by others, for the GIL or a core."),
        Column("Arguments", "As pickled, the largest."),
        Column("Result", "As pickled, the largest."),
    )
    rows = []
    for task in data(advice)["tasks"]:
        extra = [f"{task[key]} {word}" for key, word in (("direct", "direct"), ("cached", "cached")) if task[key]]
        extra += [f"{task['retries']} retried"] if task["retries"] else []
        rows.append(
            (
                Entry(task["task"], task["where"]),
                Entry(str(task["runs"]), ", ".join(extra), task["runs"]),
                Entry(units.seconds(task["wait_s"]), sort=task["wait_s"]),
                Entry(units.seconds(task["cpu_s"]), f"{units.percent(task['gil_share'])} GIL", task["cpu_s"]),
                Entry(units.seconds(task["queued_s"]), sort=task["queued_s"]),
                Entry(units.size(task["arg_bytes"]), sort=task["arg_bytes"]),
                Entry(units.size(task["out_bytes"]), sort=task["out_bytes"]),
            )
        )
    return Table("tasks", "What its tasks do", columns, tuple(rows), "Means a run.", rows_are="tasks")


def _path(advice: Advice) -> Table:
    columns = (Column("On the way to the end", numeric=False), Column("Runs"), Column("Time"))
    rows: Sequence[tuple[Entry, ...]] = [
        (
            Entry(task or "own code and handing over"),
            Entry(str(count) if task else "-", sort=count),
            Entry(units.seconds(seconds), sort=seconds),
        )
        for task, seconds, count in advice.path
    ]
    return Table("path", "Critical path", columns, tuple(rows), "What the flow's end waited for.", rows_are="parts")
