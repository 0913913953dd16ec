"""A profiled flow under every runner that the run knows: its time by replay, with the slots it should have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from runner_lab.records.flow_profile import FlowProfile, Step, TaskProfile
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose import ranking
from runner_lab.reports.choose.choice import memory
from runner_lab.reports.choose.ranking import AS_GOOD, simplicity, slot_counts, tie_limit
from runner_lab.reports.model.costs import STIRRED_S, Costs, cold_start_s, usually_at_heartbeat_s
from runner_lab.reports.model.model import ArmModel
from runner_lab.reports.model.simulation import Handling, Replay, replay

KEPT = 1.1
"""Times the shortest predicted time that the flow's own runner may take and still be named: it is there, it was
measured, and predictions of two runners of one flow differ by as much."""
FLOW_START_S = 0.3
"""Most of the time around a flow's function that is taken for Prefect's; more is its runner's own start."""
REPLAY_LOG_SD = 0.06
"""Standard deviation of the logarithm that replaying adds: what a profile of one run leaves open."""
MOST_REPLAYED = 3_000
"""Task runs from which fewer numbers of slots are tried."""
WAITING_SHARE = 0.05
"""Share of the tasks' time from which waiting is worth slots beyond the cores."""


@dataclass(frozen=True)
class Target:
    """What is asked about.

    cores: of each host; None: as many as the profile's.
    hosts: over which a cluster's slots are spread.
    cold:  what the runner needs is started with the flow, as in a process of its own; else it is up and warm.
    """

    cores: int | None = None
    hosts: int = 1
    cold: bool = True


@dataclass(frozen=True)
class PredictedFlow:
    """The flow under one arm.

    slots: fewest with which it is as fast as with any number.
    seconds: call of the flow to its return, its runner's start included where that is asked for; low, high: the 90 %
        interval of one run.
    start_s: what starting the runner takes; None where the run has not measured it.
    warm_s:  the flow with all of that up.
    pool_s:  of that, the start of pools that begin within the flow's function.
    cpu_s: core-seconds.
    memory_bytes: of all processes, by what the run and the profile saw.
    leads: it is named, or cannot be told from the one that is.
    """

    arm: str
    engine: str
    slots: int
    has_slots: bool
    seconds: float
    low: float
    high: float
    start_s: float | None
    warm_s: float
    pool_s: float
    cpu_s: float
    memory_bytes: float | None
    leads: bool
    replay: Replay
    model: ArmModel


@dataclass(frozen=True)
class FlowPrediction:
    """
    ranked: the named arm first, then the others by time.
    yours:  the profiled runner's replay with its own slots, to hold against what was measured.
    usual:  every arm with the slots that it has where nobody says how many: threads no limit, others a slot a core.
    direct: terms of direct calls, where the run has them.
    """

    profile: FlowProfile
    target: Target
    run_id: str
    ranked: tuple[PredictedFlow, ...]
    yours: PredictedFlow | None
    usual: tuple[PredictedFlow, ...]
    direct: Costs | None

    @property
    def named(self) -> PredictedFlow:
        return self.ranked[0]

    @property
    def handling(self) -> Handling:
        """What the named arm does to a task."""
        return self.handling_by(self.named)

    def handling_by(self, one: PredictedFlow) -> Handling:
        """What an arm does to a task."""
        return _handling(one.model, self.direct, self.profile)

    def under_named(self, changed: FlowProfile) -> Replay:
        """Another profile under the named arm with its slots."""
        model = self.named.model
        return _replayed(changed, model, self.direct, self.named.slots, _cores(model, self.profile, self.target))

    @property
    def named_warm(self) -> PredictedFlow:
        """The one to take where its workers are up already: the named one, if it is as good as the fastest there."""
        fastest = min(self.ranked, key=lambda one: one.warm_s)
        return self.named if self.named.warm_s <= AS_GOOD * fastest.warm_s else fastest


class CannotAdviseError(ValueError):
    """Nothing can be predicted; one line for the user."""


