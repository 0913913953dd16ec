"""What is advised for profiles that nobody has run, by the costs of a simulated machine."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from runner_lab.records.flow_profile import (
    OWN_PROCESSES,
    Crowding,
    FlowProfile,
    LimitUse,
    Step,
    Subflow,
    TaskProfile,
    ThreadPool,
)
from runner_lab.records.traits import ArmTraits
from runner_lab.reports.advise import advice, prediction, remedies
from runner_lab.reports.advise.advice import Advice
from runner_lab.reports.advise.prediction import KEPT, CannotAdviseError, FlowPrediction, Target, predict
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.charts.timeline import Stretch, colours, timeline
from runner_lab.reports.pages import advise_page
from tests.reports import machine, synthetic
from tests.reports.profiles import computes, profile, submits, waits


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    lines = [*machine.records(), *machine.records([machine.GATHER], workers=1)]
    plan = synthetic.plan(lines, traits={"gather": ArmTraits(5, event_loop=True)})
    return summarise(synthetic.write(tmp_path_factory.mktemp("machine"), lines, plan))


def advised(summary: Summary, of: FlowProfile, target: Target | None = None) -> Advice:
    prediction = predict(summary, of, target or Target())
    return advice.advise(
        summary,
        prediction,
        {one.arm: f"Runner(max_workers={one.slots})" for one in prediction.ranked},
        {one.arm: "from runners import Runner" for one in prediction.ranked},
    )


def by_arm(prediction: FlowPrediction) -> dict[str, float]:
    return {one.arm: one.seconds for one in prediction.ranked}


def test_waiting_tasks_want_threads_and_many_slots(summary: Summary) -> None:
    named = predict(summary, profile([waits(0.3)] * 300), Target()).named
    assert named.arm in ("threads", "lean-threads")
    assert named.slots >= 16
    assert named.low < named.seconds < named.high


def test_computing_under_the_gil_wants_processes_of_any_kind(summary: Summary) -> None:
    named = predict(summary, profile([computes(2.0)] * 60, cores=8), Target()).named
    assert named.engine in ("processes", "dask", "ray")
    assert named.slots >= 2


def test_a_short_flow_is_told_what_to_take_on_workers_that_are_up(summary: Summary) -> None:
    flow = profile([computes(1.0)] * 6)
    advised_cold = advised(summary, flow)
    prediction = advised_cold.prediction
    warm = predict(summary, flow, Target(cold=False)).named
    assert prediction.named.engine in ("none", "threads")
    assert (prediction.named_warm.arm, prediction.named_warm.slots) == (warm.arm, warm.slots)
    line = f"On workers that are already up: {warm.arm} with {warm.slots} slots, "
    assert any(told.startswith(line) for told in advice.words(advised_cold))
    assert advice.data(advised_cold)["named_warm"]["arm"] == warm.arm
    assert not any("already up" in told for told in advice.words(advised(summary, flow, Target(cold=False))))


def test_the_line_to_change_comes_with_its_import(summary: Summary) -> None:
    found = advised(summary, profile([computes(2.0)] * 60))
    named = found.prediction.named
    words = advice.words(found)
    assert words[1] == f"Change one line: @flow(task_runner=Runner(max_workers={named.slots}))"
    assert words[2] == "Import it: from runners import Runner"
    assert advice.data(found)["named"]["import"] == "from runners import Runner"


def test_what_the_flow_imports_every_process_imports_once(summary: Summary) -> None:
    light, heavy = (profile([computes(1.0)] * 8, import_s=seconds) for seconds in (0.0, 3.0))
    before, after = ({one.arm: one for one in predict(summary, flow, Target()).ranked} for flow in (light, heavy))
    assert after["threads"].seconds == before["threads"].seconds
    # A stock pool starts in every flow run; a cluster is up or is not.
    assert after["processes"].warm_s - before["processes"].warm_s == pytest.approx(3.0)
    assert after["dask"].warm_s == before["dask"].warm_s
    assert after["dask"].seconds - before["dask"].seconds == pytest.approx(3.0)


def test_async_tasks_under_stock_threads_load_the_ca_bundle_each(summary: Summary) -> None:
    """So do the other tasks of an async flow: one after another, under the GIL."""
    for flow in (
        profile([waits(0.1, asynchronous=True)] * 50, client_s=0.1),
        profile([waits(0.1)] * 50, client_s=0.1, asynchronous=True),
    ):
        found = {one.arm: one.warm_s for one in predict(summary, flow, Target(cold=False)).ranked}
        assert found["threads"] > 50 * 0.1
        assert found["lean-threads"] < 0.5 * found["threads"]
    sync = {one.arm: one.warm_s for one in predict(summary, profile([waits(0.1)] * 50, client_s=0.1), Target()).ranked}
    assert sync["threads"] < 50 * 0.1


@pytest.mark.parametrize(
    ("run", "remedies"),
    [
        (waits(0.3), []),
        (computes(2.0), ["compute computes for 80.0 s in the flow's event loop, one run at a time: submit it under "]),
    ],
)
def test_a_flow_that_awaits_its_tasks_uses_no_runner_as_it_is(
    summary: Summary, run: TaskProfile, remedies: list[str]
) -> None:
    awaited = [replace(run, direct=True, asynchronous=True)] * 40
    found = advised(summary, profile(awaited, submits(awaited), asynchronous=True, cores=8))
    begins = "No runner makes it faster: the flow awaits its tasks, and submits none ("
    assert advice.words(found)[0].startswith(begins)
    assert len(found.remedies) == len(remedies), found.remedies
    assert all(one.what.startswith(begin) for one, begin in zip(found.remedies, remedies, strict=True))
    times = {one.arm: one.replay.seconds for one in found.prediction.ranked}
    assert times["processes"] == pytest.approx(times["threads"], rel=0.05)


def test_the_flow_s_own_runner_stays_where_another_is_hardly_faster(summary: Summary) -> None:
    """The longer its tasks, the closer Dask is to the fastest."""
    leads = {}
    for seconds in (0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        found = predict(summary, profile([computes(seconds)] * 8, engine="dask"), Target(cold=False))
        own = next(one for one in found.ranked if one.arm == "dask")
        lead = own.seconds / min(one.seconds for one in found.ranked)
        leads[lead] = found.named.arm
    assert {arm for lead, arm in leads.items() if lead <= KEPT} == {"dask"}
    assert "dask" not in {arm for lead, arm in leads.items() if lead > KEPT}
    assert min(leads) < KEPT < max(leads)


def test_memory_is_that_of_the_flow_and_of_as_many_tasks_as_go_on(summary: Summary) -> None:
    """Fifty threads that hold 20 MB each are two in two slots."""
    runs = [waits(1.0, out_bytes=1e6)] * 50
    flow = profile(runs, base_bytes=150e6, peak_bytes=150e6 + 50e6 + 50 * 20e6, import_bytes=30e6)

    def needs(arm: str, slots: int) -> float:
        found = next(one for one in predict(summary, flow, Target()).usual if one.arm == arm)
        return prediction._memory_bytes(summary, found.model, flow, slots) or 0.0

    assert needs("threads", 50) - needs("threads", 2) == pytest.approx(48 * 20e6)
    # Each slot's process imports what the flow does.
    assert needs("processes", 4) - needs("processes", 2) == pytest.approx(needs("processes", 2) - 200e6)


def test_task_runs_that_nobody_is_seen_to_start_are_told(summary: Summary) -> None:
    runs = [waits(1.0), waits(1.0), waits(1.0)]
    threads = ((Step("submit", (1,)),),)
    found = profile(runs, [Step("submit", (0,)), Step("threads", threads=threads), Step("wait", (0, 1))])
    words = "\n".join(advice.words(advised(summary, found)))
    assert "Check: 1 task run of 3 began where nothing is noted" in words
    assert "nothing is noted" not in "\n".join(advice.words(advised(summary, profile(runs))))


def test_the_runner_goes_to_the_flow_that_submits(summary: Summary) -> None:
    """A sub-flow's tasks run under its own runner."""
    runs = [computes(2.0, flow="region"), *[computes(2.0, flow="region")] * 19]
    words = advice.words(
        advice.advise(summary, predict(summary, profile(runs, cores=4), Target()), {"lean-dask": "Lean()"})
    )
    assert "Change one line of region: @flow(task_runner=Lean())" in words


