"""An answer in words: which arm, why, when that would change, and what matters beyond time."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from runner_lab.reports.choose.choice import Answer, Ranked
from runner_lab.reports.model.costs import Bottleneck
from runner_lab.reports.words import units

WORTH_SAYING = 1.1
"""A measured batch is told of where it was this many times as fast."""

WHY: dict[Bottleneck, str] = {
    "submit": "the driver, which submits one task after another",
    "workers": "the slots",
    "gil": "the GIL: bodies take turns",
    "machine": "the machine's cores",
    "loop": "the event loop, which runs the code of one task at a time",
    "body": "the body of a task: all of them wait at once",
}


def to_json(answer: Answer) -> str:
    """The answer as data and in words; seconds and bytes."""
    said = {
        "question": question(answer),
        "headline": headline(answer),
        "reasons": reasons(answer),
        "beyond_time": beyond_time(answer),
    }
    return json.dumps(said | asdict(answer), allow_nan=False)


def question(answer: Answer) -> str:
    """`2000 tasks of 300 ms (sleep), 200 kB each, on 2 workers, warm`; slots that were not asked for are not said."""
    asked = answer.request
    body = f" of {units.exactly(asked.seconds)} ({asked.kind})" if asked.seconds else ", empty"
    carrying = f", {units.size(asked.payload_bytes)} each" if asked.payload_bytes else ""
    start = "cold start included" if asked.cold else "warm"
    workers = "" if asked.workers is None else f", on {units.plural(asked.workers, 'worker')}"
    if asked.workers and answer.measured_workers and asked.workers > answer.measured_workers[-1]:
        workers += f" (extrapolated: at most {answer.measured_workers[-1]} were measured)"
    cores = "" if asked.cores is None else f", {units.plural(asked.cores, 'core')}"
    away = "" if asked.api_latency_s is None else f", the API {units.exactly(asked.api_latency_s)} away"
    return f"{units.plural(asked.tasks, 'task')}{body}{carrying}{workers}{cores}{away}, {start}"


def headline(answer: Answer) -> str:
    first, *others = answer.leaders
    said = f"Take {placed(first)}: {units.seconds(first.seconds)} ({between(first)})."
    if other := answer.without_async:
        said += f" It needs async tasks; with others take {placed(other)}: {units.seconds(other.seconds)}."
    if not others:
        return said
    return f"{said} As fast within this run's noise: {units.listed([placed(arm) for arm in others])}."


def placed(arm: Ranked) -> str:
    """`threads with 64 slots`; the name alone where there is no number to choose."""
    return arm.arm if not arm.has_slots else f"{arm.arm} with {units.plural(arm.slots, 'slot')}"


def between(arm: Ranked) -> str:
    """The 90 % interval: `4.9 to 5.6 min` with an en dash."""
    return units.span(units.seconds(arm.low), units.seconds(arm.high))


def reasons(answer: Answer) -> tuple[str, ...]:
    """A few lines: what decides the time, who comes next, batching, when the answer changes."""
    lines = [*_why(answer), *_batch(answer), *_changes(answer), *_distance(answer), *_server(answer)]
    return tuple(lines)


def beyond_time(answer: Answer) -> tuple[str, ...]:
    """What matters beyond time, for the arms that lead, from their engines."""
    return tuple(dict.fromkeys(arm.caveat for arm in answer.leaders if arm.caveat))


def _why(answer: Answer) -> list[str]:
    first = answer.leaders[0]
    lines = []
    if first.efficiency is not None:
        useful = units.percent(first.efficiency)
        lines.append(f"{useful} of that time is the tasks' own work. The limit is {WHY[first.bottleneck]}.")
    else:
        lines.append(f"The limit is {WHY[first.bottleneck]}.")
    behind = [arm for arm in answer.ranked if not arm.leads]
    if behind:
        following = behind[0]
        lines.append(
            f"Next is {placed(following)}: {units.times(following.seconds / first.seconds)} slower, limited by "
            f"{'the same thing' if following.bottleneck == first.bottleneck else WHY[following.bottleneck]}."
        )
    return lines


def _batch(answer: Answer) -> list[str]:
    lines = []
    if answer.batch:
        batch = answer.batch
        lines.append(
            f"Batch {batch.size} items to a task: {units.seconds(batch.seconds)} under {batch.arm}. Prefect "
            f"then sees, retries and caches {batch.size} items as one."
        )
    lines += _measured_batch(answer)
    if answer.request.seconds and answer.half_s is None:
        lines.append(f"{answer.leaders[0].arm} never spends half of its time on the tasks' own work, at any length.")
    elif answer.request.seconds and answer.half_s is not None:
        enough = math.ceil(answer.half_s / answer.request.seconds)
        there = f"batch at least {enough} to a task" if enough > 1 else "batch there"
        lines.append(
            f"Under about {units.about(answer.half_s)} a task {answer.leaders[0].arm} spends most of its time on "
            f"itself: {there}."
        )
    return lines


def _measured_batch(answer: Answer) -> list[str]:
    """The run's own figure, where its items are like those asked about and batching them gained something."""
    seen = answer.measured_batch
    if seen is None or seen.gains[seen.best].value < WORTH_SAYING:
        return []
    return [
        f"Measured: {seen.items} items of {units.exactly(seen.item_s)} ({units.printable(seen.kind, 20)}) under "
        f"{seen.arm.label} were done {units.times(seen.gains[seen.best].value)} as fast {seen.best} to a task as "
        f"{min(seen.gains)} to a task."
    ]


def _changes(answer: Answer) -> list[str]:
    told = []
    for change in answer.changes:
        if change.what == "startup":
            told.append(f"{'warm' if change.below else 'from a cold start'}: {change.arm}")
            continue
        side = "under" if change.below else "above"
        at = f"{units.about(change.at)} a task" if change.what == "seconds" else f"{_round(change.at)} tasks"
        told.append(f"{side} about {at}: {change.arm}")
    if not told:
        other = "length or number of tasks" if answer.request.seconds else "number of tasks"
        return [f"No other {other} within a factor of 1000 changes the answer."]
    return [f"The answer changes {'; '.join(told)}."]


def _distance(answer: Answer) -> list[str]:
    """Whether the API's distance changes the runner, and how long a task that takes another's result waits."""
    found = answer.distance
    if found is None:
        return []
    lines = []
    if found.arm != found.beside:
        before = f"{units.exactly(found.beside_s)} away" if found.beside_s else "beside the server"
        lines.append(f"With the API {units.exactly(found.latency_s)} away: {found.arm}; {before}: {found.beside}.")
    waiting = {arm: trips for arm, trips in found.links.items() if trips}
    if waiting and answer.request.api_latency_s:
        each = [f"{_trips(n)} ({units.about(n * found.latency_s)}) under {arm}" for arm, n in waiting.items()]
        free = [arm for arm in found.links if arm not in waiting]
        none = f", for none under {units.listed(free)}" if free else ""
        lines.append(f"A task that takes another's result waits for {units.listed(each)}{none}.")
    return lines


def _trips(trips: float) -> str:
    shown = units.digits(float(f"{trips:.2g}")).removesuffix(".00").removesuffix(".0")
    return f"{shown} round trip{'' if shown == '1' else 's'}"


def _server(answer: Answer) -> list[str]:
    first = answer.leaders[0]
    if first.recorded_s is None:
        return []
    return [
        f"Prefect's server falls behind: it will have recorded the last task run after about "
        f"{units.about(first.recorded_s)}."
    ]


def _round(value: float) -> str:
    return f"{int(float(f'{max(value, 1):.2g}')):,}"