def predict(summary: Summary, profile: FlowProfile, target: Target) -> FlowPrediction:
    """
    Args:
        summary: of the run whose cost model is used.

    Raises:
        CannotAdviseError: the run has no model of any arm that could run the flow.
    """
    models = _candidates(summary, profile)
    if not models:
        raise CannotAdviseError(f"run {summary.run.run_id} has no model of a runner: measure one with runner-lab run")
    direct = next((found.costs for found in summary.model.arms if found.arm.engine == "none"), None)
    found = [(model, _best(summary, model, profile, target, direct)) for model in models]
    possible = [(model, best) for model, best in found if math.isfinite(best.seconds)]
    if not possible:
        raise CannotAdviseError("its tasks wait for tasks that no runner has a slot for: give the flow more slots")
    fastest_s = min(best.seconds for _, best in possible)
    simplest = sorted(possible, key=lambda pair: simplicity(pair[0].arm))
    own = _own(summary, profile)
    kept = (pair for pair in possible if pair[0] is own and pair[1].seconds <= KEPT * fastest_s)
    named = next(kept, None) or next(pair for pair in simplest if pair[1].seconds <= AS_GOOD * fastest_s)
    others = sorted((pair for pair in possible if pair is not named), key=lambda pair: pair[1].seconds)
    ranked = [replace(named[1], leads=True), *(replace(best, leads=_level(best, named[1])) for _, best in others)]
    return FlowPrediction(
        profile=profile,
        target=target,
        run_id=summary.run.run_id,
        ranked=tuple(ranked),
        yours=_yours(summary, profile, direct),
        usual=tuple(
            _at(summary, model, profile, target, direct, _usual_slots(model, profile, target)) for model, _ in possible
        ),
        direct=direct,
    )


def _yours(summary: Summary, profile: FlowProfile, direct: Costs | None) -> PredictedFlow | None:
    """Under its own runner, as it was measured; None where the run has none like it, or the replay has no end."""
    if (own := _own(summary, profile)) is None:
        return None
    slots = profile.slots or _usual_slots(own, profile, Target())
    found = _at(summary, own, profile, Target(cold=False), direct, slots)
    return found if math.isfinite(found.seconds) else None


def _handling(found: ArmModel, direct: Costs | None, profile: FlowProfile) -> Handling:
    traits = found.arm.traits
    return Handling.of(
        found.costs,
        direct,
        # Runs before this trait was told: lean runners have lent always.
        lends=traits.nested == "lent" or (found.arm.lean and traits.nested == "held"),
        stirring=_stirring(profile),
        through_flow=traits.reach != "cluster",
        own_pools=traits.nested == "own",
    )


def _stirring(profile: FlowProfile) -> float:
    """As how many of its tasks are long enough to leave Prefect's part of the next one cold caches."""
    if not profile.runs:
        return 0.0
    return sum(min(run.alone_s / STIRRED_S, 1.0) for run in profile.runs) / len(profile.runs)


def _candidates(summary: Summary, profile: FlowProfile) -> list[ArmModel]:
    """No event loop unless every task is async and waits; nothing that has no Prefect."""
    loops = bool(profile.runs) and all(run.asynchronous for run in profile.runs) and waiting(profile) > 0.5
    return [found for found in summary.model.arms if not found.arm.bare and (loops or not found.costs.event_loop)]


def _own(summary: Summary, profile: FlowProfile) -> ArmModel | None:
    """The arm that is like the profile's runner, where the run has one."""
    if profile.asynchronous and all(run.direct for run in profile.runs):
        return next((found for found in summary.model.arms if found.costs.event_loop), None)
    lean = profile.runner.startswith("Lean")
    like = [m for m in summary.model.arms if m.arm.engine == profile.engine and m.arm.lean == lean and not m.arm.bare]
    return next((found for found in like if not found.costs.event_loop), None)


def waiting(profile: FlowProfile) -> float:
    """Share of the tasks' time alone in which they wait."""
    alone_s = sum(run.alone_s for run in profile.runs)
    return sum(run.wait_s for run in profile.runs) / alone_s if alone_s else 0.0


def _usual_slots(found: ArmModel, profile: FlowProfile, target: Target) -> int:
    if not found.arm.has_slots:
        return 1
    return max(len(profile.runs), 1) if found.costs.shares_gil else max(target.cores or profile.cores, 2)


def _best(
    summary: Summary, found: ArmModel, profile: FlowProfile, target: Target, direct: Costs | None
) -> PredictedFlow:
    """With the fewest slots with which it is as fast as with any number of them."""
    if not found.arm.has_slots:
        return _at(summary, found, profile, target, direct, 1)
    spread = target.hosts if found.arm.traits.reach == "cluster" else 1
    kind = "sleep" if waiting(profile) > WAITING_SHARE else "spin"
    counts = [count * spread for count in slot_counts(found.on(target.cores or profile.cores), kind)]
    if len(profile.runs) > MOST_REPLAYED:
        counts = counts[::3]
    # A flow whose tasks wait for tasks of their own may need more than there are cores, and slots beyond the tasks
    # have nothing to do.
    most = max(len(profile.runs), counts[0])
    tried = [
        _at(summary, found, profile, target, direct, count) for count in dict.fromkeys(min(n, most) for n in counts)
    ]
    fastest_s = min(one.seconds for one in tried)
    return next(one for one in tried if one.seconds <= AS_GOOD * fastest_s)