def test_what_limits_of_the_user_s_server_allow_is_told(summary: Summary) -> None:
    def told(limits: dict[str, LimitUse], tags: dict[str, LimitUse] | None = None) -> list[str]:
        words = advice.words(advised(summary, profile([waits(0.3)] * 20, limits=limits, tags=tags or {})))
        return [line for line in words if "your server" in line]

    tags = {"etl": LimitUse(slots=20, held_s=6.0)}
    assert told({}) == []
    assert told({}, tags) == ["If your server limits the tag etl to N task runs, no runner can go below 6.00 s / N."]
    assert told({"db": LimitUse(20, 12.0)}, tags) == [
        "Limit db: held for 12.0 s in all. Where your server gives N slots, no runner can go below 12.0 s / N."
    ]
    assert told({"api": LimitUse(50, 0.0)}) == [
        "Rate limit api: 50 slots taken. Where your server gives N a second, no runner can go below 50 / N seconds."
    ]


def test_crowded_threads_compute_longer_and_others_do_not(summary: Summary) -> None:
    flow = profile([computes(1.0)] * 20)
    slower = profile([computes(1.0)] * 20, crowding={"compute": Crowding(few=2, many=20, cpu=1.5)})
    plain, crowded = (predict(summary, one, Target(cold=False)) for one in (flow, slower))
    before, after = ({one.arm: one.warm_s for one in found.usual} for found in (plain, crowded))
    # Threads have no limit where nobody sets one, and processes a slot a core.
    assert after["threads"] == pytest.approx(1.5 * before["threads"], rel=0.1)
    assert after["processes"] == before["processes"]
    assert crowded.yours is not None
    assert crowded.yours.warm_s == pytest.approx(after["threads"], rel=0.05)
    told = " ".join(advice.words(advised(summary, slower)))
    assert "where compute computes 1.50x as long as in few threads" in told


