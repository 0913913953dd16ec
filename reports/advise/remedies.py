"""What else would save time in a flow: each change is tried on its profile before it is told (as in Coz, SOSP 2015)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from runner_lab.records.flow_profile import OWN_PROCESSES, FlowProfile, Step, TaskProfile
from runner_lab.reports.advise.prediction import FlowPrediction, PredictedFlow
from runner_lab.reports.model.simulation import replay
from runner_lab.reports.words import units

WORTH_SAYING = 0.05
"""Share of the flow's time that a change must save."""
_LOOP = 3
"""Calls of one task from one line that make a loop."""
_SMALL_SHARE = 0.5
_MANY = 20
_BATCHES = (5, 10, 20, 50, 100)
_LARGE_BYTES = 1e6
_QUOTE = "wrap lists and dicts that hold no future in prefect.utilities.annotations.quote(...), or "
_OWN_SHARE = 0.2
"""Of the time under the named runner, from which the flow's own code and its sub-flows are told."""


@dataclass(frozen=True)
class Remedy:
    """A change of the flow.

    what:  what is found, and what to do, in a sentence.
    saves_s: by its replay; None for what was not replayed.
    """

    what: str
    saves_s: float | None


def remedies(prediction: FlowPrediction, best: Callable[[FlowProfile], PredictedFlow]) -> tuple[Remedy, ...]:
    """Those that save enough, the one that saves most first.

    Args:
        best: gives a changed flow under the runner that is then the one to take.
    """
    found = [*_direct_calls(prediction, best), *_batches(prediction), *_payloads(prediction)]
    found += [*_walks(prediction), *_keys(prediction)]
    enough_s = WORTH_SAYING * prediction.named.warm_s
    told = [remedy for remedy in found if remedy.saves_s is None or remedy.saves_s > enough_s]
    told += [*_pools(prediction), *_subflows(prediction), *_own_code(prediction)]
    return tuple(sorted(told, key=lambda remedy: -(remedy.saves_s or 0.0)))


def _saved(prediction: FlowPrediction, changed: FlowProfile) -> float:
    return prediction.named.replay.seconds - prediction.under_named(changed).seconds


def _direct_calls(prediction: FlowPrediction, best: Callable[[FlowProfile], PredictedFlow]) -> Iterator[Remedy]:
    profile = prediction.profile
    if profile.asynchronous:
        yield from _awaited(prediction, best)
        return
    loops: dict[tuple[str, str], list[int]] = {}
    for step in profile.steps:
        if step.kind == "call":
            run = step.runs[0]
            loops.setdefault((profile.runs[run].task, step.where), []).append(run)
    for (task, where), runs in loops.items():
        took_s = sum(profile.runs[run].end_s - profile.runs[run].start_s for run in runs)
        if len(runs) < _LOOP:
            continue
        then = best(_submitted(profile, set(runs)))
        yield Remedy(
            f"{task} is called directly, {len(runs)} times at {where}: {units.seconds(took_s)} of "
            f"{units.seconds(profile.wall_s)}. Where the calls do not need each other, submit them (.map or .submit) "
            f"under {then.arm}{f' with {then.slots} slots' if then.has_slots else ''}.",
            prediction.named.seconds - then.seconds,
        )


def _awaited(prediction: FlowPrediction, best: Callable[[FlowProfile], PredictedFlow]) -> Iterator[Remedy]:
    """Tasks that compute in the flow's event loop, one at a time."""
    profile = prediction.profile
    for task, runs in profile.by_task().items():
        if len(runs) < _LOOP or not all(run.direct and run.asynchronous for run in runs):
            continue
        cpu_s = sum(run.cpu_s for run in runs)
        if cpu_s < sum(run.wait_s for run in runs):
            continue
        there = tuple(replace(run, direct=False) if run.task == task else run for run in profile.runs)
        then = best(replace(profile, runs=there))
        yield Remedy(
            f"{task} computes for {units.seconds(cpu_s)} in the flow's event loop, one run at a time: submit it under "
            f"{then.arm}{f' with {then.slots} slots' if then.has_slots else ''}.",
            prediction.named.seconds - then.seconds,
        )


def _submitted(profile: FlowProfile, calls: set[int]) -> FlowProfile:
    """The same with those calls submitted, and waited for behind the last of them."""
    steps: list[Step] = []
    last = max(i for i, step in enumerate(profile.steps) if step.kind == "call" and step.runs[0] in calls)
    for i, step in enumerate(profile.steps):
        ours = step.kind == "call" and step.runs[0] in calls
        steps.append(replace(step, kind="submit") if ours else step)
        if i == last:
            steps.append(Step("wait", tuple(sorted(calls))))
    runs = tuple(replace(run, direct=False) if i in calls else run for i, run in enumerate(profile.runs))
    return replace(profile, steps=tuple(steps), runs=runs)


