"""The line a user watches."""

from __future__ import annotations

import pytest

from runner_lab.benchmarks.session.plan import Search, Stage
from runner_lab.benchmarks.session.progress import Progress, spoken
from runner_lab.records.graph import GraphSpec, Work


def test_counts_what_is_done_and_what_failed(make_cell, make_record):
    cells = [make_cell("threads", block) for block in range(3)]
    progress = Progress(cells, "threads")
    assert progress.line() == "0/3 cells"

    progress.done(cells[0], [make_record(cells[0])])
    assert progress.line() == "1/3 cells, about 4 s left"
    progress.done(cells[1], [make_record(cells[1], status="error", error="it broke")])
    assert progress.line() == "2/3 cells, 1 failed, about 2 s left"
    assert progress.left == 1
    progress.done(cells[2], [make_record(cells[2])])
    assert progress.line() == "3/3 cells, 1 failed"
    assert progress.left == 0


def test_time_left_takes_each_cell_as_long_as_before_else_as_its_arm_else_as_any(make_cell, make_record):
    known, same_arm, other = make_cell("dask"), make_cell("dask", graph=GraphSpec(width=9)), make_cell("threads")
    again = make_cell("dask", 1)
    progress = Progress([known, same_arm, other, again], "threads")
    assert progress.left_s() is None

    progress.done(known, [make_record(known, elapsed_s=10.0)])
    assert progress.left_s() == pytest.approx(30.0)
    progress.done(same_arm, [make_record(same_arm, elapsed_s=20.0)])
    # `again` took 10 s before; `other` is unknown, and the mean of all is 15.
    assert progress.left_s() == pytest.approx(25.0)


def test_a_failed_cell_says_nothing_of_the_time_left(make_cell, make_record):
    cells = [make_cell("threads"), make_cell("dask")]
    progress = Progress(cells, "threads")
    progress.done(cells[0], [make_record(cells[0], status="error", error="timed out", elapsed_s=300.0)])

    assert progress.left_s() is None


def test_leader_has_the_lowest_mean_ratio_to_the_baseline(make_cell, make_record):
    graphs = [GraphSpec(width=2), GraphSpec(width=4)]
    cells = {(arm, graph): make_cell(arm, graph=graph) for arm in ("threads", "dask", "ray") for graph in graphs}
    progress = Progress(list(cells.values()), "threads")
    assert progress.leader() is None

    for (arm, graph), value_s in zip(cells, [1.0, 10.0, 2.0, 2.0, 0.9, 20.0], strict=True):
        progress.done(cells[arm, graph], [make_record(cells[arm, graph], value_s)])

    # dask: 2.0 and 0.2 of the baseline; ray: 0.9 and 2.0.
    assert progress.leader() == "dask"


def test_neither_the_control_nor_a_bare_engine_leads(make_cell, make_record):
    cells = [make_cell(arm) for arm in ("threads", "control", "bare-dask")]
    progress = Progress(cells, "threads")
    for cell, value_s in zip(cells, [1.0, 0.5, 0.01], strict=True):
        progress.done(cell, [make_record(cell, value_s)])

    assert progress.leader() is None


def test_an_arm_with_more_workers_than_the_others_does_not_lead(make_cell, make_record):
    cells = [
        *(make_cell(arm, suite="worker_scaling") for arm in ("threads", "dask")),
        *(make_cell(arm, suite="worker_scaling", workers=4) for arm in ("threads", "ray")),
    ]
    progress = Progress(cells, "threads")
    for cell, value_s in zip(cells, [1.0, 0.9, 0.1, 0.1], strict=True):
        progress.done(cell, [make_record(cell, value_s)])

    assert progress.leader() == "dask"


def test_no_leader_without_the_baseline_beside_it(make_cell, make_record):
    cells = [make_cell("threads", graph=GraphSpec(width=9)), make_cell("dask"), make_cell("ray")]
    progress = Progress(cells, "threads")
    for cell in cells:
        progress.done(cell, [make_record(cell)])

    assert progress.leader() is None


def test_a_cell_of_an_earlier_run_counts_as_done_once(make_cell, make_record):
    cell = make_cell()
    progress = Progress([cell], "threads")
    progress.done(cell, [make_record(cell)])
    progress.done(cell, [make_record(cell)])

    assert progress.line() == "1/1 cells"


def test_a_search_counts_as_one_cell_until_it_has_measured_its_own(make_cell, make_record):
    fixed = make_cell()
    first, second = (
        Search("metg", GraphSpec(width=4, work=Work("sleep", 0.1)), fixed.arm, block, Stage("threads", 2))
        for block in (0, 1)
    )
    progress = Progress([fixed, first, second], "threads")
    records = [make_record(first.at(seconds), elapsed_s=3.0) for seconds in (0.1, 0.4, 0.2)]
    progress.done(first, records)
    assert progress.line().startswith("3/5 cells, about 12 s left")

    progress.done(second, [])
    progress.done(fixed, [make_record(fixed)])
    assert (progress.total, progress.left) == (4, 0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89.0, "89 s"), (90.0, "2 min"), (121.0, "3 min"), (7200.0, "120 min")]
)
def test_spoken(seconds, words):
    assert spoken(seconds) == words