def test_tasks_that_wait_for_each_others_service_wait_less_in_fewer_slots(summary: Summary) -> None:
    """Fifty at a time wait 5 s each, eight 0.8 s: two hardly wait at all, in whatever process."""
    known = Crowding(few=8, many=50, wait=5.0 / 0.8)
    contended = profile([waits(0.8)] * 50, crowding={"wait": known})
    found = {one.arm: one.warm_s for one in predict(summary, contended, Target(cold=False)).usual}
    apart = {one.arm: one.warm_s for one in predict(summary, profile([waits(5.0)] * 50), Target(cold=False)).usual}
    assert found["threads"] == pytest.approx(apart["threads"], rel=0.1)
    assert found["lean-dask"] < 0.1 * apart["lean-dask"]


def test_computing_without_the_gil_is_done_by_threads(summary: Summary) -> None:
    named = predict(summary, profile([computes(1.0, 0.0)] * 20), Target()).named
    assert named.engine == "threads"


def test_more_cores_on_the_machine_asked_about_are_used(summary: Summary) -> None:
    flow = profile([computes(2.0)] * 200)
    here, there = predict(summary, flow, Target()), predict(summary, flow, Target(cores=16))
    assert by_arm(there)["lean-dask"] < 0.3 * by_arm(here)["lean-dask"]
    spread = predict(summary, flow, Target(cores=16, hosts=4))
    assert by_arm(spread)["lean-dask"] < by_arm(there)["lean-dask"]
    # A pool of processes stays on the flow's host.
    assert by_arm(spread)["processes"] == pytest.approx(by_arm(there)["processes"])


