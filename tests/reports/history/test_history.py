"""The history of runs: what is kept, read back, drawn, and what it says of change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from runner_lab.records.record import RecordError
from runner_lab.records.traits import ArmTraits
from runner_lab.reports import charts
from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.charts import style
from runner_lab.reports.history import history, timings, trend
from runner_lab.reports.rendering import render
from tests.reports import synthetic
from tests.reports.conftest import HOSTILE
from tests.reports.history.test_difference import slowed
from tests.reports.test_commands import typed

TRUTHS = (synthetic.THREADS, synthetic.CONTROL, synthetic.DASK)
CELLS = [("overhead", synthetic.graph(width)) for width in (4, 16, 48)]
CHANGED_AT = 6
RUNS = 12


def keep(
    folder: Path, seed: int, factor: float = 1.0, truths: Sequence[synthetic.Truth] = TRUTHS, **told: object
) -> Path:
    records = slowed(synthetic.records(truths, CELLS, blocks=3, seed=seed, drift=0.0), "dask", factor)
    records = [replace(record, run_id=folder.name) for record in records]
    day = {"run_id": folder.name, "started_at": f"2026-11-{seed + 1:02d}T03:00:00+00:00"}
    run = synthetic.write(folder, records, synthetic.plan(records, **day | told))
    return history.keep(run, summarise(run), timings.read(run), "Start with threads.")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dask is 1.4 times as slow from the seventh of twelve runs on."""
    folder = tmp_path_factory.mktemp("history") / "results"
    for number in range(RUNS):
        keep(folder / f"run-{number:02d}", number, 1.4 if number >= CHANGED_AT else 1.0)
    return folder


@pytest.fixture(scope="module")
def runs(results: Path) -> list[history.Kept]:
    return history.read(results / history.FILE_NAME)


