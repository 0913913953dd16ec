"""What a run with a limit measures again, and what it spares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner_lab.benchmarks.profiles import Thrift
from runner_lab.benchmarks.session.plan import PlannedCell, Stage
from runner_lab.benchmarks.session.thrift import known_to, spared
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.records.record import Phases
from runner_lab.runners.spec import RunnerSpec
from tests.reports import synthetic

THRIFT = Thrift(end_s=100.0, known_to=0.1, longest_s=3.0, stock=frozenset({"cached"}))
GRAPH = GraphSpec("map", width=8)
[BLANK] = synthetic.records([synthetic.THREADS], [("map", GRAPH)], blocks=1)


def cell(block: int = 0, graph: GraphSpec = GRAPH, suite: str = "map") -> PlannedCell:
    return PlannedCell(suite, graph, RunnerSpec("threads", "threads", "a.B"), block, Stage("threads", 2))


def measured(seconds: float, block: int = 0, graph: GraphSpec = GRAPH, suite: str = "map"):
    return replace(
        BLANK,
        suite=suite,
        graph=graph,
        tasks=graph.tasks,
        block=block,
        phases=Phases(makespan_s=seconds, total_s=seconds),
    )


def asked(planned: PlannedCell, records, elapsed_s: float = 0.0, expected_s: float = 1.0) -> str | None:
    return spared(planned, records, THRIFT, elapsed_s, lambda: expected_s, shares_gil=True)


def test_the_first_block_is_measured_whatever_the_time():
    assert asked(cell(0), [], elapsed_s=1e6) is None


def test_no_cell_of_a_later_block_is_begun_that_would_end_after_the_limit():
    records = [measured(1.0)]

    assert asked(cell(1), records, elapsed_s=98, expected_s=1) is None
    assert asked(cell(1), records, elapsed_s=98, expected_s=3) == "the run's time is over"


def test_what_is_known_is_not_measured_again():
    narrow = [measured(1.0, 0), measured(1.01, 1), measured(0.99, 2)]
    wide = [measured(1.0, 0), measured(1.6, 1), measured(0.7, 2)]

    assert asked(cell(3), narrow) == f"known to {known_to(cell().id, narrow):.0%}"
    assert asked(cell(3), wide) is None


def test_two_values_that_happen_to_agree_are_not_known_where_the_suite_is_noisy():
    other = GraphSpec("map", width=40)
    noisy = [measured(value, block, other) for block, value in enumerate((1.0, 1.5, 0.6))]
    alike = [measured(1.0, 0), measured(1.0, 1)]

    assert known_to(cell().id, alike) == pytest.approx(0.0)
    assert known_to(cell().id, [*alike, *noisy]) > 0.3


def test_one_value_tells_nothing_of_how_well_it_is_known():
    assert known_to(cell().id, [measured(1.0)]) is None


def test_a_dear_runner_measures_no_wide_map():
    narrower = [measured(0.5, graph=GraphSpec("map", width=8)), measured(2.1, graph=GraphSpec("map", width=40))]
    cheap = [measured(0.1, graph=GraphSpec("map", width=8)), measured(0.5, graph=GraphSpec("map", width=40))]
    wide = cell(graph=GraphSpec("map", width=120))

    assert asked(wide, narrower) == "would take over 3 s"
    assert asked(wide, cheap) is None


def test_the_two_narrowest_maps_are_measured_however_dear():
    slow = [measured(5.0, graph=GraphSpec("map", width=8))]

    assert asked(cell(graph=GraphSpec("map", width=40)), slow) is None


@pytest.mark.parametrize(
    ("suite", "lean", "told"), [("cached", True, True), ("cached", False, False), ("map", True, False)]
)
def test_suites_of_stock_runners_are_not_measured_by_lean_ones(suite, lean, told):
    planned = cell(suite=suite)
    planned = replace(planned, arm=replace(planned.arm, lean=lean))

    assert (asked(planned, []) is not None) == told


def test_work_that_releases_the_gil_is_measured_where_there_is_one_to_release():
    crunch = GraphSpec("map", width=8, work=Work("crunch", 0.1))
    planned = cell(suite="work", graph=crunch)

    assert spared(planned, [], THRIFT, 0.0, lambda: 1.0, shares_gil=True) is None
    assert spared(planned, [], THRIFT, 0.0, lambda: 1.0, shares_gil=False) == "no GIL to release"