def test_a_start_from_nothing_counts_unless_it_is_not_asked_for(summary: Summary) -> None:
    flow = profile([computes(0.5)] * 20)
    cold, warm = predict(summary, flow, Target()), predict(summary, flow, Target(cold=False))
    assert by_arm(cold)["dask"] > by_arm(warm)["dask"] + 2.0
    one = next(one for one in cold.ranked if one.arm == "dask")
    assert one.seconds == pytest.approx(one.warm_s + one.start_s)


def test_an_event_loop_is_for_flows_whose_tasks_are_all_async(summary: Summary) -> None:
    some = profile([waits(0.3, asynchronous=True), waits(0.3)] * 20)
    every = profile([waits(0.3, asynchronous=True)] * 40)
    assert "gather" not in by_arm(predict(summary, some, Target()))
    assert "gather" in by_arm(predict(summary, every, Target()))


def test_what_was_measured_is_held_against_its_own_replay(summary: Summary) -> None:
    flow = profile([waits(0.3)] * 10, wall_s=9.0, fn_s=8.9)
    told = advised(summary, flow)
    assert told.prediction.yours.arm == "threads"
    assert any(line.startswith("Check: replayed under its own runner") for line in advice.words(told))
    replayed_s = told.prediction.yours.replay.seconds
    for wall_s, start in ((replayed_s + 0.3, False), (replayed_s + 30.3, True)):
        words = advice.words(advised(summary, replace(flow, wall_s=wall_s, fn_s=replayed_s)))
        assert not any(line.startswith("Check:") for line in words), "starting a cluster is no part of the replay"
        assert any("(30.0 s of it to start and stop that)" in line for line in words) is start


def test_processes_that_start_within_the_flow_are_part_of_the_replay(summary: Summary) -> None:
    flow = profile([computes(0.5)] * 8, engine="processes", runner="ProcessPoolTaskRunner", slots=2)
    yours = predict(summary, flow, Target()).yours
    assert yours is not None
    assert yours.pool_s > 1.0
    ran_s = yours.replay.seconds + yours.pool_s
    words = advice.words(advised(summary, replace(flow, wall_s=ran_s + 0.2, fn_s=ran_s)))
    assert not any(line.startswith("Check:") for line in words)


def test_a_few_slots_more_that_save_little_are_no_reason_to_change(summary: Summary) -> None:
    flow = profile([waits(0.5)] * 60, runner="LeanThreadPoolTaskRunner", wall_s=2.0, fn_s=1.9)
    named = predict(summary, flow, Target(cold=False)).named
    assert named.arm == "lean-threads"
    for slots, kept in ((named.slots, True), (59, True), (5, False)):
        words = advice.words(advised(summary, replace(flow, slots=slots), Target(cold=False)))
        assert words[0].startswith("Keep LeanThreadPoolTaskRunner") is kept


def test_what_would_hang_has_no_time_from_a_cold_start_either(summary: Summary) -> None:
    """A whole number of heartbeats is none of an infinite time."""
    inner = [(Step("submit", (place,)), Step("wait", (place,))) for place in (2, 3)]
    runs = [*(TaskProfile("outer", attempts=1, lane=0, steps=steps) for steps in inner), waits(0.5), waits(0.5)]
    flow = profile(runs, [Step("submit", (0,)), Step("submit", (1,)), Step("wait", (0, 1))])
    model = replace(
        summary.model,
        arms=tuple(replace(found, costs=replace(found.costs, heartbeat_s=1.0)) for found in summary.model.arms),
    )
    assert all(math.isfinite(one.seconds) for one in predict(replace(summary, model=model), flow, Target()).ranked)


