"""`runner-lab cases`: what it refuses, its table, and two flows measured, interrupted and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runner_lab.flows.cases.inputs import FOLDER
from runner_lab.records import cases as cases_file
from runner_lab.records.cases import (
    ArmTime,
    CasesPlan,
    MeasuredCase,
    MeasuredCases,
    NamedArm,
    NamedTime,
    Predicted,
    RankedArm,
)
from runner_lab.records.record import Phases
from runner_lab.records.traits import ArmTraits
from runner_lab.records.validation import RecordError
from runner_lab.reports.analysis.cases import measured
from runner_lab.reports.analysis.statistics import geometric_mean
from runner_lab.reports.pages import cases_table
from runner_lab.reports.words import units
from tests.reports import machine, synthetic
from tests.reports.synthetic import THREADS, Truth
from tests.reports.test_commands import typed

LIMIT_S = 900.0
BEGIN, END = "<!-- cases: begin -->", "<!-- cases: end -->"
PLAN = CasesPlan(cases=("csv_etl", "many_small"), runners="threads,dask", blocks=3)
PREDICTED = Predicted(
    ranked=(
        RankedArm(arm="dask", slots=2, seconds=3.0, low=2.5, high=3.5),
        RankedArm(arm="threads", slots=64, seconds=5.0),
        RankedArm(arm="threads", seconds=4.0),
    ),
    named=NamedArm(arm="threads", slots=64),
)


def case(name: str = "csv_etl", **changes) -> MeasuredCase:
    times = (
        ArmTime(arm="threads", slots="no limit", seconds=6.0, low=5.5, high=6.5, blocks=3),
        ArmTime(arm="dask", slots="2 workers", workers=2, seconds=4.0, blocks=2, failed=1, error="KilledWorker"),
        ArmTime(arm="ray", slots="2 workers", workers=2, failed=3, error="no | room"),
    )
    values = {"case": name, "does": "CSV", "folder": name, "arms": times, "best": "dask", "level": ("dask",)}
    return MeasuredCase(**{**values, "results": "same", **changes})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing"], "nothing: no such flow; there are http_calls, "),
        (["csv_etl", "--blocks", "0"], "--blocks 0: at least 1 is needed"),
        (["--param", "files=2"], "--param files=2: must be FLOW.NAME=VALUE, such as csv_etl.files=80"),
        (["csv_etl", "--param", "thumbnails.count=2"], "thumbnails is not measured; these are: csv_etl"),
        (["--resume", "gone"], "gone/cases.json: no measured cases there"),
        (["csv_etl", "--page", "gone.md", "--out", "new"], "--page gone.md: there is no such file"),
        (["csv_etl", "--resume", "gone"], "--resume keeps the run's options"),
    ],
)
def test_what_it_refuses_is_one_line(arguments, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    code, out, err = typed(capsys, "cases", *arguments)

    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_missing_is_told_before_anything_is_measured(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "polars", None)

    code, _, err = typed(capsys, "cases")

    assert code == 2
    assert err == (
        "runner-lab: csv_etl, big_frames need polars, which is not installed: pip install 'runner-lab[cases]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_cases_is_not_begun_again(capsys, tmp_path):
    cases_file.write(tmp_path, MeasuredCases(plan=PLAN))

    code, _, err = typed(capsys, "cases", "csv_etl", "--out", str(tmp_path))

    assert code == 2
    assert f"give --resume {tmp_path}" in err


def test_what_is_written_is_read_back(tmp_path):
    named = NamedTime(seconds=6.0, best="dask", best_s=4.0)
    found = MeasuredCases(plan=PLAN, cases=(case(predicted=PREDICTED, named=named),))

    cases_file.write(tmp_path, found)

    assert cases_file.read(tmp_path) == found
    (tmp_path / "cases.json").write_text('{"plan": {"cases": []}}')
    with pytest.raises(RecordError, match=r"plan\.runners: Field required"):
        cases_file.read(tmp_path)


def test_the_table_has_times_with_slots_the_best_and_agreement():
    table = cases_table.table(
        MeasuredCases(plan=PLAN, cases=(case(), case("many_small", arms=(), best=None, level=())))
    )

    assert [column.title for column in table.columns] == [
        *("Flow", "threads (no limit)", "dask (2 workers)", "ray (2 workers)", "Best", "Results"),
    ]
    first, second = table.rows
    assert [entry.text for entry in first] == ["csv_etl", "6.00 s", "4.00 s", "failed", "dask", "same"]
    assert [entry.detail for entry in first[1:4]] == ["5.50\N{EN DASH}6.50 s", "failed 1 of 3 times", "no | room"]
    assert {entry.text for entry in second[1:5]} == {units.NONE}


def test_what_was_predicted_is_beside_what_was_measured():
    beside = NamedTime(seconds=5.5, best="dask", best_s=5.0)
    usual = PREDICTED.model_copy(update={"named": NamedArm(arm="dask", slots=2)})
    cases = (
        case(predicted=PREDICTED, named=beside),
        case(predicted=usual, named=NamedTime(seconds=4.0, best="threads", best_s=6.0)),
        case(predicted=PREDICTED),
        case("many_small"),
    )

    table = cases_table.table(MeasuredCases(plan=PLAN, cases=cases))

    assert [column.title for column in table.columns[-2:]] == ["Predicted", "Regret"]
    assert [[(e.text, e.detail) for e in row[-2:]] for row in table.rows[:2]] == [
        [("threads, 64 slots", "predicted 5.00 s\nmeasured 5.50 s beside dask, 5.00 s"), ("1.10", "")],
        [("dask, 2 slots", "predicted 3.00 s (2.50\N{EN DASH}3.50 s)\nmeasured 4.00 s"), ("1.00", "")],
    ]
    assert [(e.text, e.detail) for e in table.rows[2][-2:]] == [
        ("threads, 64 slots", "predicted 5.00 s\nnot measured"),
        (units.NONE, ""),
    ]
    assert {entry.text for entry in table.rows[3][-2:]} == {units.NONE}


def test_the_page_gets_the_table_between_its_markers_and_nothing_else_changes(tmp_path):
    page = tmp_path / "real-flows.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    found = MeasuredCases(plan=PLAN, cases=(case(),))

    for _ in range(2):
        written = cases_table.write(tmp_path, found, page)

    text = page.read_text()
    assert text.startswith(f"# Before\n\n{BEGIN}\n\nTime of one run")
    assert text.endswith(f"\n\n{END}\n\nAfter\n")
    assert "| 4.00 s<br>" in text
    assert "old" not in text
    assert "![Real flows by runner" in text
    assert {path.name for path in written} == {
        *("cases.json", "cases.md", "cases-by-runner.png", "real-flows.md", "real-flows.png"),
    }
    assert (tmp_path / "real-flows.png").read_bytes()[:4] == b"\x89PNG"
    page.write_text("no markers")
    with pytest.raises(RecordError, match="put the lines"):
        cases_table.write(tmp_path, found, page)


def test_a_run_folder_is_read_with_its_prediction(tmp_path):
    yours, slow = replace(THREADS, name="yours", workers=0), Truth("dask", "dask", per_task_s=0.2)
    records = synthetic.comparison((yours, replace(yours, name="control", role="control"), slow))
    unlimited = ArmTraits(10, slots_share_gil=True, slots="no limit")
    traits = {"yours": unlimited, "control": unlimited}
    plan = synthetic.plan(records, baseline="yours", traits={**traits, "dask": ArmTraits(30, slots="unknown")})
    synthetic.write(tmp_path / "csv_etl", records, plan)
    truth = {arm: geometric_mean([[r.value_s for r in records if r.arm == arm]]).value for arm in ("yours", "dask")}
    (tmp_path / "csv_etl" / "advise.json").write_text(
        json.dumps(
            {"ranked": [{"arm": "dask", "slots": 2, "seconds": 3}], "named": {"arm": "dask", "slots": 2}, "x": 1}
        )
    )

    first, second = measured(tmp_path, PLAN, {"csv_etl": "CSV"}).cases

    assert [(time.arm, time.slots) for time in first.arms] == [
        *(("threads", "no limit"), ("dask", "")),
    ]
    assert first.best == "threads"
    assert first.results == "same"
    assert first.named.regret == pytest.approx(truth["dask"] / truth["yours"])
    assert first.named.regret > 2
    assert second.arms == ()
    assert second.best is None
    (tmp_path / "csv_etl" / "advise.json").write_text('{"ranked": []}')
    with pytest.raises(RecordError, match=r"advise\.json: named: Field required"):
        measured(tmp_path, PLAN, {})


def test_the_regret_is_that_of_the_slots_that_were_recommended_and_of_one_run(tmp_path):
    yours = replace(THREADS, name="yours", workers=0)
    control = replace(yours, name="control", role="control")

    def ran(folder: str, *truths: Truth) -> dict[str, float]:
        records = synthetic.comparison((yours, control, *truths))
        synthetic.write(tmp_path / folder, records, synthetic.plan(records, baseline="yours"))
        arms = {record.arm for record in records}
        return {arm: geometric_mean([[r.value_s for r in records if r.arm == arm]]).value for arm in arms}

    ran("csv_etl", Truth("dask", "dask", per_task_s=0.2))
    named = {"arm": "dask", "slots": 4}
    (tmp_path / "csv_etl" / "advise.json").write_text(json.dumps({"ranked": [], "named": named}))

    assert measured(tmp_path, PLAN, {}).cases[0].named is None

    times = ran("csv_etl-named", replace(Truth("dask@4", "dask", per_task_s=0.1), workers=4))
    case = measured(tmp_path, PLAN, {}).cases[0]

    assert case.named.best == "threads"
    assert case.named.regret == pytest.approx(times["dask@4"] / times["yours"])


def test_pairs_of_identical_runs_of_all_flows_tell_the_noise_of_flows_that_were_measured_once(tmp_path):
    """One pair 5 % apart, by itself, leaves open whether runners a factor of 1.6 apart differ; three pairs do not."""

    def level(flows: int) -> tuple[str, ...]:
        folder = tmp_path / str(flows)
        names = tuple(f"flow_{i}" for i in range(flows))
        for name in names:
            times = {"yours": 10.0, "control": 10.5, "dask": 16.0}
            truths = (
                replace(THREADS, name="yours"),
                replace(THREADS, name="control", role="control"),
                Truth("dask", "dask"),
            )
            lines = [
                replace(line, phases=Phases(makespan_s=times[line.arm], total_s=times[line.arm]))
                for line in synthetic.comparison(truths, blocks=1)
            ]
            synthetic.write(folder / name, lines, synthetic.plan(lines, baseline="yours"))
        return measured(folder, PLAN.model_copy(update={"cases": names}), {}).cases[0].level

    assert level(1) == ("threads", "dask")
    assert level(3) == ("threads",)


@pytest.mark.long
@pytest.mark.slow
def test_two_flows_are_measured_interrupted_and_resumed(tmp_path, users_environment):
    variables = {**users_environment, FOLDER: str(tmp_path / "cache")}
    tiny = ("--param=csv_etl.files=2", "--param=csv_etl.rows=100", "--param=text_features.texts=2")
    costs = f"--from={synthetic.write(tmp_path / 'costs', machine.records())}"
    asked = ("csv_etl", "text_features", "--runners=threads,lean-threads", "--blocks=1", costs, *tiny)

    first, lines = ran(tmp_path, variables, [*asked, "--out=run"], until="block 0  yours")

    assert first == 130, lines
    assert "resume with: runner-lab cases --resume run" in lines
    half = cases_file.read(tmp_path / "run")
    assert half.cases[0].of("threads").seconds > 0
    assert half.cases[1].arms == ()

    second, lines = ran(tmp_path, variables, ["--resume=run", costs])

    assert second == 0, lines
    whole = cases_file.read(tmp_path / "run")
    assert [case.results for case in whole.cases] == ["same", "same"]
    assert whole.arms == ("threads", "lean-threads")
    assert all(time.seconds > 0 and time.blocks == 1 for case in whole.cases for time in case.arms)
    assert whole.cases[0].of("threads").seconds == half.cases[0].of("threads").seconds
    records = (tmp_path / "run" / "csv_etl" / "records.jsonl").read_bytes()

    assert all(set(case.ratios) == {"threads", "lean-threads"} for case in whole.cases)
    (tmp_path / "page.md").write_text(f"{BEGIN}{END}\n")
    third, lines = ran(tmp_path, variables, ["--resume=run", "--page=page.md"])

    assert third == 0, lines
    assert "block 0" not in lines
    assert (tmp_path / "run" / "csv_etl" / "records.jsonl").read_bytes() == records
    case = cases_file.read(tmp_path / "run").cases[0]
    # Direct calls, which may be what is named, are not measured.
    assert case.of(case.predicted.named.arm) is None or case.named.regret >= 1
    assert "| Regret |" in (tmp_path / "page.md").read_text()
    assert "| csv&#95;etl" in (tmp_path / "run" / "cases.md").read_text()


def ran(folder: Path, variables: dict[str, str], arguments: list[str], until: str | None = None) -> tuple[int, str]:
    """Exit code and what was printed; Ctrl-C as soon as a line begins with `until`."""
    command = [sys.executable, "-m", "runner_lab", "cases", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if until and line.startswith(until):
                process.send_signal(signal.SIGINT)
        return process.wait(LIMIT_S), "".join(lines)
