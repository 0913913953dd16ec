"""The line a user watches."""

from __future__ import annotations

import pytest

from runner_lab.benchmarks.session.plan import Drawn, Search, Stage
from runner_lab.benchmarks.session.progress import Progress, spoken
from runner_lab.records.graph import GraphSpec, Work


def test_counts_what_is_done_and_what_failed(make_cell, make_record):
    cells = [make_cell("threads", block) for block in range(3)]
    progress = Progress(cells)
    assert progress.line() == "[....................] 0/3"

    progress.done(cells[0], [make_record(cells[0])])
    assert progress.line() == "[######..............] 1/3, about 4 s left"
    progress.done(cells[1], [make_record(cells[1], status="error", error="it broke")])
    assert progress.line() == "[#############.......] 2/3, about 2 s left, 1 failed"
    assert progress.left == 1
    progress.done(cells[2], [make_record(cells[2])])
    assert progress.line() == "[####################] 3/3, 1 failed"
    assert progress.left == 0


def test_time_left_takes_each_cell_as_long_as_before_else_as_its_arm_else_as_any(make_cell, make_record):
    known, same_arm, other = make_cell("dask"), make_cell("dask", graph=GraphSpec(width=9)), make_cell("threads")
    again = make_cell("dask", 1)
    progress = Progress([known, same_arm, other, again])
    assert progress.left_s() is None

    progress.done(known, [make_record(known, elapsed_s=10.0)])
    assert progress.left_s() == pytest.approx(30.0)
    progress.done(same_arm, [make_record(same_arm, elapsed_s=20.0)])
    # `again` took 10 s before; `other` is unknown, and the mean of all is 15.
    assert progress.left_s() == pytest.approx(25.0)


def test_a_failed_cell_says_nothing_of_the_time_left(make_cell, make_record):
    cells = [make_cell("threads"), make_cell("dask")]
    progress = Progress(cells)
    progress.done(cells[0], [make_record(cells[0], status="error", error="timed out", elapsed_s=300.0)])

    assert progress.left_s() is None


def test_cells_that_would_be_spared_take_no_time_and_repeats_no_more_than_is_left(make_cell, make_record):
    first, other = make_cell("threads"), make_cell("dask")
    repeats = [make_cell("threads", block) for block in (1, 2, 3)]
    progress = Progress([first, other, *repeats], spared=lambda cell: cell.block == 3, repeats_s=lambda: 25.0)
    progress.done(first, [make_record(first, elapsed_s=10.0)])

    # `other` 10 s; the repeats in blocks 1 and 2 would take 20 s more, and 15 s are left for them.
    assert progress.left_s() == pytest.approx(25.0)
    assert progress.line().endswith(" 1/4, about 25 s left")


def test_work_that_is_drawn_is_measured_again_however_late_it_is(make_cell, make_record):
    first = make_cell("threads", 0)
    again = Drawn(**vars(make_cell("threads", 1)))
    progress = Progress([first, again], repeats_s=lambda: 0.0)
    progress.done(first, [make_record(first, elapsed_s=10.0)])
    assert progress.left_s() == pytest.approx(10.0)


def test_the_line_has_a_bar_and_names_what_is_measured_now(make_cell, make_record):
    cells = [make_cell("threads", block) for block in range(4)]
    progress = Progress(cells)
    for cell in cells[:3]:
        progress.done(cell, [make_record(cell, elapsed_s=5.0)])

    assert progress.line("map/120/dask") == "[###############.....] 3/4, about 5 s left: map/120/dask"


def test_a_cell_of_an_earlier_run_counts_as_done_once(make_cell, make_record):
    cell = make_cell()
    progress = Progress([cell])
    progress.done(cell, [make_record(cell)])
    progress.done(cell, [make_record(cell)])

    assert progress.line() == "[####################] 1/1"


def test_a_search_counts_as_one_cell_until_it_has_measured_its_own(make_cell, make_record):
    fixed = make_cell()
    first, second = (
        Search("metg", GraphSpec(width=4, work=Work("sleep", 0.1)), fixed.arm, block, Stage("threads", 2))
        for block in (0, 1)
    )
    progress = Progress([fixed, first, second])
    records = [make_record(first.at(seconds), elapsed_s=3.0) for seconds in (0.1, 0.4, 0.2)]
    progress.done(first, records)
    assert progress.line().endswith(" 3/5, about 12 s left")

    progress.done(second, [])
    progress.done(fixed, [make_record(fixed)])
    assert (progress.total, progress.left) == (4, 0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89.0, "89 s"), (90.0, "2 min"), (121.0, "3 min"), (7200.0, "120 min")]
)
def test_spoken(seconds, words):
    assert spoken(seconds) == words
