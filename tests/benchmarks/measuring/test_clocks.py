"""Two hosts' clocks are never subtracted: synthetic entries of another host, whose clock reads anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner_lab.benchmarks.measuring import clocks
from runner_lab.flows.graph.ledger import Execution, host_id
from runner_lab.flows.graph.wiring import Outcome
from runner_lab.records import record as records
from runner_lab.reports.analysis import summary

FAR = "far/another-boot"


def outcome() -> Outcome:
    made = Outcome(begun_s=100.0)
    made.submitted_s, made.done_s = 100.5, 104.0
    made.submits_s = [100.1, 100.2]
    made.seen_s = {0: 103.0, 1: 103.5}
    return made


def entries(host: str, offset_s: float = 0.0) -> list[Execution]:
    hello = [Execution("hello", lane, 1, offset_s + 101.0 + lane, offset_s + 101.5 + lane, host) for lane in (0, 1)]
    greet = [Execution("greet", lane, 1, offset_s + 102.5, offset_s + 102.75, host) for lane in (0, 1)]
    return hello + greet


def test_on_one_host_every_figure_is_told():
    found = clocks.latencies(outcome(), entries(host_id()))

    assert clocks.elsewhere(entries(host_id())) == ()
    assert clocks.phases(99.0, outcome(), 105.0, entries(host_id())).startup_s == 2.0
    assert found.queue_s == pytest.approx((0.9, 1.8))
    assert found.seen_s == pytest.approx((0.25, 0.75))
    assert found.body_s == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("offset_s", [0.0, -5e6, 5e6, 0.01])
def test_of_another_host_only_what_its_own_clock_tells(offset_s):
    """Also where the other clock happens to read nearly the same, and the figure would not look wrong."""
    found = clocks.latencies(outcome(), entries(FAR, offset_s))
    phases = clocks.phases(99.0, outcome(), 105.0, entries(FAR, offset_s))

    assert clocks.elsewhere(entries(FAR, offset_s)) == ("far",)
    assert (found.queue_s, found.seen_s, phases.startup_s) == ((), (), None)
    assert found.body_s == pytest.approx((0.5, 0.5))
    # What the driver's clock alone tells stays.
    assert (phases.first_result_s, phases.submit_s, phases.makespan_s, phases.total_s) == (4.0, 0.5, 4.0, 6.0)


def test_one_body_elsewhere_is_enough():
    mixed = [replace(entries(host_id())[0], host=FAR), *entries(host_id())[1:]]

    assert clocks.latencies(outcome(), mixed).queue_s == ()
    assert clocks.phases(99.0, outcome(), 105.0, mixed).startup_s is None


def test_another_boot_of_the_same_name_is_another_host():
    name, _, boot = host_id().partition("/")

    assert clocks.elsewhere(entries(f"{name}/{boot[::-1]}")) == (name,)
    assert clocks.elsewhere(entries(f"other/{boot}")) == ("other",)


def test_the_report_says_what_is_missing_and_why(make_cell, make_record, tmp_path):
    for cell in (make_cell("threads"), make_cell("dask")):
        away = ("far",) if cell.arm.name == "dask" else ()
        records.append(tmp_path, make_record(cell, recorded=7, executions=7, hosts=away))

    read, _ = records.read(tmp_path)
    assert [record.hosts for record in read] == [(), ("far",)]
    (note,) = [note for note in summary.summarise(tmp_path).notes if "clock" in note]
    assert note.startswith("Task bodies of dask ran on far, which is not the driver's host: no startup, queue")
