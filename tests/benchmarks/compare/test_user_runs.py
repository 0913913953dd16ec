"""Flows as users write them, run on the suite's server as a comparison runs them, but in this process."""

from __future__ import annotations

import functools
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from runner_lab.benchmarks.compare import user_runs
from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.user_flow import load
from runner_lab.benchmarks.compare.user_runs import FlowSite
from runner_lab.benchmarks.measuring import measure
from runner_lab.benchmarks.measuring.measure import Site
from runner_lab.benchmarks.session.plan import PlannedCell, Stage

pytestmark = pytest.mark.slow

FLOWS = Path(__file__).parents[2] / "user_flows"


@pytest.fixture
def compare(arms, lab_server, scratch, cluster_for, monkeypatch):
    """The records of a flow: one under each arm, in their order."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))

    def run(target, *given, under=("yours",), check=True):
        user = load(str(FLOWS / target), given, scratch)
        catalog = arms.with_yours(user.flow.task_runner)
        agreement = Agreement(check, alike=("yours", "control"))
        records = []
        for position, name in enumerate(under):
            arm = catalog.arms[name] if catalog.arms[name].as_declared else catalog.arms[name].with_workers(2)
            place = Site(lab_server, catalog.engine(arm), cluster_for(arm), scratch, 60.0, 60.0)

            class Here:
                def run(self, measured, judged, arm=arm, place=place):
                    return user_runs.run_pass(arm, place, user, measured, judged)

            site = FlowSite(lab_server, place.engine, None, scratch, 60.0, 60.0, Here())
            cell = PlannedCell("compare", user.spec, arm, 0, Stage(name, 2), baseline="yours")
            blank = measure.blank_record(cell, "run", {})
            ready = lambda _, site=site: nullcontext(site)  # noqa: E731
            body = functools.partial(user_runs.measure_flow, agreement=agreement)
            records.append(measure.measure(cell, position, ready, blank, body))
        return records

    return run


def test_a_mapping_flow_with_parameters_under_two_runners(compare):
    records = compare("etl_map.py:etl", "n=3", under=("yours", "lean-threads"))

    assert [(r.status, r.error) for r in records] == [("ok", None)] * 2
    assert [r.flow_run.result for r in records] == ["same", "same"]
    for record in records:
        assert record.flow_run.states == {"Completed": 7}
        assert (record.flow_run.submitted, record.flow_run.direct) == (7, 0)
        assert (record.recorded, record.expected_recorded, record.tasks) == (7, 7, 7)
        assert 0 < record.value_s < 60
    assert {str(r.cell) for r in records} == {"compare/etl(n=3)/yours", "compare/etl(n=3)/lean-threads"}


@pytest.mark.parametrize(
    ("target", "given", "submitted", "result"),
    [
        ("async_fetch.py:crawl", ["pages=2"], 2, [{"page": 0, "items": []}, {"page": 1, "items": [0]}]),
        ("beside/report.py", [], 2, None),
        ("shop/orders/daily.py", ['items=["a", "bc"]'], 2, 3),
        ("returns_futures.py:squares", [], 3, [1, 4, 9]),
        ("generator.py:chunks", ["n=2"], 2, [[], [1]]),
        ("typed.py:typed", ['config={"region": "eu"}', "day=2026-11-23", "code=7"], 1, "eu 10 23.11.2026 7"),
        ("flows.py", [], 2, None),
        ("methods.py:scale.of", [], 2, [3, 6]),
        ("methods.py:Scale.of_unit", ["n=3"], 2, [10, 30]),
        ("methods.py:Scale.fixed", [], 2, [5, 10]),
    ],
)
def test_flows_of_every_kind_end_well_and_their_results_can_be_compared(
    compare, monkeypatch, target, given, submitted, result
):
    seen = []
    monkeypatch.setattr(Agreement, "judge", lambda self, arm, value: (seen.append(value), ("same", ""))[1])

    (record,) = compare(target, *given)

    assert (record.status, record.error) == ("ok", None)
    assert record.flow_run.states == {"Completed": submitted}
    assert record.flow_run.submitted == submitted
    assert seen == [result] if result is not None else len(seen[0]) == 2


def test_a_flow_that_prints_and_returns_nothing_under_a_runner_of_its_own(compare):
    (record,) = compare("own_runner.py")

    assert (record.status, record.flow_run.result) == ("ok", "nothing")
    assert record.graph.own_runner == "ThreadPoolTaskRunner"


def test_direct_calls_go_past_the_runner(compare):
    (record,) = compare("direct_calls.py:pipeline")

    assert record.status == "ok"
    assert (record.flow_run.submitted, record.flow_run.direct) == (0, 5)
    assert record.flow_run.states == {"Completed": 5}


def test_what_sub_flows_submit_is_not_the_arms(compare):
    (record,) = compare("subflows.py:world", under=("lean-threads",))

    assert record.status == "ok"
    assert record.flow_run.submitted == 1
    assert record.flow_run.subflow_tasks == 4
    # One more for each sub-flow, which is a task run of its parent too.
    assert record.flow_run.states == {"Completed": 7}


def test_a_failing_flow_is_an_error_with_its_reason_and_its_task_runs(compare):
    (record,) = compare("breaks.py:breaks")

    assert (record.status, record.error) == ("error", "ZeroDivisionError: division by zero")
    assert record.flow_run.states == {"Completed": 1, "Failed": 1, "NotReady": 1}


def test_a_task_that_never_began_is_told_by_the_failure_before_it(compare):
    (record,) = compare("breaks.py:breaks_before")

    assert record.status == "error"
    assert record.error.startswith("divide-")
    assert record.error.endswith("ZeroDivisionError: division by zero")


def test_each_pass_begins_with_an_empty_cache(compare):
    records = compare("cached.py:saving", under=("yours", "control"))

    assert [r.flow_run.states for r in records] == [{"Completed": 1, "Cached": 1}] * 2


def test_a_flow_that_disagrees_with_itself_is_no_runners_fault(compare):
    records = compare("impure.py", under=("yours", "control", "lean-threads"))

    assert [r.status for r in records] == ["ok"] * 3
    assert [r.flow_run.result for r in records] == ["same", "unsteady", "unsteady"]
    assert "two runs under yours alone differ already" in records[2].flow_run.remark


@pytest.mark.parametrize(("flow", "timeout_s"), [("limited", 50), ("unlimited", None)])
def test_the_flows_own_timeout_is_what_it_declares(compare, monkeypatch, flow, timeout_s):
    seen = []
    monkeypatch.setattr(Agreement, "judge", lambda self, arm, value: (seen.append(value), ("same", ""))[1])

    compare(f"own_timeout.py:{flow}", under=("yours", "lean-threads"))

    assert seen == [timeout_s] * 2


def test_a_runner_that_the_flow_hands_down_is_the_arms(compare):
    for record in compare("hands_down.py:hands_down", under=("yours", "lean-threads")):
        assert (record.status, record.error) == ("ok", None)
        assert (record.flow_run.submitted, record.flow_run.subflow_tasks) == (2, 0)


def test_task_runs_that_never_came_into_being_are_neither_waited_for_nor_missing(compare):
    begun_s = time.monotonic()
    (record,) = compare("refused.py:refused")

    assert (record.status, record.error) == ("ok", None)
    assert record.recorded == record.expected_recorded
    # Without it the lab would wait for a minute, in which the server says nothing new.
    assert time.monotonic() - begun_s < 45


def test_workers_import_what_the_flow_does(compare):
    records = compare("beside/report.py", under=("yours", "processes"))

    assert [(r.status, r.error) for r in records] == [("ok", None)] * 2
    assert [r.flow_run.result for r in records] == ["same"] * 2
    assert [r.flow_run.states for r in records] == [{"Completed": 2}] * 2


def test_another_result_is_an_error_unless_it_was_asked_for(compare):
    records = compare("whose_process.py", under=("yours", "processes"))
    assert records[1].error == "another result: 'worker', but 'main' under yours"
    assert records[1].flow_run.result == "different"

    (unasked,) = compare("whose_process.py", check=False)
    assert (unasked.status, unasked.flow_run.result) == ("ok", "unasked")