class TestKeeping:
    def test_what_is_read_is_what_was_kept(self, results: Path, runs: list[history.Kept]) -> None:
        assert [run.folder for run in runs] == [f"run-{number:02d}" for number in range(RUNS)]
        summary = summarise(results / "run-03")
        assert runs[3].timings == timings.read(results / "run-03")
        assert runs[3].verdict == "Start with threads."
        assert [figures.arm for figures in runs[3].arms] == [row.arm for row in summary.rows]
        marginal = summary.rows[2].marginal
        assert marginal is not None
        assert runs[3].arms[2].per_task_s == marginal.per_task_s

    def test_what_engines_said_of_their_arms_is_kept(self, tmp_path: Path) -> None:
        (kept,) = history.read(keep(tmp_path / "a", 1, traits={"dask": {"rank": 7, "caveat": "Theirs."}}))
        arms = {figures.arm.name: figures.arm.traits for figures in kept.arms}
        assert arms["dask"] == ArmTraits(rank=7, caveat="Theirs.")
        assert arms["threads"].rank == 10

    def test_the_same_run_again_takes_the_place_of_its_row(self, tmp_path: Path) -> None:
        keep(tmp_path / "a", 1)
        path = keep(tmp_path / "a", 2)
        (kept,) = history.read(path)
        assert kept.timings == timings.read(tmp_path / "a")
        with sqlite3.connect(path) as database:
            assert database.execute("SELECT count(*) FROM cells").fetchone() == (9,)

    def test_rendering_keeps_a_run(self, tmp_path: Path) -> None:
        run = synthetic.write(tmp_path / "results" / "nightly" / "one", synthetic.records(TRUTHS, CELLS, blocks=2))
        for _ in range(2):
            rendered = render(run)
        assert not any("history" in warning for warning in rendered.warnings)
        (kept,) = history.read(tmp_path / "results" / history.FILE_NAME)
        assert (kept.folder, kept.verdict) == ("nightly/one", rendered.verdict[0])

    def test_the_file_of_records_is_rendered_as_its_folder(self, tmp_path: Path, no_charts: None) -> None:
        run = synthetic.write(tmp_path / "results" / "one", synthetic.records(TRUTHS, CELLS, blocks=1))
        assert render(run / "records.jsonl").html == run / "report.html"

    def test_a_history_that_cannot_be_used_costs_no_report(self, tmp_path: Path) -> None:
        (tmp_path / history.FILE_NAME).write_text("no database, and a good deal longer than its header would be" * 9)
        rendered = render(synthetic.write(tmp_path / "one", synthetic.records(TRUTHS, CELLS, blocks=2)))
        assert rendered.html.exists()
        assert rendered.warnings[-1].startswith(f"Not kept in the history: cannot use the history {tmp_path}")

    def test_another_programs_database_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / history.FILE_NAME
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE theirs (x)")
        with pytest.raises(RecordError, match="another program's database"):
            history.read(path)
        with sqlite3.connect(path) as database:
            assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]

    def test_a_later_schema_is_left_alone(self, tmp_path: Path) -> None:
        path = keep(tmp_path / "a", 1)
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
        with pytest.raises(RecordError, match="schema 99, here 2"):
            keep(tmp_path / "b", 2)

    def test_a_reader_waits_for_nobody_who_writes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = keep(tmp_path / "what?#" / "a", 1)
        monkeypatch.setattr(history, "_WAIT_S", 0.1)
        with closing(sqlite3.connect(path)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("DELETE FROM runs")
            assert [run.run_id for run in history.read(path)] == ["a"]

    def test_names_of_any_kind_are_kept(self, tmp_path: Path) -> None:
        path = keep(tmp_path / "a", 1, truths=(*TRUTHS, *HOSTILE))
        (kept,) = history.read(path)
        assert len(kept.arms) == len(TRUTHS) + len(HOSTILE)


class TestTrend:
    def test_a_step_is_found_where_it_is_and_nowhere_else(self, runs: list[history.Kept]) -> None:
        found = {arm.arm.name: arm.changes for arm in trend.trends(runs)}
        (change,) = found["dask"]
        assert (change.at, change.run_id) == (CHANGED_AT, f"run-{CHANGED_AT:02d}")
        assert 1.3 < change.ratio < 1.5
        assert change.p < 0.05
        assert found["threads"] == found["control"] == ()

    def test_of_series_without_a_change_few_show_one(self) -> None:
        rng = np.random.default_rng(5)
        wrong = sum(bool(trend.change_points(rng.normal(0, 0.2, 10), 0.0)) for _ in range(100))
        assert wrong <= 12, "5 of 100 are expected"

    def test_two_steps_are_both_found(self) -> None:
        logs = np.repeat([0.0, 0.4, 0.1], 10) + np.random.default_rng(1).normal(0, 0.03, 30)
        assert [at for at, _ in trend.change_points(logs, 0.05)] == [10, 20]

    @pytest.mark.parametrize(
        "logs",
        [
            *([], [0.1], [0.0, 1.0, 2.0], [0.3] * 20),
            [0.0] * 6 + [3.0] + [0.01] * 6,
            [0.0, 0.001] * 5 + [0.02, 0.021] * 5,
        ],
        ids=["none", "one", "three", "flat", "outlier", "within-noise"],
    )
    def test_no_change_is_seen_in(self, logs: list[float]) -> None:
        assert trend.change_points(logs, 0.05) == []

    def test_only_runs_of_one_kind_on_one_machine_are_a_series(self, runs: list[history.Kept]) -> None:
        elsewhere = replace(runs[1].timings, facts=runs[1].timings.facts | {"cpu": "Another CPU"})
        others = [
            runs[0],
            replace(runs[1], timings=elsewhere),
            replace(runs[2], profile="full"),
            replace(runs[3], partial="interrupted after 3 of 9 measurements"),
            replace(runs[4], workers=4),
            runs[5],
            runs[6],
        ]
        assert [run.folder for run in trend.series(others, runs[5])] == ["run-00", "run-05"]

    def test_arms_that_come_and_go_have_the_runs_that_they_have(self, runs: list[history.Kept]) -> None:
        gone = {cell: timing for cell, timing in runs[0].timings.cells.items() if not cell.endswith("/dask")}
        first = replace(runs[0], timings=replace(runs[0].timings, cells=gone), arms=runs[0].arms[:2])
        found = {arm.arm.name: arm.at for arm in trend.trends([first, *runs[1:4]])}
        assert found == {"threads": (0, 1, 2, 3), "control": (0, 1, 2, 3), "dask": (1, 2, 3)}

    def test_the_same_measurements_twice_tell_no_more(self, runs: list[history.Kept]) -> None:
        """Cells that a block befalls alike are one measurement: more of them narrow no interval."""

        def twice(run: history.Kept) -> history.Kept:
            again = {f"again-{cell}": timing for cell, timing in run.timings.cells.items()}
            return replace(run, timings=replace(run.timings, cells={**run.timings.cells, **again}))

        for once, doubled in zip(trend.trends(runs), trend.trends([*map(twice, runs)]), strict=True):
            for a, b in zip(once.ratios, doubled.ratios, strict=True):
                assert a.low is not None
                assert (b.value, b.low, b.high, b.n) == pytest.approx((a.value, a.low, a.high, a.n))


class TestSlowdown:
    def test_one_slow_run_is_no_lasting_slowdown(self, runs: list[history.Kept]) -> None:
        found = trend.slowdown([run.timings for run in runs[: CHANGED_AT + 1]])
        assert {slower.cell.rpartition("/")[2] for slower in found.first} == {"dask"}
        assert found.lasting == ()

    def test_two_slow_runs_are(self, runs: list[history.Kept]) -> None:
        found = trend.slowdown([run.timings for run in runs[: CHANGED_AT + 2]])
        assert {slower.cell.rpartition("/")[2] for slower in found.lasting} == {"dask"}
        assert all(1.2 < ratio < 1.7 for slower in found.lasting for ratio in slower.ratios)
        assert found.since == f"run-{CHANGED_AT - 1:02d}"
        assert found.first == ()

    def test_it_is_told_once(self, runs: list[history.Kept]) -> None:
        assert trend.slowdown([run.timings for run in runs[: CHANGED_AT + 3]]).lasting == ()

    def test_a_run_alone_says_nothing(self, runs: list[history.Kept]) -> None:
        assert trend.slowdown([runs[0].timings]) == trend.Slowdown((), ())


class TestChart:
    def test_a_panel_an_arm_in_its_colour_with_its_change(self, runs: list[history.Kept]) -> None:
        found = trend.trends(runs)
        chart = charts.draw_trends(runs, found)
        assert chart.takeaway == f"Over 12 runs: dask {found[2].changes[0].ratio:.2f}x from run-06 on."
        assert chart.png.startswith(b"\x89PNG")
        text = "".join(ElementTree.fromstring(chart.document).itertext())
        assert f"{found[2].changes[0].ratio:.2f}x" in text
        marks = style.marks([arm.arm for arm in found])
        assert all(mark.colour in chart.document for mark in marks.values())
        assert charts.draw_trends(runs, found).document == chart.document

    def test_one_run_is_no_trend(self, runs: list[history.Kept]) -> None:
        assert charts.draw_trends(runs[:1], trend.trends(runs[:1])).missing


class TestCommand:
    def test_it_lists_draws_and_names_what_changed(
        self, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = typed(capsys, "history", str(results), "--out", str(tmp_path / "drawn"))
        assert (code, err) == (0, "")
        assert all(f"run-{number:02d}" in out for number in range(RUNS))
        assert "from run-06 on" in " ".join(out.split())
        assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"time-over-runs.svg", "time-over-runs.png"}

    def test_json_holds_the_same(self, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = typed(capsys, "history", str(results), "--json", "--out", str(tmp_path))
        found = json.loads(out)
        assert code == 0
        assert len(found["runs"]) == len(found["series"]) == RUNS
        (dask,) = (arm for arm in found["trends"] if arm["arm"]["name"] == "dask")
        assert [change["at"] for change in dask["changes"]] == [CHANGED_AT]

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["nowhere"], "no history at nowhere/history.sqlite"),
            (["RESULTS", "--profile", "nightly"], "--profile nightly: no complete run of it"),
        ],
    )
    def test_what_is_not_there_is_one_line(
        self, results: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = typed(capsys, "history", *(str(results) if word == "RESULTS" else word for word in words))
        assert (code, out) == (2, "")
        assert err.startswith(f"runner-lab: {complaint}")
        assert err.count("\n") == 1


class TestBefore:
    """A history of schema 1: suite and arm of a cell in its id alone."""

    CELLS = ("tax/chain-w25/dask", "scaling/plain-w4/dask", "scaling/plain-w4/dask@4", "overhead/plain-w4/dask")

    def written(self, path: Path) -> Path:
        keep(path.parent / "results" / "run", 1)
        newest = history.path_for(path.parent / "results" / "run")
        with sqlite3.connect(newest) as database:
            (arm,) = database.execute("SELECT arm FROM arms WHERE name = 'dask'").fetchone()
            database.execute("UPDATE arms SET arm = ?", (json.dumps(json.loads(arm) | {"resized": False}),))
            database.execute("ALTER TABLE noise RENAME COLUMN suite TO bench")
            database.execute("UPDATE noise SET bench = 'tax' WHERE bench = 'overhead'")
            database.execute("DELETE FROM cells")
            for column in ("suite", "arm"):
                database.execute(f"ALTER TABLE cells DROP COLUMN {column}")
            (folder,) = database.execute("SELECT folder FROM runs").fetchone()
            rows = [(folder, cell, 0.0, 0.1, 3) for cell in self.CELLS]
            database.executemany("INSERT INTO cells VALUES (?, ?, ?, ?, ?)", rows)
            database.execute("PRAGMA user_version = 1")
        return newest

    def test_is_read_with_todays_names(self, tmp_path: Path) -> None:
        path = self.written(tmp_path / "x")
        for _ in range(2):
            (run,) = history.read(path)
            assert {name: (t.suite, t.arm) for name, t in run.timings.cells.items()} == {
                "task_stages/chain-w25/dask": ("task_stages", "dask"),
                "worker_scaling/plain-w4/dask@2": ("worker_scaling", "dask"),
                "worker_scaling/plain-w4/dask@4": ("worker_scaling", ""),
                "overhead/plain-w4/dask": ("overhead", "dask"),
            }
            assert "task_stages" in run.timings.noise

    def test_takes_further_runs(self, tmp_path: Path) -> None:
        path = self.written(tmp_path / "x")
        keep(tmp_path / "results" / "second", 2)
        assert len(history.read(path)) == 2
