"""The Prefect flow in its variants, on a real server: with no runner, in an event loop, with Prefect's default."""

from __future__ import annotations

from collections import Counter

import pytest

from runner_lab.benchmarks.measuring.quiescence import wait_recorded
from runner_lab.records.graph import GraphSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lab_server")]

LIMIT_S = 300.0


@pytest.fixture(params=["sequential", "gather", "threads"])
def arm(request, arms):
    return arms.arms[request.param]


@pytest.mark.parametrize(
    "graph",
    [
        GraphSpec(width=3),
        GraphSpec(width=3, payload_bytes=100_000),
        GraphSpec("map", width=3, payload_bytes=1000),
        GraphSpec("retrying", width=3, failures=2),
        GraphSpec("cached", width=3),
    ],
    ids=lambda graph: f"{graph.variant}-{graph.payload_bytes}",
)
def test_gives_the_expected_result_executions_and_task_runs(graph, arm, run_graph, lab_server):
    ran = run_graph(graph, arm)
    recorded = wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks, LIMIT_S)

    assert ran.outcome.result == graph.result
    assert len(ran.entries) == graph.executions
    assert (recorded.final, recorded.completed) == (graph.tasks, graph.tasks)


def test_pieces_are_run_as_a_map_is(arms, run_graph, lab_server):
    graph = GraphSpec("pieces", width=5)
    ran = run_graph(graph, arms.arms["threads"])
    recorded = wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks, LIMIT_S)

    assert ran.outcome.result == graph.result
    assert len(ran.entries) == recorded.completed == 5


def test_retrying_runs_each_hello_once_more_than_it_fails(arm, run_graph):
    ran = run_graph(GraphSpec("retrying", width=3, failures=2), arm)

    hellos = Counter(entry.lane for entry in ran.entries if entry.name == "hello")
    assert hellos == {0: 3, 1: 3, 2: 3}


def test_retries_wait_their_delay(arm, run_graph):
    ran = run_graph(GraphSpec("retrying", width=1, failures=1, retry_delay_s=1.0), arm)

    first, second = (entry for entry in ran.entries if entry.name == "hello")
    assert second.start_s - first.end_s >= 1.0


def test_cached_runs_no_body_in_its_second_pass(arm, run_graph):
    graph = GraphSpec("cached", width=3)
    first = run_graph(graph, arm)
    second = run_graph(graph, arm, ledger=first.ledger)

    assert len(first.entries) == graph.executions
    assert second.entries == []
    assert second.outcome.result == graph.result


def test_cached_runs_every_body_again_for_another_ledger(arm, run_graph):
    graph = GraphSpec("cached", width=3)
    run_graph(graph, arm)

    assert len(run_graph(graph, arm).entries) == graph.executions


def test_plain_runs_every_body_again_in_its_second_pass(arm, run_graph):
    graph = GraphSpec(width=3)
    first = run_graph(graph, arm)

    assert len(run_graph(graph, arm, ledger=first.ledger).entries) == graph.executions


def test_what_a_body_raises_comes_out_of_the_flow(run_graph, arm, monkeypatch):
    from runner_lab.flows.graph import fanout
    from runner_lab.flows.graph.bodies import PlannedFailure

    # As if the variant's retries had been left out.
    monkeypatch.setattr(fanout, "nodes", lambda spec: fanout._PLAIN[spec.asynchronous])

    with pytest.raises(PlannedFailure, match="hello 0: attempt 1 of 1"):
        run_graph(GraphSpec("retrying", width=1, failures=1), arm)
