"""Replays whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_lab.records.flow_profile import FlowProfile, Step, TaskProfile
from runner_lab.reports.model.costs import Costs, makespan_s
from runner_lab.reports.model.simulation import Handling, Replay, handed_bytes, replay
from tests.reports.profiles import FREE, THREADS, computes, profile, submits, waits


def seconds(of: FlowProfile, handling: Handling = FREE, slots: int = 2, cores: int = 2) -> float:
    return replay(of, handling, slots, cores).seconds


@pytest.mark.parametrize(("slots", "takes_s"), [(1, 10.0), (2, 5.0), (4, 3.0), (10, 1.0), (64, 1.0)])
def test_tasks_that_wait_take_as_many_rounds_as_the_slots_need(slots: int, takes_s: float) -> None:
    assert seconds(profile([waits(1.0)] * 10), THREADS, slots, cores=1) == pytest.approx(takes_s)


@pytest.mark.parametrize(
    ("handling", "gil", "cores", "takes_s"),
    [(THREADS, 1.0, 4, 8.0), (THREADS, 0.0, 4, 2.0), (THREADS, 0.0, 2, 4.0), (FREE, 1.0, 4, 2.0), (FREE, 1.0, 2, 4.0)],
)
def test_what_computes_shares_the_gil_of_one_process_and_the_cores_of_the_machine(
    handling: Handling, gil: float, cores: int, takes_s: float
) -> None:
    assert seconds(profile([computes(1.0, gil)] * 8), handling, 4, cores) == pytest.approx(takes_s, rel=1e-3)


def test_waiting_goes_on_beside_computing() -> None:
    runs = [computes(1.0), computes(1.0), *[waits(2.0)] * 6]
    assert seconds(profile(runs), THREADS, 8, cores=1) == pytest.approx(2.0, rel=1e-3)


def test_a_task_that_computes_on_many_cores_leaves_none_to_others() -> None:
    alone = profile([computes(8.0, 0.0, width=4.0)])
    assert seconds(alone, FREE, 4, cores=4) == pytest.approx(2.0, rel=1e-3)
    assert seconds(alone, FREE, 4, cores=2) == pytest.approx(4.0, rel=1e-3)
    together = profile([computes(8.0, 0.0, width=4.0)] * 4)
    assert seconds(together, FREE, 4, cores=4) == pytest.approx(8.0, rel=1e-3)


def test_a_task_begins_when_its_upstream_is_done() -> None:
    chain = [waits(1.0), waits(1.0, upstream=(0,)), waits(1.0, upstream=(1,)), waits(1.0)]
    assert seconds(profile(chain), slots=4) == pytest.approx(3.0)


def test_the_flows_own_code_and_handing_over_come_one_after_another() -> None:
    runs = [waits(0.0)] * 10
    assert seconds(profile(runs, submits(runs, own_s=0.3)), slots=4) == pytest.approx(3.0)
    assert seconds(profile(runs), replace(FREE, driver_s=0.2), slots=4) == pytest.approx(2.0)
    heavy = [replace(run, out_bytes=1e6) for run in runs]
    assert seconds(profile(heavy), replace(FREE, payload_s=1e-7), slots=4) == pytest.approx(1.0)


def test_a_result_that_goes_from_worker_to_worker_is_handed_over_once() -> None:
    chain = profile([waits(0.0, out_bytes=1e6), waits(0.0, arg_bytes=1e6, out_bytes=1e6, upstream=(0,))])
    by_flow = replace(FREE, payload_s=1e-6)
    assert handed_bytes(chain, by_flow) == (1e6, 2e6)
    assert seconds(chain, by_flow, slots=2) == pytest.approx(3.0)
    assert seconds(chain, replace(by_flow, through_flow=False), slots=2) == pytest.approx(2.0)


def test_a_direct_call_is_no_runners() -> None:
    calls = [waits(1.0, direct=True)] * 5
    steps = [Step("call", (place,)) for place in range(5)]
    for slots in (1, 8):
        assert seconds(profile(calls, steps), slots=slots) == pytest.approx(5.0)


def test_a_flow_that_waits_for_a_result_hands_the_next_task_over_afterwards() -> None:
    runs = [waits(1.0)] * 4
    steps = [step for place in range(4) for step in (Step("submit", (place,)), Step("wait", (place,)))]
    assert seconds(profile(runs, steps), slots=4) == pytest.approx(4.0)


def nested(outer: int, inner: int) -> FlowProfile:
    """Each of `outer` tasks hands on `inner` tasks of a second and waits for them."""
    runs: list[TaskProfile] = []
    for place in range(outer):
        own = tuple(outer + place * inner + k for k in range(inner))
        steps = (*(Step("submit", (run,)) for run in own), Step("wait", own))
        runs.append(TaskProfile("outer", attempts=1, lane=0, steps=steps))
    runs += [waits(1.0)] * (outer * inner)
    return profile(runs, [*(Step("submit", (place,)) for place in range(outer)), Step("wait", tuple(range(outer)))])


def test_tasks_that_wait_for_tasks_need_slots_for_them() -> None:
    assert seconds(nested(2, 2), slots=2) == math.inf
    assert seconds(nested(2, 2), slots=6) == pytest.approx(1.0)
    assert seconds(nested(2, 2), replace(FREE, lends=True), slots=2) == pytest.approx(2.0)


def test_tasks_of_a_task_may_have_a_pool_of_their_own() -> None:
    """As under processes: two pools of two slots each, which start first."""
    pools = replace(FREE, own_pools=True, pool_s=0.5)
    assert seconds(nested(2, 2), pools, slots=2) == pytest.approx(1.5)
    assert seconds(nested(2, 4), pools, slots=2) == pytest.approx(2.5)


def test_what_the_flow_awaits_takes_no_slot() -> None:
    awaited = [waits(1.0, direct=True, asynchronous=True)] * 50
    assert seconds(profile([*awaited, *[waits(1.0)] * 2]), slots=1) == pytest.approx(2.0)
    computing = [computes(0.1, direct=True, asynchronous=True)] * 20
    assert seconds(profile(computing), slots=8, cores=8) == pytest.approx(2.0, rel=1e-3)


def test_threads_of_the_flow_s_own_go_on_beside_each_other() -> None:
    runs = [waits(1.0, direct=True), waits(2.0, direct=True), waits(0.5)]
    threads = ((Step("call", (0,)), Step("submit", (2,)), Step("wait", (2,))), (Step("call", (1,)),))
    flow = profile(runs, [Step("threads", threads=threads), Step("own", wait_s=0.25)])
    assert seconds(flow, slots=1) == pytest.approx(2.25)


def test_the_server_works_beside_the_flow_and_its_core_is_missing() -> None:
    busy = profile([computes(1.0, 0.0)] * 4)
    with_server = replace(FREE, server_cpu_s=1.0)
    assert seconds(busy, with_server, 4, cores=5) == pytest.approx(1.0, rel=1e-3)
    assert seconds(busy, with_server, 4, cores=4) > 1.1
    # It is behind at the end, and nobody waits for it.
    assert seconds(profile([waits(0.1)]), replace(FREE, server_cpu_s=50.0), 1, 1) == pytest.approx(0.1)


def test_an_event_loop_has_a_slot_for_every_task_and_one_thread_for_what_computes() -> None:
    loop = replace(THREADS, event_loop=True)
    assert seconds(profile([waits(1.0)] * 500), loop, 1) == pytest.approx(1.0)
    assert seconds(profile([computes(0.1, 0.0)] * 20), loop, 1, cores=8) == pytest.approx(2.0, rel=1e-3)


def test_a_cached_result_has_no_body() -> None:
    cached = [TaskProfile("wait", wait_s=0.0)] * 3
    done = replay(profile([*cached, waits(1.0)]), FREE, 2, 2)
    assert done.seconds == pytest.approx(1.0)
    assert [bar.run for bar in done.bars] == [3]


def test_the_path_goes_by_what_the_end_waited_for_and_adds_up() -> None:
    runs = [waits(0.2), waits(2.0), waits(1.0, upstream=(1,)), waits(0.3)]
    done: Replay = replay(profile(runs), replace(FREE, driver_s=0.1), 4, 2)
    assert [run for run, _ in done.path] == [None, 1, 2]
    assert sum(spent for _, spent in done.path) == pytest.approx(done.seconds)


def test_bars_of_a_slot_do_not_overlap() -> None:
    done = replay(profile([waits(0.3 + 0.1 * (i % 5)) for i in range(40)]), FREE, 3, 2)
    lanes: dict[int | None, float] = {}
    for bar in sorted(done.bars, key=lambda bar: bar.start_s):
        assert bar.start_s >= lanes.get(bar.lane, 0.0) - 1e-9
        lanes[bar.lane] = bar.end_s
    assert set(lanes) == {0, 1, 2}


COSTS = Costs(
    driver_s=0.004,
    slot_s=0.02,
    cpu_s=0.012,
    server_cpu_s=0.01,
    fixed_s=0.0,
    fixed_cpu_s=0.0,
    payload_s=None,
    shares_gil=True,
    cold_s=None,
    server_tasks_per_s=None,
)


@pytest.mark.parametrize("kind", ["sleep", "spin", "crunch"])
@pytest.mark.parametrize("shares_gil", [True, False])
@pytest.mark.parametrize(("tasks", "body_s", "slots"), [(40, 0.5, 4), (100, 0.02, 4), (200, 0.3, 32), (30, 2.0, 2)])
def test_independent_tasks_take_what_the_cost_model_says(
    kind: str, shares_gil: bool, tasks: int, body_s: float, slots: int
) -> None:
    costs = replace(COSTS, shares_gil=shares_gil)
    body = waits(body_s) if kind == "sleep" else computes(body_s, 1.0 if kind == "spin" else 0.0)
    by_model = float(makespan_s(costs, tasks, tasks, body_s, kind, 0.0, slots, 2))
    by_replay = seconds(profile([body] * tasks), Handling.of(costs, None, lends=False), slots, 2)
    assert by_replay == pytest.approx(by_model, rel=0.15)


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30), st.integers(1, 8))
def test_no_flow_is_slower_for_more_slots_where_its_tasks_wait(bodies: list[float], slots: int) -> None:
    flow = profile([waits(body) for body in sorted(bodies, reverse=True)])
    assert seconds(flow, slots=2 * slots) <= seconds(flow, slots=slots) + 1e-9


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=20))
def test_no_flow_beats_its_cores_its_gil_or_its_longest_task(bodies: list[tuple[float, float, float]]) -> None:
    runs = [
        TaskProfile(f"t{i}", wait_s=wait, cpu_s=cpu, gil_s=gil * cpu, attempts=1, lane=0)
        for i, (wait, cpu, gil) in enumerate(bodies)
    ]
    took_s = seconds(profile(runs), THREADS, 64, cores=2)
    least_s = max(sum(run.cpu_s for run in runs) / 2, sum(run.gil_s for run in runs), max(run.alone_s for run in runs))
    assert took_s >= 0.97 * least_s - 1e-6