def _at(
    summary: Summary, found: ArmModel, profile: FlowProfile, target: Target, direct: Costs | None, slots: int
) -> PredictedFlow:
    cores = _cores(found, profile, target)
    costs = found.costs
    done = _replayed(profile, found, direct, slots, cores)
    around_s = min(profile.around_s, FLOW_START_S)
    # Every sub-flow that submits starts a pool of its own.
    pools = profile.submitting if costs.pool_in_run else 1
    # Every process of a slot imports what the flow's module does; as many at a time as there are cores.
    imports_s = profile.import_s * max(slots / cores, 1.0) if costs.starts_slots else 0.0
    pool_s = 0.0
    if costs.pool_in_run:
        pool_s = pools * (costs.fixed_s * float(costs.start_factor(slots, cores)) + imports_s)
    warm_s = around_s + (pool_s if costs.pool_in_run else costs.fixed_s) + done.seconds
    start_s = None if costs.cold_s is None else float(cold_start_s(costs, slots, cores))
    if start_s is not None and not costs.pool_in_run:
        start_s += imports_s
    seconds = warm_s
    if target.cold and math.isfinite(warm_s):
        seconds = float(usually_at_heartbeat_s(costs, warm_s + (start_s or 0.0)))
    reach = min(found.t_quantile * math.hypot(_log_sd(found, profile, slots), found.noise), 50)
    submitted = len(list(profile.submitted))
    more = float(costs.prefect_factor(_stirring(profile), STIRRED_S))
    own_cpu_s = sum(step.cpu_s for step in profile.steps) + sum(run.cpu_s for run in profile.runs)
    return PredictedFlow(
        arm=found.arm.label,
        engine=found.arm.engine,
        slots=slots,
        has_slots=found.arm.has_slots,
        seconds=seconds,
        low=seconds * math.exp(-reach),
        high=seconds * math.exp(reach),
        start_s=start_s,
        warm_s=warm_s,
        pool_s=pool_s,
        cpu_s=own_cpu_s + costs.fixed_cpu_s + (more * costs.cpu_s + costs.server_cpu_s) * submitted,
        memory_bytes=_memory_bytes(summary, found, profile, slots),
        leads=False,
        replay=done,
        model=found,
    )


def _cores(found: ArmModel, profile: FlowProfile, target: Target) -> int:
    return (target.cores or profile.cores) * (target.hosts if found.arm.traits.reach == "cluster" else 1)


def _replayed(profile: FlowProfile, found: ArmModel, direct: Costs | None, slots: int, cores: int) -> Replay:
    there = _with_prefect(_with_clients(_crowded(profile, found, slots, cores), found), found)
    return replay(there, _handling(found, direct, profile), slots, cores)


def _crowded(profile: FlowProfile, found: ArmModel, slots: int, cores: int) -> FlowProfile:
    """The profile with what tasks wait with so many slots, and compute where the slots are in one process."""
    if not profile.crowding or not found.arm.has_slots:
        return profile
    in_process = found.costs.shares_gil and slots > cores

    def there(run: TaskProfile) -> TaskProfile:
        if run.direct or (crowding := profile.crowding.get(run.task)) is None:
            return run
        cpu, wait = crowding.at(slots)
        cpu = cpu if in_process else 1.0
        return replace(run, cpu_s=run.cpu_s * cpu, gil_s=run.gil_s * cpu, wait_s=run.wait_s * wait)

    return replace(profile, runs=tuple(map(there, profile.runs)))


def _with_clients(profile: FlowProfile, found: ArmModel) -> FlowProfile:
    """The profile with what Prefect takes for clients of its API that the runner's terms have not.

    A task finds the client of its flow, but for an async task under threads and for any other task of an async flow:
    those make one, and the CA bundle is loaded under the GIL. Tasks in other processes make one always, or a lean
    runner keeps one for them.
    """
    in_threads = found.costs.shares_gil and not found.costs.event_loop and not found.arm.lean

    def makes_one(run: TaskProfile) -> bool:
        if run.direct or not found.arm.has_slots:
            return profile.asynchronous and not run.asynchronous
        return in_threads and (run.asynchronous or profile.asynchronous)

    if not profile.client_s or not any(map(makes_one, profile.runs)):
        return profile

    def there(run: TaskProfile) -> TaskProfile:
        if not makes_one(run):
            return run
        # The engine of an async task asks by two, one of which is not async.
        more_s = profile.client_s * (2 if run.asynchronous else 1)
        return replace(run, cpu_s=run.cpu_s + more_s, gil_s=run.gil_s + more_s)

    return replace(profile, runs=tuple(map(there, profile.runs)))


