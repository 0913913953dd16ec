"""What of a cell is metered, and what is kept of it: passes by direct calls, a meter and a server that are made up."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from runner_lab.benchmarks.measuring import lab_graphs
from runner_lab.benchmarks.measuring import measure as measuring
from runner_lab.benchmarks.measuring.lab_graphs import measure_graph
from runner_lab.benchmarks.measuring.measure import Site, blank_record, measure
from runner_lab.benchmarks.measuring.quiescence import Recorded
from runner_lab.benchmarks.measuring.server_runs import UnansweredError
from runner_lab.flows.graph import bodies
from runner_lab.flows.graph.wiring import DirectCalls, wire_chain
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Usage
from runner_lab.runners.probe.schedule import Schedule
from runner_lab.runners.server import Server


@pytest.fixture
def passes(monkeypatch, tmp_path, make_cell, arms):
    """Measure a chain that is run by direct calls, with no server: what happens is noted in order."""
    seen = SimpleNamespace(happened=[])

    class FakeMeter:
        def __init__(self, server_pid, local_workers):
            pass

        def start(self):
            seen.happened.append("start")

        def stop(self):
            seen.happened.append("stop")
            return Usage(driver_cpu_s=1.0), 0.25

    def run_pass(cell, site, place):
        seen.happened.append("pass")
        outcome = wire_chain(cell.graph, place, bodies.link, DirectCalls())
        outcome.flow_run_id = "id"
        seen.returned_s = outcome.done_s + 1.0
        return lab_graphs.Pass(outcome.begun_s, outcome, seen.returned_s, Schedule(place, "none", 5))

    def measured():
        cell = make_cell("sequential", graph=GraphSpec("chain", width=3), suite="task_stages")
        server = Server("http://127.0.0.1:1/api", "sqlite")
        site = Site(server, arms.engine(cell.arm), None, tmp_path, limit_s=300.0, quiet_limit_s=60.0)
        return measure(cell, 0, lambda cell: nullcontext(site), blank_record(cell, "run", {}), measure_graph)

    monkeypatch.setattr(measuring, "Meter", FakeMeter)
    monkeypatch.setattr(lab_graphs, "run_pass", run_pass)
    monkeypatch.setattr(lab_graphs, "task_stages_of", lambda outcome, probe: seen.happened.append("task_stages"))
    seen.measured = measured
    return seen


def test_nothing_but_the_pass_is_metered_and_the_lag_counts_from_its_return(passes, monkeypatch):
    since = []
    monkeypatch.setattr(
        lab_graphs, "wait_recorded", lambda *args, since_s: since.append(since_s) or Recorded(3, 3, lag_s=2.0)
    )

    record = passes.measured()

    assert (record.status, record.error) == ("ok", None)
    assert passes.happened == ["start", "pass", "stop", "task_stages"]
    assert (record.usage.driver_cpu_s, record.background_cpu, record.visibility_lag_s) == (1.0, 0.25, 2.0)
    assert since == [passes.returned_s]


def test_a_server_that_does_not_answer_leaves_what_was_measured(passes, monkeypatch):
    def unanswered(*args, **more):
        raise UnansweredError("the server did not answer")

    monkeypatch.setattr(lab_graphs, "wait_recorded", unanswered)

    record = passes.measured()

    assert (record.status, record.error) == ("error", "the server did not answer")
    assert record.phases.shutdown_s == pytest.approx(1.0)
    assert (record.executions, record.usage.driver_cpu_s, record.recorded) == (3, 1.0, None)
