"""Records and plans: what is written is what is read, also of the version before; anything else is one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from runner_lab.benchmarks.session.run_folder import RunFolder
from runner_lab.records import json_file, run_plan
from runner_lab.records import record as records
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import GraphSpec, UserFlowSpec, Work
from runner_lab.records.record import FlowRun, Traffic
from runner_lab.records.run_plan import LeftOut
from runner_lab.records.validation import RecordError
from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.choose import asking
from runner_lab.reports.history import difference, timings
from tests.reports import synthetic

BEFORE = Path(__file__).parent / "schema_1"
"""A run and a comparison as the version before wrote them."""

TRAFFIC = Traffic({"task_runs": 2000, "logs": 500}, events=15006, logs=5002)


@pytest.fixture(scope="module")
def line():
    return synthetic.records(synthetic.SMOKE, blocks=1)[0]


def with_changes(record, **changes):
    return json.dumps({**asdict(record), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"traffic": TRAFFIC},
        {"flow_run": FlowRun({"Completed": 3, "Not ended": 1}, submitted=4, result="unsteady", remark="2, but 3")},
        {"hosts": ("alpha", "beta")},
        {"graph": GraphSpec("retrying", 3, Work("spin", 0.1), failures=2, retry_delay_s=0.5)},
        {"graph": UserFlowSpec("etl", "etl.py", ("etl.py:3 load",), submits=False, own_runner="RayTaskRunner")},
    ],
)
def test_what_is_written_is_what_is_read(line, changes):
    record = replace(line, **changes)

    assert records.parse(records.to_json(record)) == record


@pytest.mark.parametrize(
    "changes",
    [
        *({"traffic": wrong} for wrong in ([], {"requests": 3}, {"requests": {"a": -1}}, {"requests": {}, "b": 1})),
        {"traffic": {"requests": {}, "events": "x"}},
        *({"task_stages": wrong} for wrong in ("much", [], {"stages_s": [1]}, {"stages_s": {"queue": "long"}})),
        {"task_stages": {"stages_s": {}, "probed_s": [None]}},
        {"flow_run": {"states": {"Completed": 1}, "result": "fine"}},
        {"flow_run": {"states": {"Completed\n": 1}}},
        {"graph": {"variant": "flow"}},
        {"graph": {"variant": "chain", "width": 3, "payload_bytes": 5}},
        {"workers": 10**30},
        {"unheard_of": "\n"},
        {"run_id": None},
    ],
)
def test_a_wrong_value_is_one_line_that_says_where(line, changes):
    (name,) = changes
    if name == "unheard_of":
        assert records.parse(with_changes(line, **changes)) == line
        return
    with pytest.raises(RecordError, match=rf"^not a record: {name}[^\n]*$"):
        records.parse(with_changes(line, **changes))


@pytest.mark.parametrize("schema", [0, 3, "2", None, [2]])
def test_any_other_version_is_refused(line, schema):
    with pytest.raises(RecordError, match=r"^schema version .*; this version reads 1 and 2$"):
        records.parse(with_changes(line, schema=schema))


def test_what_no_other_program_reads_is_not_written(line):
    broken = replace(line, status="error", error="no file \udcff")

    assert records.parse(records.to_json(broken)).error == "no file ?"
    with pytest.raises(RecordError, match="not a finite number"):
        records.to_json(replace(line, ideal_s=float("nan")))


def test_a_cell_has_one_id_in_all_its_blocks_and_each_measurement_its_own(line):
    later = replace(line, block=1)

    assert line.id != later.id
    assert line.cell == later.cell == later.id.of_any_block()
    assert line.cell != replace(line, workers=4).cell
    assert str(line.id) == str(line.cell) == "startup/plain-w2/threads"
    assert str(CellId("worker_scaling", GraphSpec(width=4), "dask", 4)) == "worker_scaling/plain-w4/dask@4"


def test_a_flow_stays_the_same_while_its_source_changes():
    assert UserFlowSpec("etl", direct_calls=("etl.py:3 load",)) == UserFlowSpec("etl", direct_calls=("etl.py:9 load",))
    assert UserFlowSpec("etl(n=1)") != UserFlowSpec("etl(n=2)")


def test_a_plan_is_read_as_it_was_written(line, tmp_path):
    plan = replace(synthetic.plan([line]), cells=(line.cell,), left_out=(LeftOut(line.id, "would take about 3 min"),))
    run_plan.write(tmp_path, plan)

    assert run_plan.read(tmp_path) == plan
    assert [path.name for path in tmp_path.iterdir()] == [run_plan.FILE_NAME]


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path):
    path = tmp_path / "a.json"
    json_file.write(path, {"n": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        json_file.write(path, {"n": float("inf")})

    assert json.loads(path.read_text()) == {"n": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


class TestBefore:
    """Runs of the version before."""

    def test_suites_and_arms_have_todays_names(self):
        found, warnings = records.read(BEFORE / "run")

        assert warnings == []
        assert len(found) == 25
        assert {"task_stages", "worker_scaling"} <= {record.suite for record in found}
        assert {record.arm for record in found} == {"threads", "control", "dask"}
        scaled = {(r.arm, r.workers) for r in found if r.suite == "worker_scaling"}
        assert scaled == {("control", 2), *((arm, n) for arm in ("threads", "dask") for n in (1, 2, 4))}
        assert all(r.task_stages for r in found if r.suite == "task_stages")

    def test_its_report_has_all_of_it(self):
        summary = summarise(BEFORE / "run")

        assert summary.run.partial is None
        assert [row.arm.name for row in summary.rows] == ["threads", "control", "dask"]
        assert [arm.arm for arm in summary.task_stages.arms] == ["threads", "control", "dask"]
        (missing,) = [size for arm in summary.scale for size in arm.sizes if size.left_out]
        assert (missing.tasks, missing.missing) == (1000, "would take about 25 min")

    def test_what_was_not_compared_says_why(self):
        found, _ = records.read(BEFORE / "comparison")

        assert [record.flow_run.result for record in found] == ["unsteady", "unsteady", "unasked"]
        assert summarise(BEFORE / "comparison").flow.name == "etl(n=3)"

    def test_it_can_be_compared_with_a_run_of_today(self, tmp_path):
        found, _ = records.read(BEFORE / "run")
        synthetic.write(tmp_path, found)

        apart = difference.difference(timings.read(BEFORE / "run"), timings.read(tmp_path))
        assert len(apart.cells) == 25
        assert {cell.ratio.value for cell in apart.cells} == {1.0}
        assert (apart.only_a, apart.only_b) == ((), ())

    def test_choose_takes_it(self, tmp_path):
        shutil.copytree(BEFORE / "run", tmp_path / "run")
        shutil.copytree(BEFORE / "comparison", tmp_path / "comparison")

        assert asking.find_run(None, tmp_path) == tmp_path / "run"

    def test_it_is_not_gone_on_with(self):
        with pytest.raises(
            RecordError, match=r"^--lab-resume [^\n]*: an earlier version of the lab measured it[^\n]*$"
        ):
            RunFolder.resume(BEFORE / "run")

    @pytest.mark.parametrize("change", [{"bench": None}, {"workers": "two"}, {"graph": []}, {"flow_run": {"a": 1}}])
    def test_a_broken_line_of_it_is_one_line(self, change):
        data = json.loads((BEFORE / "run" / records.FILE_NAME).read_text().splitlines()[0])

        with pytest.raises(RecordError, match=r"^not a record: [^\n]*$"):
            records.parse(json.dumps({**data, **change}))
