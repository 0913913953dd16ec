"""The graph's wiring, by direct calls and on threads, with no Prefect."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from runner_lab.flows.graph import bodies
from runner_lab.flows.graph.ledger import Ledger
from runner_lab.flows.graph.wiring import DirectCalls, Nodes, wire, wire_chain, wire_map, wire_pieces
from runner_lab.records.graph import PIECE, GraphSpec, Work
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster
from runner_lab.runners.engines.threads import BareThreads

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


@pytest.mark.parametrize("graph", [replace(graph, variant="map") for graph in GRAPHS])
def test_a_map_is_its_hellos_alone_and_hands_their_results_to_the_driver(graph, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        outcome = wire_map(graph, str(tmp_path), Nodes(), BareThreads(pool, limit_s=300))

    names = Counter(entry.name for entry in Ledger(tmp_path).entries())
    assert outcome.result == graph.result
    assert names == {"hello": graph.width}
    assert graph.executions == graph.tasks == graph.width
    assert set(outcome.seen_s) == set(range(graph.width))


def test_pieces_are_a_map_that_keeps_no_more_futures_than_a_piece_has(tmp_path):
    alive: weakref.WeakSet[Future] = weakref.WeakSet()
    most = 0

    class Watched(BareThreads):
        def submit(self, node, *args):
            nonlocal most
            handle = super().submit(node, *args)
            alive.add(handle)
            most = max(most, len(alive))
            return handle

    graph = GraphSpec("pieces", width=2 * PIECE + 5)
    with ThreadPoolExecutor(2) as pool:
        outcome = wire_pieces(graph, str(tmp_path), Nodes(), Watched(pool, limit_s=300))

    assert outcome.result == graph.result == replace(graph, variant="map").result
    assert len(Ledger(tmp_path).entries()) == graph.executions == graph.width
    # The last of a piece may still be held when the next one begins.
    assert PIECE <= most <= PIECE + 2


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


def test_a_hello_does_the_work_of_each_item_of_its_batch(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(bodies, "perform", done.append)
    graph = GraphSpec(width=3, work=Work("sleep", 1.0), batch=4)

    assert wire(graph, str(tmp_path), Nodes(), DirectCalls()).result == graph.result
    assert done == [graph.work] * 12
    assert len(Ledger(tmp_path).entries()) == graph.executions


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


def test_a_bare_pool_that_is_left_does_not_begin_what_is_queued():
    arms, ran, cancelled = catalog.load(), [], threading.Event()
    spec = arms.arms["bare-threads"].with_workers(1)
    with arms.engine(spec).bare(spec, Cluster(), limit_s=300) as submitter:
        submitter.submit(cancelled.wait, 10)
        queued = submitter.submit(ran.append, 1)
        submitter.on_done(queued, cancelled.set)

    assert queued.cancelled()
    assert ran == []


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_a_chain_runs_one_task_at_a_time_with_its_marks(threads, tmp_path):
    graph, marked = GraphSpec("chain", width=6), []
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        submitter = BareThreads(pool, limit_s=300) if threads else DirectCalls()
        outcome = wire_chain(graph, str(tmp_path), bodies.link, submitter, marked.append)

    links = sorted(Ledger(tmp_path).entries(), key=lambda entry: entry.lane)
    assert outcome.result == graph.result
    assert marked == [link.lane for link in links] == list(range(6))
    clocks = zip(outcome.submits_s, links, (outcome.seen_s[lane] for lane in range(6)), strict=True)
    edges = [edge for submit_s, link, seen_s in clocks for edge in (submit_s, link.start_s, link.end_s, seen_s)]
    assert edges == sorted(edges)
    assert all(submit <= back for submit, back in zip(outcome.submits_s, outcome.returns_s, strict=True))


def test_a_link_that_is_given_another_result_than_the_one_before_fails(tmp_path):
    with pytest.raises(ValueError, match="link 2 was given 'link-0'"):
        bodies.link("link-0", 2, str(tmp_path), None)


def test_prefect_does_not_go_through_the_clocks_of_an_outcome_for_futures(tmp_path):
    from prefect.utilities.collections import visit_collection

    outcome = wire(GraphSpec(width=3), str(tmp_path), Nodes(), DirectCalls())
    visited = []
    visit_collection(outcome, visit_fn=visited.append, return_data=False)

    assert visited == [outcome]
