"""The search for METG over the blocks of a run: what it measures, and that a run that was killed takes it up again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner_lab.benchmarks.session import search
from runner_lab.benchmarks.session.plan import Search, Stage
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.records.record import Record
from runner_lab.reports.analysis.metg import Sample, estimate
from runner_lab.runners import catalog

COST_S = 0.3
ARMS = catalog.load().arms


class Killed(Exception):
    """The run ended in the middle."""


@pytest.fixture
def lab(make_record):
    """A run's records, and what measures a cell of an arm that costs `COST_S` a flow run or fails where told."""

    class Lab:
        def __init__(self, blocks: int) -> None:
            self.blocks = blocks
            self.records: dict[CellId, Record] = {}
            self.left = 10**6
            self.failing: tuple[int, ...] = ()

        def measure(self, cell) -> Record:
            if cell.id in self.records:
                return self.records[cell.id]
            if not self.left:
                raise Killed
            self.left -= 1
            record = make_record(cell, cell.graph.ideal_s(2, 2) + COST_S)
            if cell.block in self.failing:
                record = replace(record, status="error", error="it broke")
            self.records[cell.id] = record
            return record

        def block(self, number: int, kind: str = "sleep", arm: str = "dask") -> list[Record]:
            made = Search("metg", GraphSpec(width=4, work=Work(kind, 0.05)), ARMS[arm], number, Stage(arm, 2))
            return search.durations(made, list(self.records.values()), self.measure, self.blocks)

        def run(self) -> list[list[Record]]:
            return [self.block(number) for number in range(self.blocks)]

    return Lab


def taken(records: list[Record]) -> list[float]:
    return [record.graph.work.seconds for record in records]


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_finds_metg_over_the_blocks_and_then_measures_no_more(lab, blocks):
    run = lab(blocks)
    steps = run.run()

    # Four lanes on two workers: half of the time is useful where two bodies take as long as the rest.
    found = estimate([Sample(r.graph.work.seconds, r.ideal_s / r.value_s) for r in run.records.values()])
    assert found.seconds == pytest.approx(COST_S / 2, rel=0.05)
    assert all(len(block) <= search.steps_a_block(blocks) for block in steps)
    assert all(len(set(taken(block))) == len(block) for block in steps)
    assert len(run.records) == sum(len(block) for block in steps) >= 5
    assert blocks < 5 or not steps[-1]


def test_arms_and_kinds_of_work_are_searched_apart(lab):
    run = lab(5)
    run.block(0)

    first = taken(run.block(1, "spin"))
    assert first == taken(run.block(1, arm="threads"))
    assert first[0] == 0.05
    assert taken(run.block(1))[0] != 0.05


@pytest.mark.parametrize("left", range(1, 6))
def test_a_run_that_was_killed_takes_the_same_steps_again_and_goes_on(lab, left):
    whole = lab(5)
    expected = [taken(block) for block in whole.run()]
    run = lab(5)
    run.left = left
    with pytest.raises(Killed):
        run.run()
    assert len(run.records) == left

    run.left = 10**6
    assert [taken(block) for block in run.run()] == expected
    assert run.records == whole.records


def test_a_run_that_gets_more_blocks_takes_its_old_steps_again_and_goes_on(lab):
    run = lab(1)
    before = [taken(block) for block in run.run()]
    assert len(before[0]) > search.FEWEST_A_BLOCK

    run.blocks = 4
    assert [taken(block) for block in run.run()][:1] == before


def test_a_cell_that_fails_ends_its_block_and_the_next_one_tries_again(lab):
    run = lab(2)
    run.failing = (0,)

    steps = run.run()

    assert [record.status for record in steps[0]] == ["error"]
    assert taken(steps[1])[0] == taken(steps[0])[0]
    assert all(record.status == "ok" for record in steps[1])
