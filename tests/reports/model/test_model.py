"""The cost model: terms that are known are found, and a machine that knows nothing of the model is predicted."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_lab.records.record import Record
from runner_lab.records.traits import ArmTraits
from runner_lab.reports.analysis.cells import build as build_cell
from runner_lab.reports.analysis.cells import collect
from runner_lab.reports.analysis.run import Arm, arms
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.model import costs, fitting
from runner_lab.reports.model.costs import Costs, Workload, bottleneck, makespan_s
from runner_lab.reports.model.judgement import spared
from runner_lab.reports.model.model import ArmModel
from tests.reports import machine, synthetic
from tests.reports.machine import RUNNERS, Runner, independent

TRUTH = Costs(
    driver_s=0.02,
    slot_s=0.09,
    cpu_s=0.03,
    server_cpu_s=0.01,
    fixed_s=0.4,
    fixed_cpu_s=0.3,
    payload_s=3e-8,
    shares_gil=False,
    cold_s=5.0,
    server_tasks_per_s=None,
    starts_slots=True,
    measured_slots=2,
)


def measured(costs: Costs, noise: float = 0.0, cells=machine.FULL, blocks: int = 3, workers: int = 2) -> list[Record]:
    """Records of one arm that costs exactly what the model says."""
    rng = np.random.default_rng(3)
    runner = Runner("dask", "dask", costs.driver_s, 0.0, 0.0, cold_s=1.0)
    out = []
    for record in machine.records([runner], cells, blocks=blocks, noise=0.0, workers=workers):
        width, work = record.graph.width, record.graph.work
        working, payload = width if work.seconds else 0, record.graph.payload_bytes * width
        time = float(
            makespan_s(costs, record.tasks, working, work.seconds, work.kind, payload, workers, machine.CORES)
        ) * float(np.exp(rng.normal(0, noise)))
        bodies = working * work.seconds if work.kind in ("spin", "crunch") else 0.0
        phases = synthetic.Phases(4.0, 4.3, costs.driver_s * record.tasks, time, 0.5, time + (costs.cold_s or 0.0))
        driver_cpu = 0.1 + costs.driver_s * record.tasks
        workers_cpu = costs.fixed_cpu_s - 0.1 + (costs.cpu_s - costs.driver_s) * record.tasks + bodies
        usage = synthetic.Usage(driver_cpu, workers_cpu, costs.server_cpu_s * record.tasks)
        out.append(synthetic.replace(record, phases=phases, usage=usage))
    return out


def cells_of(records: list[Record]):
    names = [arm.name for arm in arms(records, None)]
    return [build_cell(group, None) for group in collect(records, names).values()]


def fitted(records: list[Record]):
    return fitting.fit(arms(records, None)[0], cells_of(records), machine.CORES)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(synthetic.write(tmp_path_factory.mktemp("simulated"), machine.records()))


def test_every_term_that_the_cells_tell_is_found() -> None:
    costs = fitted(measured(TRUTH)).costs
    # The slots decide: two of them at 130 ms a task.
    assert costs.slot_s == pytest.approx(TRUTH.slot_s, rel=0.05)
    assert costs.driver_s == pytest.approx(TRUTH.driver_s, rel=0.3)
    assert costs.cpu_s == pytest.approx(TRUTH.cpu_s, rel=0.02)
    assert costs.server_cpu_s == pytest.approx(TRUTH.server_cpu_s, rel=0.02)
    assert costs.fixed_s == pytest.approx(TRUTH.fixed_s, rel=0.2)
    assert costs.fixed_cpu_s == pytest.approx(TRUTH.fixed_cpu_s, rel=0.05)
    assert costs.payload_s == pytest.approx(TRUTH.payload_s, rel=0.15)
    assert costs.cold_s == pytest.approx(5.0, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(
    slot=st.floats(0.002, 0.3),
    driver=st.floats(0.0001, 0.05),
    fixed=st.floats(0.01, 10),
    payload=st.floats(1e-9, 1e-7),
)
def test_what_was_fitted_is_predicted(slot: float, driver: float, fixed: float, payload: float) -> None:
    truth = synthetic.replace(
        TRUTH, slot_s=slot, driver_s=driver, cpu_s=driver + 0.8 * slot, fixed_s=fixed, payload_s=payload
    )
    records = measured(truth)
    found = fitted(records)
    for cell in cells_of(records):
        if fitting.usable(cell):
            expected = fitting.graph_s(found.costs, cell.graph, 2, found.cores)
            assert expected == pytest.approx(cell.time_s.value, rel=0.1), cell.graph.id


@settings(max_examples=40, deadline=None)
@given(
    tasks=st.integers(1, 5000),
    seconds=st.floats(1e-3, 60),
    slots=st.integers(1, 64),
    cores=st.sampled_from([1, 2, 4, 16, 64]),
)
def test_slots_that_are_processes_are_never_held_by_a_gil(tasks: int, seconds: float, slots: int, cores: int) -> None:
    work = Workload.of_items(tasks, seconds, "spin")
    assert bottleneck(synthetic.replace(TRUTH, shares_gil=False), work, slots, cores) != "gil"


def test_which_slots_share_a_gil_is_the_engines_to_say(simulated: Summary) -> None:
    shares = {found.arm.name: found.costs.shares_gil for found in simulated.model.arms}
    assert {name for name, yes in shares.items() if yes} == {"sequential", "threads", "lean-threads"}


@pytest.fixture(scope="module")
def looped() -> ArmModel:
    """The model of a simulated event loop."""
    found = arms(machine.records([machine.GATHER], machine.QUICK, workers=1), None)[0]
    arm = synthetic.replace(found, workers=1, told=ArmTraits(rank=5, slots_share_gil=True, event_loop=True))
    cells = cells_of(machine.records([machine.GATHER], machine.QUICK, workers=1))
    return fitting.fit(arm, [cell for cell in cells if cell.arm == arm.name], machine.CORES)


@pytest.mark.parametrize(("kind", "seconds"), [("sleep", 0.3), ("spin", 0.1), ("crunch", 0.1)])
@pytest.mark.parametrize("tasks", [20, 200])
def test_an_event_loop_has_a_slot_for_every_task_that_waits_and_one_thread_for_computing(
    looped: ArmModel, kind: str, seconds: float, tasks: int
) -> None:
    truth, _, _ = machine.makespan_s(machine.GATHER, independent(tasks, seconds, kind), workers=1)
    predicted = looped.predict(Workload.of_items(tasks, seconds, kind))
    assert predicted.seconds == pytest.approx(truth, rel=0.15)
    assert predicted.low <= truth <= predicted.high
    assert looped.predict(Workload.of_items(tasks, seconds, kind), workers=2) == predicted, "no number limits it"


def test_what_decides_under_an_event_loop_is_its_thread_or_the_wait_and_never_a_slot_or_the_gil(
    looped: ArmModel,
) -> None:
    def decides(tasks: int, seconds: float, kind: str) -> str:
        return bottleneck(looped.costs, Workload.of_items(tasks, seconds, kind), looped.slots(None), looped.cores)

    assert decides(20, 5.0, "sleep") == "body"
    assert decides(5000, 0.1, "sleep") == "loop"
    assert decides(20, 1.0, "spin") == decides(20, 1.0, "crunch") == "loop"


@settings(max_examples=60, deadline=None)
@given(
    shares=st.booleans(),
    tasks=st.integers(1, 5000),
    seconds=st.floats(0, 60),
    slots=st.integers(1, 64),
    cores=st.sampled_from([1, 2, 4, 16, 64]),
)
def test_more_slots_never_slow_tasks_that_wait(
    shares: bool, tasks: int, seconds: float, slots: int, cores: int
) -> None:
    costs = synthetic.replace(TRUTH, shares_gil=shares, pool_in_run=False)
    shape = (tasks, tasks, seconds, "sleep", 0.0)
    fewer, more = (float(makespan_s(costs, *shape, n, cores)) for n in (slots, 2 * slots))
    assert more <= fewer * (1 + 1e-9)


def test_terms_are_never_negative() -> None:
    for seed in range(10):
        records = machine.records(RUNNERS[1:2], blocks=1, noise=0.5, seed=seed)
        found = fitting.fit(arms(records, None)[0], cells_of(records), machine.CORES)
        costs = found.costs
        assert min(costs.slot_s, costs.fixed_s, costs.driver_s, costs.cpu_s, costs.payload_s) >= 0
        assert np.isfinite(found.predict(Workload(10**6, 10**6, 1.0, "spin", 1e9)).high)


def test_other_numbers_of_workers_belong_to_the_same_runner() -> None:
    two = measured(TRUTH)
    four = [synthetic.replace(r, graph=synthetic.graph(64), tasks=193) for r in measured(TRUTH, workers=4)[:1]]
    time = float(makespan_s(TRUTH, 193, 0, 0.0, "none", 0.0, 4, machine.CORES))
    four = [
        synthetic.replace(r, cold=False, suite="worker_scaling", phases=synthetic.replace(r.phases, makespan_s=time))
        for r in four
    ]
    found = fitted([*two, *four])
    assert found.reach.worker_counts == (2, 4)
    assert found.reach.tasks == 193


def test_a_batch_is_one_longer_body() -> None:
    cell = ("batching", synthetic.graph(6, kind="sleep", seconds=0.02, batch=10))
    records = machine.records([RUNNERS[1]], [*machine.FULL, cell], blocks=1)
    built = next(c for c in cells_of(records) if c.suite == "batching")
    assert built.graph.body_s == pytest.approx(0.2)
    assert built.graph.id == "plain-w6-sleep20ms-b10"


@pytest.mark.parametrize("cells", [(), machine.FULL[:1], machine.FULL[1:2]])
def test_one_size_is_no_model(cells) -> None:
    records = measured(TRUTH, cells=[*cells, ("startup", synthetic.graph(2))])
    assert fitted(records) is None


def test_records_without_cpu_seconds_or_cores_still_fit() -> None:
    records = [synthetic.replace(r, usage=synthetic.Usage()) for r in measured(TRUTH)]
    found = fitted(records)
    assert found.cores is None
    assert found.costs.slot_s > 0


def test_only_graphs_that_can_be_spared_are_kept_out() -> None:
    cells = [c for c in cells_of(measured(TRUTH)) if fitting.usable(c)]
    assert len(spared(cells)) == 12
    two_widths = [c for c in cells if c.graph.work.seconds or c.graph.payload_bytes or c.graph.width in (4, 48)]
    assert {g.width for g in spared(two_widths) if not g.work.seconds and not g.payload_bytes} == set()
    one_spin = [c for c in cells if c.graph.work.kind != "spin" or c.graph.work.seconds == 0.5]
    assert [g.work.seconds for g in spared(one_spin) if g.work.kind == "spin"] == [0.5]


def test_held_out_cells_of_a_machine_that_knows_no_model_are_predicted(simulated: Summary) -> None:
    model = simulated.model
    assert len(model.held_out) == 12 * len(RUNNERS)
    assert model.median_error <= 0.05
    assert model.judged == 12
    assert model.named >= 11
    assert not model.skipped
    assert {m.arm.name for m in model.arms} == {r.name for r in RUNNERS}


@pytest.mark.slow
def test_noise_leaves_the_model_within_its_target(tmp_path: Path) -> None:
    named = of = 0
    for seed in range(2):
        records = machine.records(blocks=7, noise=0.1, seed=seed)
        model = summarise(synthetic.write(tmp_path / str(seed), records)).model
        assert model.median_error <= 0.15
        named, of = named + model.named, of + model.judged
    assert named >= 0.95 * of


@pytest.mark.parametrize("kind", ["sleep", "spin"])
@pytest.mark.parametrize(("tasks", "seconds"), [(20, 0.5), (200, 0.05), (600, 0.01)])
def test_intervals_hold_for_work_unlike_the_measured_graph(
    simulated: Summary, kind: str, tasks: int, seconds: float
) -> None:
    """Independent tasks, four times as many as were measured; seven arms, of which one may miss."""
    missed = []
    for runner in RUNNERS:
        predicted = simulated.model.arm(runner.name).predict(Workload.of_items(tasks, seconds, kind))
        truth, _, _ = machine.makespan_s(runner, independent(tasks, seconds, kind))
        if not predicted.low <= truth <= predicted.high:
            missed.append(runner.name)
        assert predicted.seconds == pytest.approx(truth, rel=0.25), runner.name
    assert len(missed) <= 1, missed


def test_a_term_that_no_cell_tells_is_not_taken_for_exact() -> None:
    """The driver decides every cell, so that what a task holds its slot for is hidden."""
    empty = [cell for cell in machine.FULL if cell[0] == "overhead"]
    slow_driver = synthetic.replace(TRUTH, driver_s=0.5, slot_s=0.01, cpu_s=0.51)
    found = fitted(measured(slow_driver, noise=0.02, cells=empty))
    hidden = found.names.index("slot_s")
    assert math.sqrt(found.covariance[hidden][hidden]) >= 0.5


def test_a_prediction_worth_nothing_still_has_two_ends(simulated: Summary) -> None:
    hopeless = synthetic.replace(simulated.model.arm("dask"), misfit=1e4)
    predicted = hopeless.predict(Workload.of_items(10, 1.0, "sleep"))
    assert 0 < predicted.low < predicted.seconds < predicted.high < math.inf


def test_the_interval_widens_with_what_is_not_known(simulated: Summary) -> None:
    found = simulated.model.arm("dask")
    near, far = (found.predict(Workload.of_items(n, 0.01, "sleep")) for n in (100, 100_000))
    assert far.high / far.low >= near.high / near.low


def test_the_busiest_place_is_named() -> None:
    def busiest(work: Workload, workers: int = 2, **terms) -> str:
        return bottleneck(synthetic.replace(TRUTH, **terms), work, workers, 2)

    empty = Workload(100, 0, 0.0)
    assert busiest(empty, driver_s=1.0) == "submit"
    assert busiest(empty, slot_s=1.0) == "workers"
    assert busiest(empty, cpu_s=1.0) == "machine"
    assert busiest(Workload(100, 100, 1.0, "spin"), shares_gil=True) == "gil"
    assert busiest(Workload(100, 100, 1.0, "spin"), workers=16) == "machine"
    assert busiest(Workload(100, 100, 1.0, "crunch"), workers=16) == "machine"


def test_direct_calls_have_one_slot_whatever_is_asked(simulated: Summary) -> None:
    work = Workload.of_items(50, 0.1, "sleep")
    found = simulated.model.arm("sequential")
    assert found.predict(work, workers=64) == found.predict(work)
    assert isinstance(found.arm, Arm)


@pytest.mark.parametrize(
    ("tasks", "kind", "workers", "ideal_s"),
    [(4, "sleep", 8, 0.2), (5, "sleep", 4, 0.4), (4, "spin", 8, 0.4), (3, "spin", 4, 0.3), (5, "spin", 2, 0.6)],
)
def test_ideal_is_that_of_the_records(simulated: Summary, tasks: int, kind: str, workers: int, ideal_s: float) -> None:
    """On two cores, as `records.graph` has it for a graph so wide."""
    found = simulated.model.arm("dask")

    assert found.ideal_s(Workload.of_items(tasks, 0.2, kind), workers) == pytest.approx(ideal_s)


HEARTS = synthetic.replace(TRUTH, cold_s=0.4, outside_s=0.1, heartbeat_s=1.0)


@given(seconds=st.floats(0.01, 100), longer=st.floats(1.0, 2.0))
def test_a_cold_flow_returns_at_a_heartbeat_and_never_before_its_last_result(seconds: float, longer: float) -> None:
    returns_s = float(costs.at_heartbeat_s(HEARTS, seconds))
    assert returns_s - HEARTS.outside_s == pytest.approx(round(returns_s - HEARTS.outside_s))
    assert seconds <= returns_s - HEARTS.outside_s < seconds + 1.0 + 1e-9

    usually_s = float(costs.usually_at_heartbeat_s(HEARTS, seconds))
    assert seconds * 0.9 <= usually_s - HEARTS.outside_s <= seconds * 1.1 + 1.0
    assert float(costs.usually_at_heartbeat_s(HEARTS, seconds * longer)) >= usually_s - 1e-9


def test_a_flow_without_heartbeats_returns_with_its_last_result() -> None:
    silent = synthetic.replace(HEARTS, heartbeat_s=0.0)
    assert float(costs.usually_at_heartbeat_s(silent, 2.3)) == pytest.approx(2.4)


def heard(makespan_s: float, start_s: float, outside_s: float) -> list[Record]:
    """A run of one arm whose cold start takes whole seconds of heartbeats."""
    runner = Runner("threads", "threads", 0.004, 0.0, 0.0, cold_s=0.1)
    out = []
    for record in machine.records([runner], machine.QUICK, blocks=1, noise=0.0):
        if record.cold and record.arm == "threads":
            last_s = 0.1 + start_s + makespan_s
            total_s = 0.1 + math.ceil(start_s + makespan_s) + outside_s
            phases = synthetic.Phases(last_s, last_s, 0.01, makespan_s, total_s - last_s, total_s)
            record = synthetic.replace(record, phases=phases)
        out.append(record)
    return out


def test_a_wait_for_the_heartbeat_is_no_start() -> None:
    """0.03 s of work took 1.1 s: a flow of 0.8 s takes no longer, and one of 1.2 s a second more."""
    [found] = [one for one in summarise_records(heard(0.03, 0.0, 0.0)).model.arms if one.arm.name == "threads"]
    assert found.costs.heartbeat_s == 1.0
    assert found.costs.cold_s == pytest.approx(0.0, abs=0.05)
    times = [found.predict(Workload(1, 1, body_s, "sleep"), cold=True).seconds for body_s in (0.1, 0.7, 1.3, 1.7)]
    assert times == pytest.approx([1.1, 1.1, 2.1, 2.1], abs=0.02)


def summarise_records(records: list[Record]) -> Summary:
    with TemporaryDirectory() as folder:
        return summarise(synthetic.write(Path(folder), records))


def test_work_between_makes_prefects_part_dearer_only_where_there_is_work() -> None:
    stirred = synthetic.replace(TRUTH, stirred=2.0)
    empty, short = (100, 0, 0.0, "none"), (100, 100, 0.0005, "sleep")

    def longer(work: tuple[int, int, float, str]) -> float:
        one, two = (float(makespan_s(c, *work[:3], work[3], 0, 2, machine.CORES)) for c in (TRUTH, stirred))
        return two / one

    assert longer(empty) == 1.0
    assert 1.0 < longer(short) < 1.2
    # 50 rounds of 0.5 s, and 0.09 s a task in two slots, twice.
    assert float(makespan_s(stirred, 100, 100, 0.5, "sleep", 0, 2, machine.CORES)) == pytest.approx(
        TRUTH.fixed_s + 50 * (0.5 + 2 * 0.09), rel=0.02
    )


def test_how_much_dearer_is_read_off_short_tasks() -> None:
    truth = synthetic.replace(TRUTH, stirred=1.8)
    records = measured(truth, cells=machine.QUICK)
    for place, record in enumerate(records):
        more = truth.prefect_factor(1.0 if record.graph.work.seconds else 0.0, record.graph.work.seconds) - 1.0
        workers_cpu_s = record.usage.workers_cpu_s + float(more) * truth.cpu_s * record.tasks
        records[place] = synthetic.replace(record, usage=synthetic.replace(record.usage, workers_cpu_s=workers_cpu_s))
    assert fitted(records).costs.stirred == pytest.approx(1.8, abs=0.15)


def test_the_servers_part_is_what_it_took_until_all_was_recorded() -> None:
    """While the flow ran it had no time for most of it."""
    records = [
        synthetic.replace(
            record,
            usage=synthetic.replace(record.usage, server_cpu_s=0.1, server_settled_cpu_s=0.25 + 0.03 * record.tasks),
        )
        for record in measured(TRUTH)
    ]
    found = fitted(records).costs
    assert (found.server_fixed_cpu_s, found.server_cpu_s) == pytest.approx((0.25, 0.03), rel=0.01)


@settings(max_examples=40, deadline=None)
@given(tasks=st.integers(10, 5000), seconds=st.floats(1.0, 60))
def test_long_cpu_tasks_take_their_cpu_and_nothing_for_being_counted_twice(tasks: int, seconds: float) -> None:
    tasks += tasks % 2
    found = float(makespan_s(TRUTH, tasks, tasks, seconds, "spin", 0, 2, 2))
    computing_s = tasks * (seconds + TRUTH.cpu_s)
    # Both cores are busy with it, and the server with its own part; or the slots are held for longer than that.
    assert (
        found
        <= TRUTH.fixed_s + max((computing_s + 0.01 * tasks) / 2, tasks / 2 * (seconds + TRUTH.slot_s)) * 1.01 + seconds
    )