def test_a_flow_that_calls_its_tasks_is_told_so_and_what_submitting_them_would_save(summary: Summary) -> None:
    calls = [waits(1.0, direct=True, where="etl.py:31")] * 8
    told = advised(summary, profile(calls, [Step("call", (i,), where="etl.py:31") for i in range(8)]))
    words = advice.words(told)
    assert any(line.startswith("No runner makes it faster") for line in words)
    assert any("called directly, 8 times at etl.py:31" in line and "Saves" in line for line in words)
    assert 5.0 < told.remedies[0].saves_s < 8.0


def test_small_tasks_are_put_together(summary: Summary) -> None:
    told = advised(summary, profile([computes(0.0005)] * 2000))
    batch = next(remedy for remedy in told.remedies if "Batch" in remedy.what)
    assert batch.saves_s > 0.3 * told.prediction.named.warm_s
    assert not [r for r in advised(summary, profile([computes(2.0)] * 40)).remedies if "Batch" in r.what]


def test_batches_that_only_make_a_flow_slower_are_not_told(summary: Summary) -> None:
    """A few tasks at a time, one group after another: put together, they wait one after another."""
    groups = [range(start, start + 8) for start in range(0, 24, 8)]
    steps = [step for group in groups for step in (*(Step("submit", (i,)) for i in group), Step("wait", tuple(group)))]
    flow = profile([waits(0.02)] * 24, steps)
    told = advised(summary, flow, Target(cold=False))
    saved_s = (
        told.prediction.named.replay.seconds - told.prediction.under_named(remedies.batched(flow, "wait", 5)).seconds
    )
    assert saved_s < 0, "or this shows nothing"
    assert not [remedy for remedy in told.remedies if "Batch" in remedy.what]


def test_what_prefect_waits_at_the_end_of_a_first_flow_run_is_told(summary: Summary) -> None:
    told = advised(summary, profile([waits(0.1)] * 4))
    named = told.prediction.named
    ends_s = named.warm_s + (named.start_s or 0.0)
    for more_s, said in ((0.0, False), (ends_s, True)):
        rest = told.prediction.ranked[1:]
        late = replace(told.prediction, ranked=(replace(named, seconds=ends_s + more_s), *rest), yours=None)
        words = " ".join(advice.words(replace(told, prediction=late)))
        assert ("that Prefect waits at the end of a first flow run" in words) is said


def test_large_results_that_go_through_the_driver_are_told(summary: Summary) -> None:
    flow = profile([computes(5.0, out_bytes=2e8)] * 20, cores=8)
    told = advised(summary, flow)
    way = "through the flow's process" if told.prediction.handling.through_flow else "from worker to worker"
    moved = [remedy for remedy in told.remedies if f"go {way}" in remedy.what]
    assert bool(moved) == bool(told.prediction.handling.payload_s)


def test_long_lists_cost_what_prefect_takes_to_go_through_their_items(summary: Summary) -> None:
    """Twice where the body runs; and in the flow's process, before that, where it runs elsewhere."""
    long, short = profile([waits(0.1, walk_s=0.5)] * 10), profile([waits(0.1)] * 10)
    after, before = (
        {one.arm: one.warm_s for one in predict(summary, flow, Target(cold=False)).usual} for flow in (long, short)
    )
    assert after["threads"] - before["threads"] == pytest.approx(10 * 2 * 0.5, abs=0.3)
    # The flow goes through one task's items while the task before it goes on.
    assert 10 * 0.5 <= after["processes"] - before["processes"] < 10 * 2 * 0.5
    assert after["dask"] - before["dask"] == pytest.approx(10 * 2 * 0.5, abs=1.5)
    assert after["lean-dask"] - before["lean-dask"] < after["dask"] - before["dask"]

    chained = [*[waits(0.1)] * 10, *(waits(0.1, walk_s=0.5, upstream=(i,)) for i in range(10))]
    later = {one.arm: one.warm_s for one in predict(summary, profile(chained), Target(cold=False)).usual}
    assert later["threads"] - before["threads"] == pytest.approx(10 * 0.5, abs=1.0)

    (remedy,) = [remedy for remedy in advised(summary, profile(chained)).remedies if "every item" in remedy.what]
    assert "quote" not in remedy.what, "what comes by a future cannot be quoted"

    told = advised(summary, long)
    (remedy,) = [remedy for remedy in told.remedies if "every item of what wait takes, 500 ms" in remedy.what]
    assert "quote(...), or hand on" in remedy.what
    assert remedy.saves_s is not None
    assert remedy.saves_s > 0.5 * told.prediction.named.warm_s
    assert told.split.prefect > 0.5


