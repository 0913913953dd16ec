"""Work that is drawn to test answers on, and who measures it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from runner_lab.benchmarks.session.drawn import LONGEST_RUN_S, MANY_SLOTS, Draws, draws
from runner_lab.benchmarks.session.plan import Drawn, Stage
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.runners import catalog
from tests.reports import machine, synthetic

WAITING = GraphSpec("map", width=64, work=Work("sleep", 0.5))


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> Draws:
    run = synthetic.write(tmp_path_factory.mktemp("run"), machine.records(cells=machine.QUICK, blocks=2))
    return Draws(run)


def drawn(arm: str, graph: GraphSpec = WAITING, block: int = 0, slots: int | None = None) -> Drawn:
    spec = catalog.load().arms[arm]
    return Drawn("regret", graph, spec, block, Stage(arm, spec.workers), False, slots=slots)


def test_a_seed_draws_the_same_work_again_and_another_one_other_work():
    assert draws(10, 3, 2) == draws(10, 3, 2)
    assert not {draw.graph for draw in draws(10, 3, 2)} & {draw.graph for draw in draws(10, 4, 2)}


def test_draws_have_every_kind_start_and_number_of_slots_and_take_no_longer_than_they_may():
    found = draws(30, 1, 2)

    assert {draw.graph.work.kind for draw in found} == {"none", "sleep", "spin", "crunch"}
    assert {(draw.cold, draw.free) for draw in found} == {(c, f) for c in (True, False) for f in (True, False)}
    assert any(draw.graph.payload_bytes for draw in found)
    assert len({draw.graph for draw in found}) == 30
    for draw in found:
        rounds = math.ceil(draw.graph.width / (MANY_SLOTS if draw.free else 2))
        assert rounds * draw.graph.work.seconds <= LONGEST_RUN_S
        assert draw.graph.variant == "map"
        assert not draw.free or draw.graph.work.kind == "sleep"


def test_who_is_predicted_far_from_the_best_does_not_measure(asked):
    assert asked.spared(drawn("threads"), []) is None
    assert "x the best time" in asked.spared(drawn("sequential"), [])


def test_the_time_left_counts_what_is_predicted_to_be_measured(asked):
    cells = [drawn(arm, block=block) for arm in catalog.load().arms for block in (0, 1)]
    expected = {(cell.arm.name, cell.block) for cell in cells if asked.expected(cell, [])}
    ranked = asked._ranked(cells[0])
    best_s = min(arm.seconds for arm in ranked.values())

    assert {(arm, 0) for arm in ranked if ranked[arm].seconds <= 2 * best_s} == {one for one in expected if not one[1]}
    assert ("threads", 1) in expected
    assert len(expected) < len(ranked)


def test_direct_calls_are_held_against_the_slots_of_the_others(asked):
    """Of work that computes, they take twice as long as two processes."""
    computing = GraphSpec("map", width=40, work=Work("spin", 0.5))
    assert {**asked._ranked(drawn("sequential", computing, slots=2))} == asked._ranked(
        drawn("dask", computing, slots=2)
    )


def test_an_arm_that_the_run_has_not_measured_does_not_measure(asked):
    assert asked.spared(drawn("lean-ray"), []) == "the run says nothing of it"


def test_where_nothing_else_is_measured_nobody_measures(tmp_path):
    assert not Draws(tmp_path).expected(drawn("threads"), [])
    assert Draws(tmp_path).spared(drawn("threads"), []) == "the run says nothing of it"


def test_waiting_work_gets_the_slots_that_are_named_for_it_where_it_is_free(asked):
    assert asked.at(drawn("threads")).arm.workers >= 32
    assert asked.at(drawn("threads", slots=2)).arm.workers == 2


def test_a_second_time_measures_who_came_near_the_best(asked):
    [blank] = [
        record
        for record in machine.records([machine.THREADS], [("regret", WAITING)], blocks=1)
        if record.arm == "threads"
    ]
    times = {"threads": 1.0, "lean-threads": 1.2, "lean-dask": 2.0}
    records = [
        replace(blank, arm=arm, phases=replace(blank.phases, makespan_s=seconds)) for arm, seconds in times.items()
    ]

    assert asked.spared(drawn("lean-threads", block=1), records) is None
    assert asked.spared(drawn("lean-dask", block=1), records) is not None
    assert asked.expected(drawn("lean-threads", block=1), records)
    assert not asked.expected(drawn("lean-dask", block=1), records)
    # What the named one takes is half of its regret, and so is not left to one measurement.
    named = next(iter(asked._ranked(drawn("threads"))))
    times |= {"threads": 9.0, "lean-threads": 9.0, "lean-dask": 1.0}
    records = [
        replace(blank, arm=arm, phases=replace(blank.phases, makespan_s=seconds)) for arm, seconds in times.items()
    ]
    assert asked.spared(drawn(named, block=1), records) is None
