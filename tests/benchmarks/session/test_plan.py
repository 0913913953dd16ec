"""The order of a run: blocks outermost, arms rotated, a cluster's arms together."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_lab.benchmarks.session.plan import PlannedCell, Search, Stage, applies, order, rotated
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.runners import catalog

ARMS = catalog.load().arms


def cells_of(names, widths, blocks, cold=False):
    def stage(spec):
        return Stage(spec.engine if spec.bare or spec.engine in ("dask", "ray") else spec.name, 2)

    warm = [
        PlannedCell("overhead", GraphSpec(width=width), ARMS[name], block, stage(ARMS[name]))
        for width in widths
        for name in names
        for block in range(blocks)
    ]
    starts = [
        PlannedCell("startup", GraphSpec(width=2), ARMS[name], block, stage(ARMS[name]), cold=True)
        for name in names
        for block in range(blocks)
        if cold and not ARMS[name].bare
    ]
    return [*warm, *starts]


RUNS = st.builds(
    cells_of,
    st.lists(st.sampled_from(sorted(ARMS)), min_size=1, max_size=9, unique=True),
    st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True),
    st.integers(1, 12),
    st.booleans(),
)


@given(RUNS, st.randoms())
def test_every_cell_is_measured_once_in_every_block(cells, random):
    shuffled = random.sample(cells, len(cells))

    ordered = order(shuffled)

    assert Counter(cell.id for cell in ordered) == Counter(cell.id for cell in cells)


@given(RUNS)
def test_blocks_come_one_after_another(cells):
    blocks = [cell.block for cell in order(cells)]

    assert blocks == sorted(blocks)


@given(RUNS)
def test_a_stage_is_contiguous_in_a_block_and_its_cold_cells_come_first(cells):
    runs = [(key, list(group)) for key, group in groupby(order(cells), key=lambda cell: (cell.block, cell.stage))]

    assert len({key for key, _ in runs}) == len(runs)
    for _, group in runs:
        cold = [cell.cold for cell in group]
        assert cold == sorted(cold, reverse=True)


@given(RUNS)
def test_arms_of_one_graph_follow_each_other_within_a_stage(cells):
    for _, stage in groupby(order(cells), key=lambda cell: (cell.block, cell.stage, cell.cold)):
        graphs = [graph for graph, _ in groupby(stage, key=lambda cell: cell.graph)]
        assert len(set(graphs)) == len(graphs)


@given(RUNS)
def test_no_stage_has_a_favourite_place(cells):
    """Over as many blocks as there are stages each has had every place as often as the others, give or take one."""
    ordered = order(cells)
    blocks = 1 + max(cell.block for cell in cells)
    places: dict[Stage, list[int]] = {}
    for _, block in groupby(ordered, key=lambda cell: cell.block):
        for place, (stage, _) in enumerate(groupby(block, key=lambda cell: cell.stage)):
            places.setdefault(stage, []).append(place)

    for taken in places.values():
        assert len(taken) == blocks
        counts = [taken.count(place) for place in range(len(places))]
        assert max(counts) <= -(-blocks // len(places))


@given(RUNS)
def test_each_arm_of_a_stage_leads_it_as_often_as_the_others_give_or_take_one(cells):
    members: dict[tuple, set[str]] = {}
    leaders: dict[tuple, list[str]] = {}
    for (_, *place), group in groupby(order(cells), key=lambda cell: (cell.block, cell.stage, cell.suite, cell.graph)):
        arms = [cell.arm.name for cell in group]
        members.setdefault(tuple(place), set()).update(arms)
        leaders.setdefault(tuple(place), []).append(arms[0])

    for place, led in leaders.items():
        counts = [led.count(arm) for arm in members[place]]
        assert max(counts) - min(counts) <= 1


@given(st.lists(st.integers(), max_size=12, unique=True), st.integers(1, 20))
def test_rotation_keeps_every_item_and_its_neighbours(items, blocks):
    for block in range(blocks):
        turned = rotated(items, block, blocks)
        assert sorted(turned) == sorted(items)
        if items:
            start = items.index(turned[0])
            assert turned == items[start:] + items[:start]


@given(st.integers(2, 12), st.integers(2, 12))
def test_rotation_starts_from_different_items_as_long_as_there_are_any(count, blocks):
    starts = [rotated(range(count), block, blocks)[0] for block in range(blocks)]

    assert len(set(starts)) == min(count, blocks)


def test_nothing_to_order_is_nothing():
    assert order([]) == []


@pytest.mark.parametrize(
    ("graph", "arm", "cold", "expected"),
    [
        (GraphSpec(), "bare-dask", False, True),
        (GraphSpec(), "bare-dask", True, False),
        (GraphSpec("cached"), "bare-threads", False, False),
        (GraphSpec("retrying", failures=1), "bare-ray", False, False),
        (GraphSpec("cached"), "dask", False, True),
        (GraphSpec("retrying", failures=1), "sequential", False, True),
        (GraphSpec(), "ray", True, True),
    ],
)
def test_a_bare_engine_has_no_cache_no_retries_and_no_cold_start(graph, arm, cold, expected):
    assert applies(graph, ARMS[arm], cold) is expected


@pytest.mark.parametrize(
    ("arm", "expected"),
    [("threads", True), ("lean-dask", True), ("gather", True), ("sequential", False), ("bare-threads", False)],
)
def test_asynchronous_tasks_need_a_runner_of_prefects_kind_or_an_event_loop(arm, expected):
    assert applies(GraphSpec("map", asynchronous=True), ARMS[arm], cold=False) is expected


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (GraphSpec(), True),
        (GraphSpec("map"), True),
        (GraphSpec("cached"), True),
        (GraphSpec("retrying", failures=1), True),
        (GraphSpec("chain"), False),
        (GraphSpec("pieces"), False),
    ],
)
def test_an_event_loop_runs_every_graph_but_a_chain_and_pieces(graph, expected):
    assert applies(graph, ARMS["gather"], cold=False) is expected


@pytest.mark.parametrize(("arm", "role"), [("threads", "baseline"), ("control", "control"), ("dask", "arm")])
def test_roles(make_cell, arm, role):
    assert make_cell(arm).role == role


def test_ids_differ_by_their_block_alone(make_cell):
    first, second = make_cell("dask", 0), make_cell("dask", 1)

    assert first.id != second.id
    assert first.id.of_any_block() == second.id.of_any_block()
    assert first.label == second.label == "overhead/plain-w2/dask"


def test_a_search_is_one_place_in_the_order_and_its_cells_differ_by_their_duration_alone():
    search = Search("metg", GraphSpec(width=4, work=Work("sleep", 0.05)), ARMS["dask"], 1, Stage("dask", 2))

    assert order([search]) == [search]
    assert search.label == "metg/sleep/dask"
    assert search.at(0.2) == PlannedCell(
        "metg", GraphSpec(width=4, work=Work("sleep", 0.2)), ARMS["dask"], 1, Stage("dask", 2)
    )
    assert search.at(0.2).label == "metg/plain-w4-sleep200ms/dask"
