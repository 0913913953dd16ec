"""Experiments on one key in two task runs at a time, under each isolation level and lock manager.

Held against Prefect's documentation: READ_COMMITTED lets both run; SERIALIZABLE lets one run at a time, within the
reach of its lock manager, and asks for one.
"""

from __future__ import annotations

from runner_lab.benchmarks.experiments.counting import entries, experiment, ledger, listed
from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene, concurrent
from runner_lab.flows.experiments.calls import Lock
from runner_lab.records.findings import Judgement
from runner_lab.runners.spec import RunnerSpec

SUITE = "equivalence"

ROUNDS = 3
HOLD_S = 3.0
"""How long a body waits for a second one of its key: long beside what it takes to start one on a worker that is up."""

LOCKS = "On one machine take FileSystemLockManager, across machines RedisLockManager of prefect-redis."


def same_key(isolation: str, lock: Lock) -> Experiment:
    """The experiment: maps of two task runs with one key."""

    def measure(scene: Scene) -> None:
        from runner_lab.flows.experiments.equivalence import same_key as flow

        under = flow.with_options(task_runner=scene.task_runner())
        rounds = under(isolation, lock, ROUNDS, HOLD_S, str(ledger(scene)))
        found = [entries(scene, "meet", lane) for lane in range(1, ROUNDS + 1)]
        scene.note(
            bodies=[len(ran) for ran in found],
            at_once=[len(ran) > 1 and ran[1].start_s < ran[0].end_s for ran in found],
            processes=[len({entry.pid for entry in ran}) for ran in found],
            states=[[one.state for one in pair] for pair in rounds],
            errors=sorted({one.error for pair in rounds for one in pair if one.error}),
        )

    def judge(arm: RunnerSpec, facts: Facts) -> Judgement:
        return judged(isolation, lock, facts)

    locks = {"none": "no lock manager", "memory": "MemoryLockManager", "file": "FileSystemLockManager"}
    title = f"{isolation}, {locks[lock]}"
    name = f"{isolation.lower().replace('_', '-')}-{lock}"
    return experiment("same-key", title, measure, judge, concurrent, id=name)


def judged(isolation: str, lock: Lock, facts: Facts) -> Judgement:
    """What the counts of all rounds mean."""
    bodies, errors = facts["bodies"], ", ".join(facts["errors"])
    if isolation == "SERIALIZABLE" and lock == "none":
        if not any(bodies) and errors == "ConfigurationError":
            return Judgement("ok", "refused: ConfigurationError, 0 bodies")
        return Judgement("bad", f"{listed(bodies)} bodies, {errors or 'and no error'}", LOCKS)
    if errors or not all(0 < count < 3 for count in bodies):
        ran = "1 body" if set(bodies) == {1} else f"{listed(bodies)} bodies"
        return Judgement("bad", f"{ran}{f', and {errors}' if errors else ''}", LOCKS)
    if isolation == "READ_COMMITTED":
        how = "side by side" if all(facts["at_once"]) else "in turn" if not any(facts["at_once"]) else "some in turn"
        return Judgement("ok", f"{listed(bodies)} bodies, {how}")
    if all(count == 1 for count in bodies):
        return Judgement("ok", "1 body")
    if all(count == processes for count, processes in zip(bodies, facts["processes"], strict=True)):
        return Judgement("warn", f"{listed(bodies)} bodies: each worker process has locks of its own", LOCKS)
    return Judgement("bad", f"{listed(bodies)} bodies within one process", LOCKS)


_LOCKS: tuple[Lock, ...] = ("none", "memory", "file")
EXPERIMENTS = tuple(same_key(isolation, lock) for isolation in ("READ_COMMITTED", "SERIALIZABLE") for lock in _LOCKS)