def _with_prefect(profile: FlowProfile, found: ArmModel) -> FlowProfile:
    """The profile with what Prefect does for its runs and not for the lab's, which take little, and keep nothing."""

    def handed(steps: Sequence[Step]) -> Iterator[Step]:
        for step in steps:
            if step.kind == "submit":
                run = profile.runs[step.runs[0]]
                driver_s = _walks(run, found)[0] * run.walk_s
                if driver_s:
                    yield Step("own", cpu_s=driver_s)
            yield replace(step, threads=tuple(tuple(handed(inner)) for inner in step.threads)) if step.threads else step

    def there(run: TaskProfile) -> TaskProfile:
        more_s = prefect_s(run, profile, found)
        first = [Step("own", cpu_s=more_s)] if run.steps and more_s else []
        steps = (*first, *handed(run.steps))
        return replace(run, cpu_s=run.cpu_s + more_s, gil_s=run.gil_s + more_s, steps=steps)

    return replace(profile, runs=tuple(map(there, profile.runs)), steps=tuple(handed(profile.steps)))


def prefect_s(run: TaskProfile, profile: FlowProfile, found: ArmModel) -> float:
    """Seconds that Prefect takes for a run where its body runs, beyond the arm's terms; under the GIL.

    It goes through the items of the arguments, hashes them for a cache key, and writes the result. In stock threads it
    also asks its API for the state of each future among the arguments, where others have the result by then or know
    the state. The server does one thing at a time, and takes down events of other tasks between two answers: as with
    the GIL, all wait for it.
    """
    own_s = _walks(run, found)[1] * run.walk_s + run.key_s + run.kept_s
    stock_threads = found.arm.has_slots and found.costs.shares_gil and not found.arm.lean
    asks = run.asks if stock_threads and not run.direct else 0
    answered_s = 2 * (profile.request_s - profile.request_cpu_s)
    return own_s + asks * (profile.request_cpu_s + answered_s)


def _walks(run: TaskProfile, found: ArmModel) -> tuple[int, int]:
    """How often Prefect goes through the items of a run's arguments: in the flow's process, and where its body runs.

    It looks there for what the run waits for, and then for what it has to put in its place; runners whose tasks run
    elsewhere do as much before they send them. What comes by a future is not there yet when it is handed over.
    """
    by_future = bool(run.upstream) and not run.direct
    reach = found.arm.traits.reach
    if run.direct or not found.arm.has_slots or reach == "process":
        return 0, 1 if by_future else 2
    if by_future:
        return int(reach == "host" and not found.arm.lean), 2
    return 1 if found.arm.lean or reach == "host" else 2, 2


def _memory_bytes(summary: Summary, found: ArmModel, profile: FlowProfile, slots: int) -> float | None:
    """Of the flow's process with the results that it holds, and of each task that goes on, there or in a slot's.

    The results of all task runs are taken to be held, as far as the profile's peak allows.
    """
    driver_bytes, workers_bytes, slot_bytes = memory(found, summary)
    base_bytes = driver_bytes if profile.base_bytes is None else profile.base_bytes
    if base_bytes is None:
        return None
    held_bytes, each_bytes = sum(run.out_bytes or 0.0 for run in profile.runs), 0.0
    if profile.engine in ("threads", "none"):
        grown_bytes = max((profile.peak_bytes or 0.0) - base_bytes, 0.0)
        held_bytes = min(held_bytes, grown_bytes)
        each_bytes = (grown_bytes - held_bytes) / profile.most_at_once
    if slot_bytes is None:
        at_once = profile.most_at_once if found.costs.event_loop else min(slots, profile.most_at_once)
        others_bytes = 0.0 if found.arm.traits.reach == "process" else workers_bytes
        return base_bytes + held_bytes + each_bytes * at_once + others_bytes
    return base_bytes + held_bytes + slots * (slot_bytes + profile.import_bytes + each_bytes)


def _log_sd(found: ArmModel, profile: FlowProfile, slots: int) -> float:
    """Of the expected time: that of as many independent tasks as long as the mean, and what replaying adds."""
    submitted = list(profile.submitted)
    if not submitted:
        return REPLAY_LOG_SD
    body_s = sum(run.alone_s for run in submitted) / len(submitted)
    kind = "sleep" if waiting(profile) > 0.5 else "spin"
    terms = float(found.log_sd(len(submitted), body_s, kind, 0.0, False, slots))
    return math.hypot(terms, REPLAY_LOG_SD)


def _level(best: PredictedFlow, named: PredictedFlow) -> bool:
    """Whether it cannot be told from the named one."""
    unsure = math.hypot(_half(best), _half(named)) / ranking.ONE_SIDED
    return math.log(best.seconds / named.seconds) <= float(tie_limit(unsure))


def _half(one: PredictedFlow) -> float:
    """Half width of its interval, in logarithms."""
    return math.log(one.high / one.seconds)
