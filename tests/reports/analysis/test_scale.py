"""Very wide graphs, from records whose truth is known: growth, memory, what the server lost, servers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from runner_lab import lab
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record, Traffic
from runner_lab.records.run_plan import LeftOut
from runner_lab.reports.analysis.quotas import QUOTAS, Quota
from runner_lab.reports.analysis.scale import ArmScale, Size
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.charts.scale import cost_by_width_at_scale
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.pages import folds, scale_tables
from runner_lab.reports.words import units, verdict
from tests.reports import synthetic
from tests.reports.synthetic import Truth

WIDTHS = (3, 33, 333, 1667)
FLAT = Truth("threads", role="baseline", per_task_s=0.02, noise=0)
BENT = Truth("lean-dask", "dask", lean=True, per_task_s=0.01, quadratic_s=2e-6, noise=0)
WIDEST = LeftOut(CellId("scale", GraphSpec(width=1667), "lean-dask", 2, 0), "would take about 25 min")
TRAFFIC = Traffic({"task_runs": 2000, "logs": 500}, events=15006, logs=5002)


def wide(truths: Sequence[Truth] = (FLAT, BENT), widths: Sequence[int] = WIDTHS, blocks: int = 2) -> list[Record]:
    """A run of the scale suite: the driver grows by 2 kB a task, the server is asked 0.5 times a task."""
    found = synthetic.records(truths, [("scale", synthetic.graph(width)) for width in widths], blocks, drift=0)
    return [
        replace(
            record,
            usage=replace(
                record.usage, driver_rss_before_bytes=200_000_000, driver_rss_bytes=200_000_000 + 2000 * record.tasks
            ),
            traffic=replace(
                TRAFFIC, requests={"task_runs": record.tasks // 2}, events=3 * record.tasks, logs=record.tasks
            ),
        )
        for record in found
    ]


def summary_of(tmp_path: Path, lines: Sequence[Record], **plan: object) -> Summary:
    return summarise(synthetic.write(tmp_path / "run", lines, synthetic.plan(lines, **plan) if plan else None))


def only(summary: Summary, arm: str) -> ArmScale:
    return next(one for one in summary.scale if one.arm == arm)


def size(summary: Summary, arm: str, tasks: int) -> Size:
    return next(size for size in only(summary, arm).sizes if size.tasks == tasks)


def cells(table: scale_tables.Table, title: str) -> list[str]:
    column = [column.title for column in table.columns].index(title)
    return [row[column].text for row in table.rows]


def test_growth_is_the_marginal_cost_at_the_widest_over_that_at_a_hundred_tasks(tmp_path):
    summary = summary_of(tmp_path, wide())

    assert only(summary, "threads").growth.value == pytest.approx(1)
    # The slope of a t + q t^2 between two sizes is a + q (sum of both).
    true = (0.01 + 2e-6 * (1000 + 5002)) / (0.01 + 2e-6 * (10 + 100))
    assert only(summary, "lean-dask").growth.value == pytest.approx(true)
    assert only(summary, "lean-dask").widest == 5002
    assert size(summary, "lean-dask", 1000).marginal_s.value == pytest.approx(0.01 + 2e-6 * 1100)


def test_growth_has_an_interval_from_two_blocks_and_none_from_one(tmp_path):
    noisy = [replace(FLAT, noise=0.02)]

    assert only(summary_of(tmp_path, wide(noisy, blocks=1)), "threads").growth.low is None
    growth = only(summary_of(tmp_path, wide(noisy, blocks=5)), "threads").growth
    assert growth.low < growth.value < growth.high
    assert growth.n == 5


def test_a_run_without_a_narrow_size_claims_no_growth(tmp_path):
    summary = summary_of(tmp_path, wide(widths=(333, 1667)))

    assert only(summary, "threads").growth is None
    assert isinstance(cost_by_width_at_scale(summary), Missing)


def test_without_a_hundred_tasks_the_next_size_is_named(tmp_path):
    lines = [record for record in wide() if (record.arm, record.tasks) != ("lean-dask", 100)]
    summary = summary_of(tmp_path, lines)
    growth = verdict.of(summary)[0]
    table = scale_tables.cost_by_width(summary)
    drawn = cost_by_width_at_scale(summary)

    assert [only(summary, arm).reference for arm in ("threads", "lean-dask")] == [100, 1000]
    assert growth.startswith("Against one at 100 tasks, a task costs within 1.2x under threads (1.00x")
    assert ". Against one at 1,000 tasks, a task costs over 1.2x under lean-dask (1.83x" in growth
    said = [row[4].detail.splitlines()[0] for row in table.rows if row[4].detail]
    assert said == ["of that at 100", "of that at 1,000"]
    assert "x at 100 or 1,000" in [column.title for column in table.columns]
    assert "; against one at 1,000 tasks: 1." in drawn.takeaway


def test_where_the_start_of_a_pool_is_most_of_the_time_nothing_is_held_against_it(tmp_path):
    pool = Truth("pool", "processes", fixed_s=2.3, per_task_s=0.007, noise=0)
    found = only(summary_of(tmp_path, wide([FLAT, pool])), "pool")

    assert (found.reference, found.widest) == (1000, 5002)
    assert [size.growth is None for size in found.sizes] == [True, True, False, False]


def test_a_smaller_graph_that_took_longer_leaves_no_cost_of_a_task(tmp_path):
    slow = [
        replace(record, phases=replace(record.phases, makespan_s=60.0)) if record.tasks == 10 else record
        for record in wide()
    ]
    table = scale_tables.cost_by_width(summary_of(tmp_path, slow))

    told = dict(zip(cells(table, "Tasks"), cells(table, "ms a task"), strict=True))
    assert told["100"] == units.NONE
    assert float(told["1,000"]) > 0


def test_a_folded_table_says_its_finding_once(tmp_path):
    [fold] = [fold for fold in folds.of(summary_of(tmp_path, wide()), []) if fold.id == "scale-fold"]
    [table] = fold.tables

    assert fold.finding.startswith("The target")
    assert fold.finding not in table.note
    assert table.note.startswith("Memory: ")


def test_the_chart_draws_the_ratios_that_it_tells(tmp_path):
    lines = wide([replace(FLAT, noise=0.3)], blocks=3)
    summary = summary_of(tmp_path, lines)
    drawn = cost_by_width_at_scale(summary)

    (line, *_) = drawn.figure.axes[0].lines
    assert list(line.get_xdata()) == [100, 1000, 5002]
    assert line.get_ydata()[0] == pytest.approx(1)
    assert line.get_ydata()[-1] == pytest.approx(only(summary, "threads").growth.value)


def test_the_drivers_memory_is_what_the_cell_added(tmp_path):
    summary = summary_of(tmp_path, wide())

    assert size(summary, "threads", 1000).driver_added_bytes == 2_000_000
    assert size(summary, "threads", 5002).driver_bytes_per_task == pytest.approx(2000)


def test_recorded_a_second_is_over_all_the_time_the_server_took(tmp_path):
    lines = [replace(record, visibility_lag_s=40.0) for record in wide()]
    summary = summary_of(tmp_path, lines)

    one = next(record for record in lines if (record.arm, record.tasks) == ("threads", 1000))
    assert size(summary, "threads", 1000).recorded_per_s.value == pytest.approx(1000 / (one.phases.total_s + 40), 0.05)
    assert size(summary, "threads", 1000).lag_s == 40


def test_missing_task_runs_and_complaints_of_the_server_show(tmp_path):
    lines = [
        replace(
            record,
            recorded=record.recorded - 7,
            traffic=replace(record.traffic, locked=2, dropped=11, failed=1, errors=4),
        )
        if (record.arm, record.tasks) == ("threads", 5002)
        else record
        for record in wide()
    ]
    table = scale_tables.cost_by_width(summary_of(tmp_path, lines))

    assert cells(table, "Recorded")[:4] == ["20/20", "200/200", "2000/2000", "9990/10004"]
    assert cells(table, "Locked")[:4] == ["0", "0", "0", "4"]
    assert cells(table, "Dropped")[:4] == ["0", "0", "0", "22"]
    assert cells(table, "Errors")[:4] == ["0", "0", "0", "10"]


def test_what_was_left_out_stands_in_its_row_and_leaves_the_run_whole(tmp_path):
    lines = [record for record in wide() if (record.arm, record.tasks) != ("lean-dask", 5002)]
    left_out = (WIDEST, LeftOut(CellId("overhead", GraphSpec(width=9), "lean-dask", 2, 0), "of another suite"))
    summary = summary_of(tmp_path, lines, left_out=left_out)

    assert summary.run.partial is None
    table = scale_tables.cost_by_width(summary)
    assert cells(table, "Makespan")[-1] == "not measured: would take about 25 min"
    assert cells(table, "Tasks")[-1] == "5,002"
    assert only(summary, "lean-dask").widest == 1000


def test_a_size_that_failed_says_why(tmp_path):
    lines = [
        replace(record, status="error", error="timed out", recorded=None, traffic=None)
        if (record.arm, record.tasks) == ("threads", 5002)
        else record
        for record in wide()
    ]

    assert cells(scale_tables.cost_by_width(summary_of(tmp_path, lines)), "Makespan")[3] == "timed out"


def test_requests_a_task_stand_beside_what_each_plan_leaves_room_for(tmp_path):
    table = scale_tables.requests_a_task(summary_of(tmp_path, wide()))

    assert cells(table, "Requests a task") == ["0.500", "0.500"]
    assert cells(table, "Events a task") == ["3.00", "3.00"]
    # 3 events and a log line each: 2,000 messages are for 500 tasks, and 625 requests for 1,250.
    assert cells(table, "Hobby, tasks a minute") == ["500", "500"]
    # A plan of many messages and few requests is ended by its requests.
    assert Quota("other", 100, 10**6).tasks_a_minute(0.5, 4) == 200
    assert QUOTAS[0].tasks_a_minute(0, 0) is None


def test_the_verdict_says_growth_what_was_lost_and_what_was_not_measured(tmp_path):
    lines = [
        replace(record, recorded=record.recorded - 1) if (record.arm, record.tasks) == ("threads", 1000) else record
        for record in wide()
        if (record.arm, record.tasks) != ("lean-dask", 5002)
    ]
    left_out = (WIDEST,)

    growth, lost, without = verdict.of(summary_of(tmp_path, lines, left_out=left_out))
    assert growth == (
        "Against one at 100 tasks, a task costs within 1.2x under threads (1.00x at 5,002, 1.00\N{EN DASH}1.00) "
        "and lean-dask (1.19x at 1,000, 1.19\N{EN DASH}1.19)."
    )
    assert lost == "Task runs that the server never recorded: 2 of 2,000 at 1,000 under threads."
    assert without == "Not measured: lean-dask at 5,002 (would take about 25 min)."


def test_without_counts_there_is_no_table_of_requests(tmp_path):
    summary = summary_of(tmp_path, [replace(record, traffic=None) for record in wide()])

    assert scale_tables.requests_a_task(summary) is None
    assert set(cells(scale_tables.cost_by_width(summary), "Locked")) == {"-"}


def test_the_chart_says_the_growth_of_each_arm(tmp_path):
    drawn = cost_by_width_at_scale(summary_of(tmp_path, wide()))

    assert isinstance(drawn, Drawing)
    assert drawn.takeaway == (
        "A task costs, against one at 100 tasks: 1.00x at 5,002 under threads and 2.15x at 5,002 under lean-dask."
    )
    cost, memory, _ = drawn.figure.axes
    (line,) = [line for line in memory.lines if list(line.get_ydata())[-1] == pytest.approx(2 * 5.002)][:1]
    assert list(line.get_xdata()) == [10, 100, 1000, 5002]
    assert cost.get_ylim()[1] > 2.15


def test_other_runs_carry_nothing_of_it(tmp_path):
    summary = summary_of(tmp_path, synthetic.records(synthetic.SMOKE, blocks=1))

    assert summary.scale == ()
    assert scale_tables.cost_by_width(summary) is None
    assert isinstance(cost_by_width_at_scale(summary), Missing)


def on(lines: Sequence[Record], database: str, **settings: str) -> list[Record]:
    server = {"database": database, "lab": True, **({"settings": settings} if settings else {})}
    return [replace(record, environment={**record.environment, "server": server}) for record in lines]


@pytest.fixture
def two_servers(tmp_path) -> list[Path]:
    """SQLite twice, and a Postgres on which everything takes half the time."""
    slow, fast = wide([FLAT]), wide([replace(FLAT, per_task_s=0.01, fixed_s=0.01)])
    return [
        synthetic.write(tmp_path / "a", on(slow, "sqlite")),
        synthetic.write(tmp_path / "b", on(fast, "postgresql", PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE="20")),
        synthetic.write(tmp_path / "c", on(slow, "sqlite")),
    ]


def test_two_servers_stand_side_by_side_and_runs_on_one_are_pooled(two_servers):
    table = scale_tables.side_by_side(scale_tables.served(two_servers))

    assert cells(table, "Server")[-2:] == ["A", "B"]
    assert table.note == "A: sqlite. B: postgresql with PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE=20."
    assert cells(table, "Tasks")[-2:] == ["5,002", "5,002"]
    assert [row[3].detail for row in table.rows[-2:]] == ["n 4", "n 2"]
    assert table.rows[-2][4].text == "-"
    assert table.rows[-1][4].text == "0.50x"


def test_the_command_prints_the_table_in_markdown(two_servers, capsys):
    lab.main(["scale", *map(str, two_servers), "--markdown"])

    printed = capsys.readouterr().out
    assert "\n| Arm | Tasks | Server |" in printed
    assert printed.count("| B |") == len(WIDTHS)


@pytest.mark.parametrize("wrong", [[], ["nowhere"], ["smoke"]])
def test_the_command_refuses_what_is_no_such_run_in_one_line(wrong, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    synthetic.write(tmp_path / "smoke", synthetic.records(synthetic.SMOKE, blocks=1))
    with pytest.raises(SystemExit) as ended:
        lab.main(["scale", *wrong])

    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
