"""The graph's wiring in an event loop, with no Prefect."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from runner_lab.flows.graph import async_bodies
from runner_lab.flows.graph.awaiting import await_map, await_wired
from runner_lab.flows.graph.bodies import PlannedFailure
from runner_lab.flows.graph.ledger import Ledger
from runner_lab.flows.graph.wiring import Nodes
from runner_lab.records.graph import GraphSpec, Work

NODES = Nodes(async_bodies.hello, async_bodies.world, async_bodies.greet, async_bodies.gather)
GRAPHS = [
    GraphSpec(width=1),
    GraphSpec(width=5),
    GraphSpec(width=3, payload_bytes=1000),
    GraphSpec(width=3, work=Work("crunch", 0.001), batch=2),
    GraphSpec("map", width=5, payload_bytes=10),
]


def run(graph, folder, nodes=NODES):
    return asyncio.run((await_map if graph.variant == "map" else await_wired)(graph, str(folder), nodes))


@pytest.mark.parametrize("graph", GRAPHS)
def test_gives_the_expected_result_executions_and_clocks(graph, tmp_path):
    outcome = run(graph, tmp_path)

    entries = Ledger(tmp_path).entries()
    stages = {} if graph.variant == "map" else {"world": graph.width, "greet": graph.width, "gather": 1}
    assert outcome.result == graph.result
    assert Counter(entry.name for entry in entries) == {"hello": graph.width, **stages}
    assert set(outcome.seen_s) == set(range(graph.width))
    assert len(outcome.submits_s) == graph.width
    assert outcome.begun_s <= outcome.submits_s[0] <= outcome.submits_s[-1] <= outcome.submitted_s <= outcome.done_s
    last = "hello" if graph.variant == "map" else "greet"
    assert all(outcome.seen_s[entry.lane] >= entry.end_s for entry in entries if entry.name == last)


@pytest.mark.parametrize("variant", ["plain", "map"])
def test_all_lanes_wait_at_once(variant, tmp_path):
    run(GraphSpec(variant, width=20, work=Work("sleep", 0.5)), tmp_path)

    hellos = [entry for entry in Ledger(tmp_path).entries() if entry.name == "hello"]
    assert max(entry.start_s for entry in hellos) < min(entry.end_s for entry in hellos)


def test_a_payload_that_arrives_changed_gives_another_result(tmp_path):
    async def damaged(*args):
        text, data = await async_bodies.hello(*args)
        return text, data[:-1]

    graph = GraphSpec("map", width=2, payload_bytes=100)

    assert run(graph, tmp_path, Nodes(hello=damaged)).result != graph.result


def test_what_a_body_raises_comes_out(tmp_path):
    with pytest.raises(PlannedFailure, match="attempt 1 of 1"):
        run(GraphSpec("retrying", width=2, failures=1), tmp_path)
