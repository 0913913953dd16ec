"""What gives way first: against terms that are known, and as a user asks for it."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import pytest

from runner_lab.records.record import Record
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.choose import capacity as capacities
from runner_lab.reports.choose import ranking
from runner_lab.reports.choose.capacity import SLOTS, TASKS, capacity
from runner_lab.reports.choose.ranking import Request
from tests.reports import machine, synthetic
from tests.reports.analysis import test_scale
from tests.reports.test_commands import typed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    return synthetic.write(tmp_path_factory.mktemp("run") / "quick", machine.records(blocks=3))


@pytest.fixture(scope="module")
def summary(run) -> Summary:
    return summarise(run)


def test_every_point_is_what_choose_says_there(summary):
    found = capacity(summary, 1.0, "sleep")
    assert {(point.tasks, point.slots) for point in found.points} == {(t, s) for t in TASKS for s in SLOTS}
    models = {m.arm.label: m for m in summary.model.arms}
    for point in found.points:
        request = Request(point.tasks, 1.0, "sleep", workers=point.slots, cores=max(point.slots, 2))
        assert point.seconds == pytest.approx(ranking.time_s(models[point.arm], request))
        rivals = [m for m in models.values() if m.arm.has_slots and not m.costs.event_loop]
        assert point.seconds <= ranking.AS_GOOD * min(ranking.time_s(m, request) for m in rivals) + 1e-9


def test_with_few_slots_the_slots_limit_and_with_many_the_driver(summary):
    """A second of waiting on 10 slots lets 10 tasks a second through, which every driver hands out."""
    points = {(point.tasks, point.slots): point for point in capacity(summary, 1.0, "sleep").points}
    assert points[10_000, 10].limit == "workers"
    assert points[10_000, 10].seconds == pytest.approx(1000, rel=0.1)
    assert capacity(summary, 0.001, "sleep").points[-1].limit == "submit"


def test_what_a_driver_feeds_comes_from_its_terms(summary):
    ceilings = {one.arm: one for one in capacity(summary, 1.0, "sleep").ceilings}
    for found in summary.model.arms:
        if found.arm.label not in ceilings:
            continue
        one, more = ceilings[found.arm.label], found.costs.stirred
        driver_s, slot_s = more * found.costs.driver_s, more * found.costs.slot_s
        assert one.driver_per_s == pytest.approx(1 / driver_s)
        assert one.slots_fed == pytest.approx((1.0 + slot_s) / driver_s)
        assert one.flow_runs * one.slots_fed >= max(SLOTS) * 0.999
        # With its batch a task is so long that the driver hands out the last before the first slot is free.
        assert one.batch * 1.0 + slot_s >= max(SLOTS) * driver_s * 0.999
        assert one.driver_bytes is None
        assert one.plan is None


def test_a_server_that_is_behind_is_told_with_what_stock_runners_lose(summary):
    slow = replace(
        summary,
        model=replace(
            summary.model,
            arms=tuple(replace(m, costs=replace(m.costs, server_tasks_per_s=35.0)) for m in summary.model.arms),
        ),
    )
    found = capacity(slow, 0.001, "sleep")
    assert found.recorder_per_s == 35.0
    assert found.points[-1].recorded_s == pytest.approx(1_000_000 / 35)
    by_arm = {one.arm: one for one in found.ceilings}
    assert by_arm["lean-threads"].loses is None
    pace = by_arm["threads"].driver_per_s
    assert pace > 35
    # Up to there three events of each task that is not taken down yet fill a queue of 10,000.
    assert by_arm["threads"].loses * (1 - 35 / pace) * 3 == pytest.approx(10_000, rel=0.01)


def test_a_scale_run_adds_memory_a_plan_and_what_was_measured(summary, tmp_path):
    wide = summarise(synthetic.write(tmp_path / "scale", test_scale.wide()))
    found = capacity(summary, 1.0, "sleep", wide)
    by_arm = {one.arm: one for one in found.ceilings}
    measured = {arm.arm for arm in wide.scale} & set(by_arm)
    assert measured
    for arm in measured:
        assert by_arm[arm].driver_bytes == pytest.approx(2000, rel=0.01)
        assert by_arm[arm].plan is not None
    assert all(one.tasks >= TASKS[0] and one.measured_s > 0 for one in found.measured)


def test_the_recorders_pace_is_of_arms_that_send_all_states(summary, tmp_path):
    def late(record: Record, lag_s: float, events: int) -> Record:
        traffic = replace(record.traffic, events=events * record.tasks)
        return replace(record, visibility_lag_s=lag_s, recorded=record.tasks, traffic=traffic)

    whole = [late(record, 100.0, 3) for record in test_scale.wide()]
    final = [late(replace(record, arm=f"{record.arm}-final"), 10.0, 1) for record in test_scale.wide()]
    of_all = summarise(synthetic.write(tmp_path / "all", whole))
    of_both = summarise(synthetic.write(tmp_path / "both", [*whole, *final]))

    pace = capacity(summary, 1.0, "sleep", of_all).recorder_per_s
    assert pace is not None
    assert capacity(summary, 1.0, "sleep", of_both).recorder_per_s == pytest.approx(pace)
    assert max(arm.measured[-1].recorded_per_s.value for arm in of_both.scale) > 1.5 * pace


def test_json_and_page_hold_the_same(run, capsys, tmp_path):
    page = tmp_path / "capacity.md"
    page.write_text("# Capacity\n\n<!-- capacity: begin -->\nold\n<!-- capacity: end -->\n\nAfter\n")
    code, out, err = typed(capsys, "capacity", "--from", str(run), "--page", str(page), "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["seconds"] == 1.0
    assert len(found["points"]) == len(TASKS) * len(SLOTS)
    text = page.read_text()
    assert text.startswith("# Capacity\n")
    assert text.endswith("\n\nAfter\n")
    assert "old" not in text
    for one in found["ceilings"]:
        assert f"| {one['arm']} |" in text
    assert "**What to do**" in text


def test_it_prints_tables_and_what_to_do(run, capsys):
    code, out, _ = typed(capsys, "capacity", "--from", str(run), "--task-seconds", "0.3", "--work", "io")
    assert code == 0
    for part in ("What gives way first", "1,000,000", "limit: ", "What one flow run can do", "- The driver limits"):
        assert part in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--task-seconds", "soon"), "--task-seconds soon: cannot be read; write it like 0.3 or 300ms"),
        (("--work", "none", "--task-seconds", "1"), "empty tasks take no seconds"),
        (("--page", "nowhere.md"), "--page nowhere.md: there is no such file"),
        (("--scale", "{run}"), "no cells of the scale suite"),
    ],
)
def test_what_cannot_be_answered_is_one_line(run, capsys, arguments, told):
    code, _, err = typed(capsys, "capacity", "--from", str(run), *(a.format(run=run) for a in arguments))
    assert code == 2
    assert told in err
    assert len(err.splitlines()) == 1


def test_a_page_without_a_place_is_one_line(run, capsys, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Nothing\n")
    code, _, err = typed(capsys, "capacity", "--from", str(run), "--page", str(page))
    assert code == 2
    assert "put the lines <!-- capacity: begin --> and <!-- capacity: end --> there" in err
    assert page.read_text() == "# Nothing\n"


def test_the_queue_is_the_servers():
    """The figure is Prefect's own, and documented nowhere."""
    from prefect.server.utilities.messaging import memory

    assert f"maxsize={capacities.QUEUE}" in inspect.getsource(memory.Subscription.__init__)


def test_bodies_that_hold_the_gil_go_on_one_at_a_time_in_threads(summary):
    ceilings = {one.arm: one for one in capacity(summary, 1.0, "spin").ceilings}
    assert ceilings["threads"].slots_fed < 1.1
    assert ceilings["threads"].batch == 1
    assert ceilings["processes"].slots_fed > 3