def test_arguments_that_are_hashed_for_a_cache_key_cost_that_under_every_runner(summary: Summary) -> None:
    hashed, plain = profile([waits(0.05, key_s=0.2)] * 20), profile([waits(0.05)] * 20)
    after, before = ({one.arm: one.warm_s for one in predict(summary, f, Target()).usual} for f in (hashed, plain))
    assert after["threads"] - before["threads"] == pytest.approx(20 * 0.2, abs=0.3), "under the GIL"
    assert after["processes"] - before["processes"] == pytest.approx(20 * 0.2 / 2, abs=0.3)
    (remedy,) = [remedy for remedy in advised(summary, hashed).remedies if "NO_CACHE" in remedy.what]
    assert "hashes what wait takes for a cache key, 200 ms each time" in remedy.what
    assert not any("NO_CACHE" in remedy.what for remedy in advised(summary, plain).remedies)


def test_a_future_among_the_arguments_costs_stock_threads_a_request_and_a_kept_result_costs_all(
    summary: Summary,
) -> None:
    def warm(**more: float) -> dict[str, float]:
        runs = [waits(0.01, **more) for _ in range(100)]
        flow = profile(runs, request_s=0.02, request_cpu_s=0.01)
        return {one.arm: one.warm_s for one in predict(summary, flow, Target(cold=False)).usual}

    plain, asking, keeping = warm(), warm(asks=1), warm(kept_s=0.02)
    assert asking["threads"] - plain["threads"] == pytest.approx(100 * 0.03, abs=0.3)
    assert {arm for arm in plain if asking[arm] > 1.02 * plain[arm]} == {"threads"}
    assert all(keeping[arm] > plain[arm] + 0.5 for arm in plain)


def test_short_bodies_leave_prefects_part_as_it_is_in_empty_tasks(summary: Summary) -> None:
    """Where a body takes a while, caches are cold for what Prefect does next."""
    for seconds, stirred in ((0.0, False), (0.1, True)):
        found = predict(summary, profile([waits(seconds)] * 300), Target(cold=False))
        costs = replace(found.named.model.costs, stirred=1.5)
        handling = replace(
            found, ranked=(replace(found.named, model=replace(found.named.model, costs=costs)),)
        ).handling
        assert handling.driver_s == pytest.approx((1.5 if stirred else 1.0) * costs.driver_s)


def test_libraries_whose_threads_are_too_many_are_named_with_the_variable(summary: Summary) -> None:
    flow = profile([computes(8.0, 0.0, width=4.0)] * 8, cores=8, pools=(ThreadPool("openblas", 8),))
    named = predict(summary, flow, Target()).named
    found = [remedy.what for remedy in advised(summary, flow).remedies if "OMP_NUM_THREADS" in remedy.what]
    assert bool(found) == (named.slots > 1)


def test_processes_that_tasks_keep_are_named_where_they_are_too_many(summary: Summary) -> None:
    flow = profile([computes(8.0, 0.0, width=4.0)] * 8, cores=8, pools=(ThreadPool(OWN_PROCESSES, 8),))
    named = predict(summary, flow, Target()).named
    found = [remedy.what for remedy in advised(summary, flow).remedies if "8 processes of their own" in remedy.what]
    assert bool(found) == (named.slots > 1)


