"""A run's folder: made once, resumed as often as need be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runner_lab.benchmarks.session.run_folder import RunFolder, new_run_id
from runner_lab.records import record as records
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import RecordError
from runner_lab.records.run_plan import RunPlan

PLAN = RunPlan(
    run_id="r",
    profile="smoke",
    arms=("threads", "dask"),
    blocks=2,
    workers=2,
    baseline="threads",
    command="pytest benchmarks",
    started_at="2026-01-01T00:00:00+00:00",
)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", PLAN)


def test_what_was_measured_is_there_after_a_resume(folder, make_cell, make_record):
    measured = [make_record(make_cell("threads", block)) for block in range(2)]
    for record in measured:
        folder.add(record)

    again = RunFolder.resume(folder.path)

    assert again.plan == PLAN
    assert again.records == {record.id: record for record in measured}
    assert again.warnings == []


def test_each_record_is_on_disk_as_soon_as_it_is_added(folder, make_cell, make_record):
    for block in range(3):
        folder.add(make_record(make_cell("threads", block)))
        assert len((folder.path / records.FILE_NAME).read_text().splitlines()) == block + 1


def test_a_line_that_was_cut_is_dropped_with_a_warning_and_measured_again(folder, make_cell, make_record):
    kept, cut = make_record(make_cell("threads")), make_record(make_cell("dask"))
    folder.add(kept)
    folder.add(cut)
    path = folder.path / records.FILE_NAME
    path.write_bytes(path.read_bytes()[:-20])

    again = RunFolder.resume(folder.path)
    assert list(again.records) == [kept.id]
    assert again.warnings == ["records.jsonl line 2 dropped: cut off in mid-write"]

    again.add(cut)
    assert set(RunFolder.resume(folder.path).records) == {kept.id, cut.id}


def test_a_run_whose_only_line_was_cut_is_resumed_from_nothing(folder, make_cell, make_record):
    folder.add(make_record(make_cell()))
    path = folder.path / records.FILE_NAME
    path.write_bytes(path.read_bytes()[:-20])

    again = RunFolder.resume(folder.path)

    assert again.records == {}
    assert again.warnings == ["records.jsonl line 1 dropped: cut off in mid-write"]


def test_a_run_that_was_stopped_before_its_first_record_is_resumed(folder):
    assert RunFolder.resume(folder.path).records == {}
    (folder.path / records.FILE_NAME).touch()
    assert RunFolder.resume(folder.path).records == {}


def test_a_cell_that_failed_is_measured_again_and_its_success_counts(folder, make_cell, make_record):
    failed = make_record(make_cell(), status="error", error="it broke")
    folder.add(failed)
    assert RunFolder.resume(folder.path).records == {}

    folder.add(replace(failed, status="ok", error=None))
    assert RunFolder.resume(folder.path).records[failed.id].status == "ok"


def test_an_interrupted_run_is_no_longer_so_once_it_is_resumed(folder):
    cell = CellId("overhead", GraphSpec(width=2), "threads", 2)
    folder.save(planned_cells=4, cells=(cell,))
    folder.finish(interrupted=True)
    written = json.loads((folder.path / "run.json").read_text())
    assert (written["interrupted"], written["planned_cells"]) == (True, 4)
    assert written["finished_at"]

    again = RunFolder.resume(folder.path).plan
    assert (again.interrupted, again.finished_at) == (False, None)
    assert again.cells == (cell,)


def test_a_folder_that_holds_a_run_is_not_written_over(folder, make_cell, make_record):
    folder.add(make_record(make_cell()))

    with pytest.raises(RecordError, match=r"holds a run already: resume it with --lab-resume .*/run, or name"):
        RunFolder.create(folder.path, PLAN)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(RecordError, match=r"^--lab-out .*/file/run cannot be made: Not a directory$"):
        RunFolder.create(tmp_path / "file" / "run", PLAN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"no run to resume there \(No such file or directory\)"),
        ("{", "run.json is not a run's"),
        ("[]", "run.json is not a run's"),
        ("{}", "run.json is not a run's"),
        ('{"arms": 3}', "run.json is not a run's"),
        ('{"colour": 3}', "run.json is not a run's"),
    ],
)
def test_what_is_no_run_is_not_resumed(tmp_path, text, message):
    if text is not None:
        (tmp_path / "run.json").write_text(text)

    with pytest.raises(RecordError, match=rf"^--lab-resume {tmp_path}: {message}[^\n]*$"):
        RunFolder.resume(tmp_path)


def test_names_of_runs_sort_by_time_and_never_repeat():
    first = new_run_id("smoke")
    second = new_run_id("smoke", [first])
    third = new_run_id("smoke", [first, second, f"{first}-2"])

    assert first.endswith("-smoke")
    assert len({first, second, third}) == 3
    assert first <= second <= third


def test_records_that_cannot_be_read_are_one_line(folder):
    (folder.path / records.FILE_NAME).mkdir()

    with pytest.raises(RecordError, match=r"^--lab-resume [^\n]*: cannot read records\.jsonl: Is a directory$"):
        RunFolder.resume(folder.path)
