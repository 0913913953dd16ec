"""Experiments on caching: what is done, what is counted, and what the counts mean.

Held against Prefect's documentation: a result is found under its key wherever the storage is the same, until it
expires or is refreshed, and a read sees what was committed last.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from runner_lab.benchmarks.experiments.counting import entries, experiment, folder, ledger, number, run, saw
from runner_lab.benchmarks.experiments.frame.experiment import Facts, Scene
from runner_lab.benchmarks.experiments.second_driver import drive
from runner_lab.flows.experiments.calls import WAIT_LIMIT_S, CachedCall, Seen
from runner_lab.records.findings import Judgement
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import RunnerSpec

SUITE = "equivalence"

EXPIRES_S = 8.0

SHARE = "Give the task a result_storage that every process reaches: a folder or a block of shared storage."
KEY = "Make the key from the task's parameters and its context alone."
FRESH = "Set cache_result_in_memory=False on the task."


def within_run(scene: Scene) -> None:
    seen = _visits(scene, [CachedCall(in_run=True), CachedCall(in_run=True)])
    scene.note(bodies=_bodies(scene), **saw(seen))


def judge_within_run(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["bodies"] == 1 and facts["states"] == ["Completed", "Cached"] and facts["values"][0] == facts["values"][1]:
        return Judgement("ok", "1 body for 2 calls")
    return Judgement("bad", _counted(facts), SHARE)


def across_runs(scene: Scene) -> None:
    seen = [one for _ in range(2) for one in _visits(scene, [CachedCall(lane=0), CachedCall(lane=1, in_run=True)])]
    scene.note(bodies=_bodies(scene, 0), bodies_in_run=_bodies(scene, 1), **saw(seen))


def judge_across_runs(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["bodies"] == 1 and facts["states"][2] == "Cached" and facts["bodies_in_run"] == 2:
        return Judgement("ok", "found by the next run; under the default policy run again")
    words = f"{number(facts['bodies'])} in 2 runs, {number(facts['bodies_in_run'])} under the default policy"
    return Judgement("bad", words, SHARE)


def second_process(scene: Scene) -> None:
    _second_driver(scene, {})


def second_home(scene: Scene) -> None:
    """Another home is another default storage, which is what another host has."""
    _second_driver(scene, {"PREFECT_HOME": str(folder(scene, "home"))})


def _second_driver(scene: Scene, variables: dict[str, str]) -> None:
    plan = [CachedCall(lane=0), CachedCall(lane=1, storage=str(folder(scene, "shared")))]
    seen = _visits(scene, plan)
    address = scene.cluster.address if scene.cluster else None
    again = drive(scene.arm.name, address, plan, ledger(scene), scene.folder, variables)
    scene.note(
        bodies=_bodies(scene, 0),
        bodies_shared=_bodies(scene, 1),
        drivers=[os.getpid(), again[0]["driver"]],
        **saw([*seen, *again]),
    )


def judge_second_process(arm: RunnerSpec, facts: Facts) -> Judgement:
    if (facts["bodies"], facts["bodies_shared"]) == (1, 1):
        return Judgement("ok", "found in the default storage and in a shared folder")
    return Judgement("bad", _by_storage(facts), SHARE)


def judge_second_home(arm: RunnerSpec, facts: Facts) -> Judgement:
    if (facts["bodies"], facts["bodies_shared"]) == (2, 1):
        return Judgement("ok", "found in a shared folder; the default storage is each home's own: run again", SHARE)
    return Judgement("bad", _by_storage(facts), SHARE)


def expiry(scene: Scene) -> None:
    kept = CachedCall(expires_s=EXPIRES_S)
    seen = _visits(scene, [kept, kept, CachedCall(expires_s=EXPIRES_S, pause_s=EXPIRES_S)])
    ran = entries(scene, "stamp")
    scene.note(
        bodies=len(ran),
        expires_s=EXPIRES_S,
        between_s=[round(later.start_s - before.end_s, 2) for before, later in pairwise(ran)],
        **saw(seen),
    )


def judge_expiry(arm: RunnerSpec, facts: Facts) -> Judgement:
    expires_s, between_s = facts["expires_s"], facts["between_s"]
    if facts["states"] == ["Completed", "Cached", "Completed"] and between_s[0] >= expires_s:
        return Judgement("ok", f"kept for {expires_s:g} s, then run again")
    if facts["states"] == ["Completed"] * 3 and between_s[0] >= expires_s:
        return Judgement("unknown", "too slow: the second call came when the result had expired")
    return Judgement("bad", _counted(facts), SHARE)


def refresh(scene: Scene) -> None:
    seen = _visits(scene, [CachedCall(), CachedCall(refresh=True), CachedCall()])
    scene.note(bodies=_bodies(scene), **saw(seen))


def judge_refresh(arm: RunnerSpec, facts: Facts) -> Judgement:
    before, new, later = facts["values"]
    if facts["bodies"] != 2 or facts["states"] != ["Completed", "Completed", "Cached"]:
        return Judgement("bad", _counted(facts), SHARE)
    if later == new != before:
        return Judgement("ok", "run again, and the next call finds the new result")
    return Judgement("warn", "run again, and the next call still finds the result of before", FRESH)


def refreshed_elsewhere(scene: Scene) -> None:
    """While a flow run is on, another process puts a new result under the key that it has used."""
    done = scene.folder / "refreshed"
    elsewhere: list[dict[str, Any]] = []

    def refresh_there() -> None:
        last_within(lambda: _bodies(scene) > 0, WAIT_LIMIT_S)
        elsewhere.extend(drive("sequential", None, [CachedCall(refresh=True)], ledger(scene), scene.folder, {}))
        done.touch()

    other = threading.Thread(target=refresh_there)
    other.start()
    seen = _visits(scene, [CachedCall(), CachedCall(after=str(done))])
    other.join()
    scene.note(bodies=_bodies(scene), elsewhere=[one["value"] for one in elsewhere], **saw(seen))


def judge_refreshed_elsewhere(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["bodies"] != 2 or facts["states"] != ["Completed", "Cached"] or len(facts["elsewhere"]) != 1:
        return Judgement("unknown", _counted(facts))
    if facts["values"][1] == facts["elsewhere"][0]:
        return Judgement("ok", "the new result is found")
    return Judgement("warn", "the result of before is found: the flow run holds it in memory", FRESH)


def key_function(scene: Scene) -> None:
    from runner_lab.flows.experiments.equivalence import keyed

    seen = run(scene, keyed)
    keys = {held: entries(scene, f"key:{held}") for held in ("driver", "nothing")}
    scene.note(
        bodies=_bodies(scene),
        driver=os.getpid(),
        body_pids=sorted({entry.pid for entry in entries(scene, "stamp")}),
        key_pids=sorted({entry.pid for found in keys.values() for entry in found}),
        key_calls=sum(map(len, keys.values())),
        held=[held for held, found in keys.items() if found],
        **saw(seen),
    )


def judge_key_function(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["bodies"] != 1 or facts["states"] != ["Completed", "Cached"]:
        return Judgement("bad", _counted(facts), KEY)
    calls = f"{facts['key_calls']} calls for 2 task runs"
    if facts["key_pids"] == [facts["driver"]]:
        return Judgement("ok", f"in the flow's process, {calls}")
    if facts["driver"] in facts["key_pids"]:
        return Judgement("bad", f"in the flow's process and in a worker, {calls}", KEY)
    if facts["held"] == ["driver"]:
        return Judgement("ok", f"in the worker, {calls}")
    return Judgement("warn", f"in the worker, {calls}: what the flow's process holds is not there", KEY)


def _visits(scene: Scene, plan: Sequence[CachedCall]) -> list[Seen]:
    from runner_lab.flows.experiments.equivalence import visits

    seen: list[Seen] = run(scene, visits, list(plan))
    return seen


def _bodies(scene: Scene, lane: int | None = None) -> int:
    return len(entries(scene, "stamp", lane))


def _counted(facts: Facts) -> str:
    return f"{number(facts['bodies'])}; {', '.join([*facts['states'], *facts['errors']])}"


def _by_storage(facts: Facts) -> str:
    return f"{number(facts['bodies'])} with the default storage, {facts['bodies_shared']} with a shared folder"


EXPERIMENTS = (
    experiment("cache", "the same call twice in a run", within_run, judge_within_run),
    experiment("cache", "the same call in the next run", across_runs, judge_across_runs),
    experiment("cache", "the same call from a second process", second_process, judge_second_process),
    experiment("cache", "the same call from another Prefect home", second_home, judge_second_home),
    experiment("cache", "cache_expiration, before and after", expiry, judge_expiry),
    experiment("cache", "refresh_cache=True, then the same call", refresh, judge_refresh),
    experiment("cache", "refreshed by another process in mid-run", refreshed_elsewhere, judge_refreshed_elsewhere),
    experiment("cache", "where cache_key_fn runs", key_function, judge_key_function),
)