def _batches(prediction: FlowPrediction) -> Iterator[Remedy]:
    profile, handling = prediction.profile, prediction.handling
    cost_s = handling.driver_s + handling.slot_s
    slots = max(prediction.named.slots, 1)
    for task, runs in profile.by_task().items():
        own = [run for run in runs if not run.direct and run.attempts]
        if len(own) < _MANY or sum(run.alone_s for run in own) / len(own) > cost_s / _SMALL_SHARE:
            continue
        sizes = [size for size in _BATCHES if len(own) / size >= 2 * slots] or [_BATCHES[0]]
        tried = [(_saved(prediction, batched(profile, task, size)), size) for size in sizes]
        most_s = max(saved_s for saved_s, _ in tried)
        if most_s <= 0:
            continue
        saved_s, size = next((saved, size) for saved, size in tried if saved >= 0.9 * most_s)
        mean_s = sum(run.alone_s for run in own) / len(own)
        yield Remedy(
            f"{task} takes {units.seconds(mean_s)}, {len(own)} times; handing one over costs {units.seconds(cost_s)}. "
            f"Batch {size} items to a task.",
            saved_s,
        )


def batched(profile: FlowProfile, task: str, size: int) -> FlowProfile:
    """The same with so many runs of a task, in their order, put into one: what they take is added up.

    Runs that need each other stay as they are: put together they would wait for themselves.
    """
    own = [i for i, run in enumerate(profile.runs) if run.task == task and not run.direct and run.attempts]
    among = set(own)
    if any(among & set(profile.runs[i].upstream) or profile.runs[i].steps for i in own):
        return profile
    into: dict[int, int] = {}
    groups = [own[start : start + size] for start in range(0, len(own), size)]
    for group in groups:
        into |= dict.fromkeys(group[1:], group[0])
    kept = [i for i in range(len(profile.runs)) if i not in into]
    place = {i: at for at, i in enumerate(kept)}

    def moved(runs: Sequence[int]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(place[into.get(i, i)] for i in runs))

    together = {group[0]: _together([profile.runs[i] for i in group]) for group in groups}
    runs = []
    for i in kept:
        run = together.get(i, profile.runs[i])
        inner = tuple(_moved(profile.runs[i].steps, into, moved))
        runs.append(replace(run, upstream=moved(run.upstream), steps=inner))
    return replace(profile, runs=tuple(runs), steps=tuple(_moved(profile.steps, into, moved)))


def _moved(
    steps: Sequence[Step], into: dict[int, int], moved: Callable[[Sequence[int]], tuple[int, ...]]
) -> Iterator[Step]:
    for step in steps:
        if step.kind == "submit" and step.runs[0] in into:
            continue
        threads = tuple(tuple(_moved(inner, into, moved)) for inner in step.threads)
        yield step if step.kind == "own" else replace(step, runs=moved(step.runs), threads=threads)


def _together(runs: Sequence[TaskProfile]) -> TaskProfile:
    return replace(
        runs[0],
        upstream=tuple(dict.fromkeys(i for run in runs for i in run.upstream)),
        wait_s=sum(run.wait_s for run in runs),
        cpu_s=sum(run.cpu_s for run in runs),
        gil_s=sum(run.gil_s for run in runs),
        walk_s=sum(run.walk_s for run in runs),
        key_s=sum(run.key_s for run in runs),
        kept_s=sum(run.kept_s for run in runs),
        asks=sum(run.asks for run in runs),
        arg_bytes=sum(run.arg_bytes or 0.0 for run in runs),
        out_bytes=sum(run.out_bytes or 0.0 for run in runs),
    )


def _payloads(prediction: FlowPrediction) -> Iterator[Remedy]:
    profile = prediction.profile
    if not prediction.handling.payload_s:
        return
    for task, runs in profile.by_task().items():
        largest = max((max(run.out_bytes or 0.0, run.arg_bytes or 0.0) for run in runs), default=0.0)
        if largest < _LARGE_BYTES:
            continue
        light = replace(
            profile,
            runs=tuple(replace(run, arg_bytes=0.0, out_bytes=0.0) if run.task == task else run for run in profile.runs),
        )
        way = "through the flow's process" if prediction.handling.through_flow else "from worker to worker"
        yield Remedy(
            f"Arguments and results of {task}, up to {units.size(largest)}, go {way}: write them to a file or a bucket "
            "in the task and hand on its name.",
            _saved(prediction, light),
        )


def _walks(prediction: FlowPrediction) -> Iterator[Remedy]:
    profile = prediction.profile
    for task, runs in profile.by_task().items():
        each_s = sum(run.walk_s for run in runs) / len(runs)
        if not each_s:
            continue
        plain = tuple(replace(run, walk_s=0.0) if run.task == task else run for run in profile.runs)
        # What comes by a future has no place where the flow could quote it.
        quoted = "" if any(run.upstream for run in runs) else _QUOTE
        yield Remedy(
            f"Prefect goes through every item of what {task} takes, {units.seconds(each_s)} each time and more than "
            f"once a run: {quoted}hand on an array, a frame or a file's name.",
            _saved(prediction, replace(profile, runs=plain)),
        )


