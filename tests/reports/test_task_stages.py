"""Where a task's time goes: what records say of it is what the report shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runner_lab.records import record as records
from runner_lab.records.task_stages import HINTS, STAGES, TaskStages
from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.charts import task_stages as task_stages_chart
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.pages import tables
from tests.reports import synthetic

ARMS = (synthetic.THREADS, synthetic.CONTROL, synthetic.DASK, synthetic.LEAN[2])
CHAIN = [("task_stages", synthetic.graph(25, "chain"))]


def without(stages_of: TaskStages, *stages: str) -> TaskStages:
    return replace(
        stages_of, stages_s={name: value for name, value in stages_of.stages_s.items() if name not in stages}
    )


@pytest.fixture
def lines():
    return synthetic.records(ARMS, CHAIN, blocks=4)


@pytest.fixture
def summarised(tmp_path):
    return lambda lines: summarise(synthetic.write(tmp_path / "run", lines))


def test_a_record_keeps_its_stages(lines):
    for record in lines:
        assert records.parse(records.to_json(record)) == record


def test_stages_add_up_to_the_task(lines, summarised):
    for found in summarised(lines).task_stages.arms:
        assert sum(found.stages_s.values()) == pytest.approx(found.total_s)
        assert found.untold_s == 0
        assert found.tasks == 4 * 8


def test_arms_stand_in_their_order_with_their_shares(lines, summarised):
    found_stages = summarised(lines).task_stages

    assert [found.arm for found in found_stages.arms] == [truth.name for truth in ARMS]
    for found, truth in zip(found_stages.arms, ARMS, strict=True):
        assert found.total_s == pytest.approx(truth.per_task_s, rel=0.1)
        for stage, share in synthetic.SHARES.items():
            assert found.stages_s[stage] == pytest.approx(share * found.total_s)


@pytest.mark.parametrize("probe", [1.0, 1.01, 1.2])
def test_the_cost_of_the_probe_is_found(lines, summarised, probe):
    rng = np.random.default_rng(5)
    lines = [replace(record, task_stages=synthetic.task_stages(ARMS[0], rng, probe)) for record in lines]

    found = summarised(lines).task_stages.probe

    assert found.low <= probe <= found.high
    assert found.n == len(lines)
    assert found.high - found.low < 0.1


def test_a_probe_that_costs_much_is_warned_of(lines, summarised):
    from runner_lab.reports.words import advice

    rng = np.random.default_rng(5)
    dear = [replace(record, task_stages=synthetic.task_stages(ARMS[0], rng, 1.2)) for record in lines]

    assert any("probe" in line for line in advice.warnings(summarised(dear)))
    assert not any("probe" in line for line in advice.warnings(summarised(lines)))


def test_a_failed_cell_has_no_part(lines, summarised):
    lines = [replace(r, status="error", error="no") if r.arm == "dask" else r for r in lines]

    assert "dask" not in [found.arm for found in summarised(lines).task_stages.arms]


def test_the_table_has_a_column_a_stage(lines, summarised):
    table = tables.task_stages(summarised(lines))

    assert [column.title for column in table.columns] == ["Arm", "ms a task", *STAGES, "Probe"]
    assert [row[0].text for row in table.rows] == [truth.name for truth in ARMS]
    assert all(column.hint for column in table.columns[1:])
    assert HINTS.keys() == set(STAGES)


def test_a_stage_that_was_not_measured_is_no_figure(lines, summarised):
    lines = [
        replace(r, task_stages=without(r.task_stages, "client", "hydrate", "engine")) if r.arm == "dask" else r
        for r in lines
    ]
    summary = summarised(lines)
    dask = next(found for found in summary.task_stages.arms if found.arm == "dask")
    row = next(row for row in tables.task_stages(summary).rows if row[0].text == "dask")

    assert dask.untold_s == pytest.approx(0.6 * dask.total_s)
    assert [entry.text for entry in row].count("-") == 3
    drawn = task_stages_chart.where_a_task_goes(summary)
    assert isinstance(drawn, Drawing)
    assert task_stages_chart.UNTOLD in [text.get_text() for text in drawn.figure.legends[0].get_texts()]


def test_bars_are_as_long_as_the_tasks(lines, summarised):
    summary = summarised(lines)
    drawn = task_stages_chart.where_a_task_goes(summary)
    assert isinstance(drawn, Drawing)
    every, enlarged = drawn.figure.axes

    for axes, found_stages in (
        (every, summary.task_stages.arms),
        (enlarged, [t for t in summary.task_stages.arms if t.arm != "dask"]),
    ):
        ends = {}
        for bar in axes.patches:
            place = round(bar.get_y() + bar.get_height() / 2)
            ends[place] = max(ends.get(place, 0), bar.get_x() + bar.get_width())
        assert list(ends.values()) == pytest.approx([found.total_s * 1e3 for found in found_stages])
    assert "dask" in drawn.takeaway
    assert "with it off" in drawn.takeaway


def test_a_run_without_the_bench_says_so(summarised):
    summary = summarised(synthetic.records(synthetic.SMOKE, [("overhead", synthetic.graph(4))], blocks=1))

    assert tables.task_stages(summary) is None
    assert isinstance(task_stages_chart.where_a_task_goes(summary), Missing)


def test_one_block_has_a_ratio_and_no_interval(summarised):
    drawn = task_stages_chart.where_a_task_goes(summarised(synthetic.records(ARMS[:1], CHAIN, blocks=1)))

    assert isinstance(drawn, Drawing)
    assert "one block: no interval" in drawn.takeaway


def test_page_and_markdown_carry_it(full_run):
    for text in (full_run.html, full_run.details):
        assert "Where a task's time goes" in text.replace("&#39;", "'")
        assert "serialize" in text