def test_the_flows_own_code_is_told_where_it_is_most_of_the_time(summary: Summary) -> None:
    runs = [waits(0.1)] * 10
    told = advised(summary, profile(runs, submits(runs, own_s=0.5)))
    assert any("own code takes 5" in remedy.what for remedy in told.remedies)
    assert told.split.own > 0.7


def test_what_prefect_takes_for_sub_flows_is_no_code_of_the_flows(summary: Summary) -> None:
    steps = [Step("own", cpu_s=1.0, wait_s=4.0), *submits([waits(0.1)] * 4)]
    told = advised(summary, profile([waits(0.1)] * 4, steps, subflows={"region": Subflow(3, 4.5)}))
    assert [remedy.what for remedy in told.remedies] == [
        "Prefect takes 4.50 s for 3 runs of the sub-flow region, beyond what it does: call its function (region.fn), "
        "so that its tasks belong to this flow."
    ]
    assert told.split.prefect > 0.7
    assert told.split.own < 0.2


def test_tasks_that_wait_for_tasks_of_their_own_leave_out_what_would_hang(summary: Summary) -> None:
    steps = (Step("submit", (1,)), Step("wait", (1,)))
    runs = [TaskProfile("outer", attempts=1, lane=0, steps=steps), waits(0.5)]
    found = predict(summary, profile(runs, [Step("submit", (0,)), Step("wait", (0,))]), Target())
    assert all(math.isfinite(one.seconds) for one in found.ranked)
    assert "sequential" not in by_arm(found)


def test_a_run_without_a_model_cannot_advise(tmp_path) -> None:
    records = [record for record in machine.records(blocks=1) if record.suite == "startup"]
    with pytest.raises(CannotAdviseError, match="measure one with runner-lab run"):
        predict(summarise(synthetic.write(tmp_path / "thin", records)), profile([waits(1.0)]), Target())


def test_batches_keep_all_work_and_the_order_of_what_follows() -> None:
    runs = [*[computes(0.1)] * 7, waits(1.0, upstream=(0, 6))]
    put = remedies.batched(profile(runs), "compute", 3)
    assert [run.task for run in put.runs] == ["compute"] * 3 + ["wait"]
    assert sum(run.cpu_s for run in put.runs) == pytest.approx(0.7)
    assert put.runs[3].upstream == (0, 2)
    assert [step.runs for step in put.steps if step.kind == "submit"] == [(0,), (1,), (2,), (3,)]


def test_the_json_is_strict_and_has_what_choose_has(summary: Summary) -> None:
    data = json.loads(advice.to_json(advised(summary, profile([waits(0.3)] * 50))))
    assert {"arm", "slots", "seconds", "low", "high"} <= data["ranked"][0].keys()
    named = {key: data["ranked"][0][key] for key in ("arm", "slots", "code")}
    assert data["named"] == {**named, "import": "from runners import Runner"}


def test_the_words_fit_on_a_screen(summary: Summary) -> None:
    assert len(advice.words(advised(summary, profile([computes(0.0005)] * 500)))) <= 13


def test_the_page_shows_ten_thousand_runs_in_few_bytes_and_escapes_names(summary: Summary) -> None:
    hostile = replace(waits(0.2), task="<script>alert(1)</script>")
    runs = [replace(hostile, start_s=0.2 * (i // 64), end_s=0.2 * (i // 64) + 0.2, lane=i % 64) for i in range(10_000)]
    page = advise_page.html(advised(summary, profile(runs)))
    assert len(page) < 1_500_000
    assert "<script>alert" not in page
    assert page.count("<svg") == 2


def test_a_time_line_has_a_row_for_each_slot_and_joins_what_no_pixel_tells_apart() -> None:
    shades = colours(["a", "b"])
    short = [Stretch("a", 0, i * 0.001, (i + 1) * 0.001) for i in range(10_000)]
    drawn = timeline("x", "title", [*short, Stretch("b", 1, 0.0, 10.0)], 10.0, shades)
    assert drawn.count("M") < 1000
    assert drawn.count("<path d=") >= 2