def _keys(prediction: FlowPrediction) -> Iterator[Remedy]:
    profile = prediction.profile
    for task, runs in profile.by_task().items():
        ran = [run for run in runs if run.attempts]
        if len(ran) < len(runs) or not (each_s := sum(run.key_s for run in ran) / len(ran)):
            # No remedy where a cache has spared a run.
            continue
        unhashed = tuple(replace(run, key_s=0.0) if run.task == task else run for run in profile.runs)
        yield Remedy(
            f"Prefect hashes what {task} takes for a cache key, {units.seconds(each_s)} each time: where nothing is to "
            "be found in a cache, @task(cache_policy=NO_CACHE) of prefect.cache_policies.",
            _saved(prediction, replace(profile, runs=unhashed)),
        )


def _pools(prediction: FlowPrediction) -> Iterator[Remedy]:
    """Libraries whose own threads, in every slot, are more than there are cores."""
    cores = prediction.target.cores or prediction.profile.cores
    named = prediction.named
    wide = any(run.width > 1.2 for run in prediction.profile.runs)
    largest = max(prediction.profile.pools, key=lambda pool: pool.threads, default=None)
    if largest is None or not wide or largest.threads * named.slots <= cores or named.slots == 1:
        return
    each = max(cores // named.slots, 1)
    if largest.library == OWN_PROCESSES:
        yield Remedy(
            f"Its tasks keep {largest.threads} processes of their own in each of {named.slots} slots on "
            f"{units.plural(cores, 'core')}: give what starts them n_jobs={each}.",
            None,
        )
        return
    variable = "POLARS_MAX_THREADS" if largest.library == "polars" else "OMP_NUM_THREADS"
    yield Remedy(
        f"{largest.library} uses {units.plural(largest.threads, 'thread')} in each of {named.slots} slots on "
        f"{units.plural(cores, 'core')}: set {variable}={each}.",
        None,
    )


def _subflows(prediction: FlowPrediction) -> Iterator[Remedy]:
    """What Prefect takes for flow runs within the flow, where that is much."""
    for name, found in prediction.profile.subflows.items():
        if found.around_s > _OWN_SHARE * prediction.named.warm_s:
            yield Remedy(
                f"Prefect takes {units.seconds(found.around_s)} for {units.plural(found.runs, 'run')} of the sub-flow "
                f"{name}, beyond what it does: call its function ({name}.fn), so that its tasks belong to this flow.",
                None,
            )


def own_code_s(profile: FlowProfile) -> float:
    """Seconds of the flow's function between its tasks, less what Prefect takes for its sub-flows."""
    between_s = math.fsum(step.wait_s + step.cpu_s for step in profile.steps if step.kind == "own")
    return max(between_s - around_subflows_s(profile), 0.0)


def around_subflows_s(profile: FlowProfile) -> float:
    """What Prefect takes for the sub-flows of a flow, seconds."""
    return math.fsum(found.around_s for found in profile.subflows.values())


def _own_code(prediction: FlowPrediction) -> Iterator[Remedy]:
    """The flow's function itself, where it is a large part of the time under the named runner."""
    own_s = own_code_s(prediction.profile)
    if own_s > _OWN_SHARE * prediction.named.warm_s:
        yield Remedy(
            f"The flow's own code takes {units.seconds(own_s)} between its tasks, one thing at a time: move it into a "
            "task, or out of the loop.",
            None,
        )


def at_least_s(prediction: FlowPrediction) -> float:
    """Seconds that no runner can go below: the replay with no cost, and a slot and a core for every task."""
    free = replace(
        prediction.handling,
        driver_s=0.0,
        driver_cpu_s=0.0,
        slot_s=0.0,
        slot_cpu_s=0.0,
        server_cpu_s=0.0,
        payload_s=0.0,
        in_process=False,
        event_loop=False,
        direct_s=0.0,
    )
    many = max(len(prediction.profile.runs), 1)
    return replay(prediction.profile, free, many, many * 64).seconds


def critical(prediction: FlowPrediction, one: PredictedFlow) -> tuple[tuple[str, float, int], ...]:
    """By task, the seconds that the critical path spends in its runs and how many of them; `` for all between them."""
    found: dict[str, tuple[float, int]] = {}
    for run, seconds in one.replay.path:
        task = "" if run is None else prediction.profile.runs[run].task
        before_s, count = found.get(task, (0.0, 0))
        found[task] = (before_s + seconds, count + 1)
    return tuple(sorted(((task, s, n) for task, (s, n) in found.items()), key=lambda part: -part[1]))
