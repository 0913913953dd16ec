"""The graph's wiring, by direct calls and on threads, with no Prefect."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flows import bodies
from flows.bodies import Ledger
from flows.graph import GraphSpec, Work
from flows.wiring import DirectCalls, Nodes, wire
from runners.threads import BareThreads

GRAPHS = [
    GraphSpec(width=1),
    GraphSpec(width=5),
    GraphSpec(width=3, payload_bytes=1000),
    GraphSpec(width=3, work=Work("crunch", 0.001)),
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_direct_calls_give_the_expected_result_and_executions(graph, tmp_path):
    outcome = wire(graph, str(tmp_path), Nodes(), DirectCalls())

    names = Counter(entry.name for entry in Ledger(tmp_path).entries())
    assert outcome.result == graph.result
    assert names == {"hello": graph.width, "world": graph.width, "greet": graph.width, "gather": 1}
    assert outcome.flow_run_id is None


@pytest.mark.parametrize("graph", GRAPHS)
def test_bare_threads_give_the_same(graph, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        outcome = wire(graph, str(tmp_path), Nodes(), BareThreads(pool, limit_s=300))

    assert outcome.result == graph.result
    assert len(Ledger(tmp_path).entries()) == graph.executions


def test_one_thread_is_enough_for_a_wide_graph(tmp_path):
    """A task that waits for its upstream in its slot stands behind it in the queue."""
    graph = GraphSpec(width=20)
    with ThreadPoolExecutor(1) as pool:
        assert wire(graph, str(tmp_path), Nodes(), BareThreads(pool, limit_s=300)).result == graph.result


def test_clocks_of_a_pass_follow_each_other(tmp_path):
    graph = GraphSpec(width=4)
    with ThreadPoolExecutor(2) as pool:
        outcome = wire(graph, str(tmp_path), Nodes(), BareThreads(pool, limit_s=300))

    assert len(outcome.submits_s) == 4
    assert set(outcome.seen_s) == set(range(4))
    assert outcome.begun_s <= outcome.submits_s[0] <= outcome.submits_s[-1] <= outcome.submitted_s <= outcome.done_s
    greeted = {entry.lane: entry.end_s for entry in Ledger(tmp_path).entries() if entry.name == "greet"}
    assert all(outcome.seen_s[lane] >= greeted[lane] for lane in range(4))


def test_a_payload_that_arrives_changed_gives_another_result(tmp_path):
    def damaged(*args):
        text, data = bodies.hello(*args)
        return text, data[:-1]

    graph = GraphSpec(width=2, payload_bytes=100)
    outcome = wire(graph, str(tmp_path), replace(Nodes(), hello=damaged), DirectCalls())

    assert outcome.result != graph.result


def test_a_lane_that_is_gathered_twice_gives_another_result(tmp_path):
    def doubled(ledger, *greetings):
        return bodies.gather(ledger, *greetings, greetings[-1])

    graph = GraphSpec(width=2)

    assert wire(graph, str(tmp_path), replace(Nodes(), gather=doubled), DirectCalls()).result != graph.result


def test_what_a_body_raises_comes_out(tmp_path):
    graph = GraphSpec("retrying", width=2, failures=1)

    with pytest.raises(bodies.PlannedFailure), ThreadPoolExecutor(2) as pool:
        wire(graph, str(tmp_path), Nodes(), BareThreads(pool, limit_s=300))
