"""What a graph is, and what it says must come out of it."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from runner_lab.records.graph import AnyGraph, GraphSpec, Work, greeting, payload, summarise

WORKS = st.one_of(
    st.just(Work()),
    st.builds(Work, st.sampled_from(["sleep", "spin", "crunch"]), st.floats(1e-6, 1e6)),
)
PLAIN = st.builds(
    GraphSpec,
    variant=st.sampled_from(["plain", "cached"]),
    width=st.integers(1, 50),
    work=WORKS,
    payload_bytes=st.integers(0, 1000),
    batch=st.integers(1, 20),
    asynchronous=st.booleans(),
)
RETRYING = st.builds(
    GraphSpec,
    variant=st.just("retrying"),
    width=st.integers(1, 50),
    work=WORKS,
    failures=st.integers(1, 5),
    retry_delay_s=st.floats(0, 10),
    asynchronous=st.booleans(),
)


@pytest.mark.parametrize(
    ("graph", "tasks", "executions"),
    [
        (GraphSpec(width=1), 4, 4),
        (GraphSpec(width=8), 25, 25),
        (GraphSpec("cached", width=8), 25, 25),
        (GraphSpec("retrying", width=8, failures=1), 25, 33),
        (GraphSpec("retrying", width=3, failures=2), 10, 16),
        (GraphSpec("chain", width=5), 5, 5),
        (GraphSpec(width=8, work=Work("sleep", 1.0), batch=10), 25, 25),
    ],
)
def test_counts_its_tasks_and_the_bodies_that_run(graph, tasks, executions):
    assert (graph.tasks, graph.executions) == (tasks, executions)


def test_result_names_the_lanes_and_holds_their_payloads():
    lines = [f"hello-{lane} world-{lane} {zlib.crc32(payload(lane, 10)):08x}" for lane in range(2)]

    assert GraphSpec(width=2, payload_bytes=10).result == f"2 greetings {zlib.crc32(chr(10).join(lines).encode()):08x}"


def test_result_differs_by_width_and_payload_only():
    base = GraphSpec(width=3)

    assert base.result == GraphSpec("cached", width=3).result
    assert base.result == GraphSpec(width=3, work=Work("spin", 1)).result
    assert base.result == GraphSpec("retrying", width=3, failures=1).result
    assert len({base.result, GraphSpec(width=4).result, GraphSpec(width=3, payload_bytes=1).result}) == 3


def test_the_order_of_the_greetings_is_part_of_the_result():
    first, second = greeting(0, 1), greeting(1, 1)

    assert summarise([first, second]) != summarise([second, first])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GraphSpec("cachet"), "variant 'cachet' is not one of plain, map, pieces, cached, retrying, chain"),
        (lambda: GraphSpec("chain", payload_bytes=1), "a chain has empty tasks"),
        (lambda: GraphSpec("chain", work=Work("sleep", 1.0)), "a chain has empty tasks"),
        (lambda: GraphSpec("chain", failures=1), "'chain' with 1 failures"),
        (lambda: GraphSpec("chain", batch=2), "a chain has empty tasks"),
        (lambda: GraphSpec(batch=0), "batch 0 must be at least 1"),
        (lambda: GraphSpec(width=0), "width 0 must be at least 1"),
        (lambda: GraphSpec(width=-3), "width -3 must be at least 1"),
        (lambda: GraphSpec(payload_bytes=-1), "payload_bytes -1 must be at least 0"),
        (lambda: GraphSpec("retrying"), "'retrying' with 0 failures"),
        (lambda: GraphSpec(failures=1), "'plain' with 1 failures"),
        (lambda: GraphSpec(failures=-1), "'plain' with -1 failures"),
        (lambda: GraphSpec("retrying", failures=-1), "'retrying' with -1 failures"),
        (lambda: GraphSpec("retrying", failures=1, retry_delay_s=-0.5), "retry_delay_s -0.5 must be a number from 0"),
        (lambda: GraphSpec("retrying", failures=1, retry_delay_s=float("nan")), "retry_delay_s nan"),
        (lambda: Work("nap", 1), "work kind 'nap' is not one of none, sleep, spin, crunch"),
        (lambda: Work("sleep", -1), "work seconds -1 must be a number from 0"),
        (lambda: Work("sleep", float("nan")), "work seconds nan"),
        (lambda: Work("sleep", float("inf")), "work seconds inf"),
        (lambda: Work("sleep"), "'sleep' with 0 seconds: `none` takes 0, the others more than 0"),
        (lambda: Work("none", 1), "'none' with 1 seconds: `none` takes 0, the others more than 0"),
    ],
)
def test_refuses_a_value_out_of_range(make, message):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        make()
    assert message in str(refused.value)


@given(st.one_of(PLAIN, RETRYING))
def test_survives_json(graph):
    assert TypeAdapter(AnyGraph).validate_json(json.dumps(asdict(graph)), strict=True) == graph


@given(st.one_of(PLAIN, RETRYING))
def test_every_attempt_of_every_task_is_an_execution(graph):
    assert graph.tasks == 3 * graph.width + 1
    assert graph.executions - graph.tasks == graph.width * graph.failures


@pytest.mark.parametrize(
    ("work", "ideal_s"),
    [(Work(), 0.0), (Work("sleep", 0.5), 1.0), (Work("spin", 0.5), 2.0), (Work("crunch", 0.5), 2.0)],
)
def test_ideal_uses_all_workers_for_waiting_and_the_cores_for_cpu(work, ideal_s):
    assert GraphSpec(width=8, work=work).ideal_s(workers=4, cores=2) == pytest.approx(ideal_s)


def test_a_batch_has_the_ideal_time_of_its_items():
    work = Work("sleep", 0.5)
    alone, together = GraphSpec(width=8, work=work), GraphSpec(width=2, work=work, batch=4)

    assert together.ideal_s(2, 2) == alone.ideal_s(2, 2) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("graph", "workers", "cores", "ideal_s"),
    [
        (GraphSpec(width=4, work=Work("sleep", 0.2)), 8, 8, 0.2),
        (GraphSpec(width=4, work=Work("spin", 0.2)), 8, 8, 0.2),
        (GraphSpec(width=4, work=Work("spin", 0.2)), 8, 2, 0.4),
        (GraphSpec(width=5, work=Work("sleep", 0.2)), 4, 8, 0.4),
        (GraphSpec(width=3, work=Work("crunch", 0.2)), 4, 2, 0.3),
        (GraphSpec(width=2, work=Work("sleep", 0.2), batch=3), 4, 4, 0.6),
    ],
)
def test_no_lane_is_done_before_its_body_is_and_none_shares_a_slot(graph, workers, cores, ideal_s):
    assert graph.ideal_s(workers, cores) == pytest.approx(ideal_s)


@pytest.mark.parametrize(
    ("work", "batch", "ideal_s"),
    [
        (Work("sleep", 0.5), 1, 0.5),
        (Work("sleep", 0.5), 3, 1.5),
        (Work("spin", 0.5), 1, 4.0),
        (Work("crunch", 0.5), 1, 4.0),
    ],
)
def test_in_an_event_loop_all_wait_at_once_and_compute_in_turn(work, batch, ideal_s):
    graph = GraphSpec(width=8, work=work, batch=batch, asynchronous=True)

    assert graph.ideal_s(workers=1, cores=4, event_loop=True) == pytest.approx(ideal_s)


def test_asynchronous_tasks_are_another_graph_with_the_same_outcome():
    graph = GraphSpec("map", width=8, work=Work("sleep", 0.3))
    other = replace(graph, asynchronous=True)

    assert other.id == "map-w8-sleep300ms-async"
    assert (other.result, other.tasks, other.executions) == (graph.result, graph.tasks, graph.executions)


def test_ideal_never_has_more_cores_than_workers():
    assert GraphSpec(width=8, work=Work("spin", 0.5)).ideal_s(workers=1, cores=2) == pytest.approx(4.0)


@given(st.integers(0, 1000), st.integers(0, 5000))
def test_payload_is_of_its_size_and_the_same_every_time(lane, size_bytes):
    assert len(payload(lane, size_bytes)) == size_bytes
    assert payload(lane, size_bytes) == payload(lane, size_bytes)


def test_payload_differs_by_lane_and_cannot_be_compressed():
    data = payload(0, 1_000_000)

    assert data != payload(1, 1_000_000)
    assert len(zlib.compress(data, 9)) >= len(data)
