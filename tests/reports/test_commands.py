"""`runner-lab choose` and `runner-lab diff`, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner_lab import lab
from runner_lab.records.graph import WorkName
from runner_lab.reports.analysis import summary
from runner_lab.reports.choose import asking
from runner_lab.reports.choose.asking import AskError
from tests.reports import machine, synthetic


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("somewhere") / "results" / "20261123-010000-full"
    return synthetic.write(folder, machine.records(blocks=3))


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, what was printed, and what was complained of."""
    code = 0
    try:
        lab.main(list(arguments))
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


ASKED = ("choose", "--tasks", "2000", "--task-seconds", "0.3", "--work", "sleep", "--payload", "200kB")


def test_choose_reads_the_newest_run(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = synthetic.write(run.parent / "older", machine.records(machine.RUNNERS[:2], blocks=1))
    os.utime(older / "records.jsonl", (1, 1))
    (run.parent / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(run.parent.parent)
    code, out, err = typed(capsys, *ASKED)
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert "2000 tasks of 300 ms (sleep), 200 kB each, warm" in text
    for part in ("ray", "90 %", "CPU s", "memory", "Why", "Beyond time", "How far to trust it"):
        assert part in text
    assert typed(capsys, *ASKED, "--from", str(older))[1] != out


def test_choose_prints_json_that_holds_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed(capsys, *ASKED, "--from", str(run), "--json", "--workers", "8", "--startup", "cold")
    data = json.loads(out)
    assert code == 0
    assert data["request"] == {
        "tasks": 2000,
        "seconds": 0.3,
        "kind": "sleep",
        "payload_bytes": 200_000,
        "workers": 8,
        "cold": True,
        "cores": None,
        "api_latency_s": None,
    }
    assert {arm["arm"] for arm in data["ranked"]} == {runner.name for runner in machine.RUNNERS}
    assert any("8 workers" in caution for caution in data["cautions"])


def test_choose_passes_over_newer_runs_that_cannot_answer(run: Path) -> None:
    results = run.parent
    synthetic.write(results / "newest", machine.records(cells=[("scale", synthetic.graph(33))], blocks=1))
    assert asking.find_run(None, results) == run


def test_the_file_of_records_stands_for_its_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asking.find_run(run / "records.jsonl") == run
    assert typed(capsys, *ASKED, "--from", str(run / "records.jsonl")) == typed(capsys, *ASKED, "--from", str(run))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--tasks", "0", "--task-seconds", "1"], "--tasks 0"),
        (["--tasks", "-5", "--task-seconds", "1"], "--tasks -5"),
        (["--tasks", "1.5", "--task-seconds", "1"], "--tasks 1.5"),
        (["--tasks", "99999999999", "--task-seconds", "1"], "--tasks 99999999999"),
        (["--tasks", "5"], "--task-seconds is needed"),
        (["--tasks", "5", "--task-seconds", "0"], "must be more than 0"),
        (["--tasks", "5", "--task-seconds", "soon"], "--task-seconds soon"),
        (["--tasks", "5", "--task-seconds", "nan"], "--task-seconds nan"),
        (["--tasks", "5", "--task-seconds", "1e99"], "--task-seconds 1e99"),
        (["--tasks", "5", "--task-seconds=-1"], "--task-seconds -1"),
        (["--tasks", "5", "--task-seconds", "1", "--payload", "3XB"], "--payload 3XB"),
        (["--tasks", "5", "--task-seconds", "1", "--payload=-3kB"], "--payload -3kB"),
        (["--tasks", "5", "--task-seconds", "1", "--workers", "0"], "--workers 0"),
        (
            ["--tasks", "5", "--task-seconds", "1", "--work", "dance"],
            'Invalid value "dance" for --work. Choose from: "io"',
        ),
        (["--tasks", "5", "--task-seconds", "1", "--work", "none"], "--work none"),
        (["--tasks", "5", "--task-seconds", "1", "--startup", "hot"], 'Invalid value "hot" for --startup'),
        (["--task-seconds", "1"], "--tasks"),
        (["--tasks", "5", "--task-seconds", "1", "--from", "/nowhere"], "runner-lab run --profile quick"),
        (["--tasks", "5", "--task-seconds", "1"], "no run under results"),
    ],
)
def test_nonsense_is_one_line_and_exit_code_2(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = [] if "--work" in arguments else ["--work", "io"]
    code, out, err = typed(capsys, "choose", *arguments, *said)
    assert (code, out) == (2, "")
    assert err.startswith("runner-lab: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_what_a_task_does_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Waiting and computing have different answers: there is no default."""
    code, out, err = typed(capsys, "choose", "--tasks", "5", "--task-seconds", "1")
    assert (code, out) == (2, "")
    assert err.startswith("runner-lab: --work is needed: io for tasks that wait, cpu for tasks that compute")


@pytest.mark.parametrize(
    ("name", "kind"), [("io", "sleep"), ("cpu", "spin"), ("cpu-no-gil", "crunch"), ("spin", "spin")]
)
def test_work_by_the_names_that_people_have_for_it(name: WorkName, kind: str) -> None:
    assert asking.request("10", "1", name).kind == kind


@pytest.mark.parametrize(
    ("text", "seconds"), [("0.3", 0.3), ("300ms", 0.3), ("2 min", 120), ("1e-3s", 1e-3), ("50us", 5e-5), (".5", 0.5)]
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert asking.request("1", text, "io").seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("200kB", 2e5), ("200 KB", 2e5), ("1.5MB", 1.5e6), ("1MiB", 2**20), ("12", 12), ("0", 0), ("2gb", 2e9)],
)
def test_sizes_as_people_write_them(text: str, size: float) -> None:
    assert asking.request("2,000", "1", "cpu", payload=text).payload_bytes == pytest.approx(size)
    assert asking.request("2,000", "1", "cpu").tasks == 2000


def test_empty_tasks_take_no_seconds() -> None:
    assert asking.request("10", work="none").seconds == 0
    with pytest.raises(AskError):
        asking.request("10", "0", work="none")


def test_choose_starts_without_prefect_dask_ray_or_matplotlib(run: Path) -> None:
    code = (
        "import sys; from runner_lab import lab; lab.main(sys.argv[1:]); "
        "found = {'prefect', 'dask', 'ray', 'distributed', 'matplotlib'} & set(sys.modules); assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ASKED, "--from", str(run)],
        capture_output=True,
        text=True,
        cwd=Path(lab.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert "Why" in done.stdout


def test_names_in_a_run_are_text_for_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = synthetic.replace(machine.RUNNERS[1], name="[bold]x[/bold]\x1b[31m")
    folder = synthetic.write(tmp_path, machine.records([*machine.RUNNERS[:2], odd], blocks=1))
    _, out, _ = typed(capsys, *ASKED, "--from", str(folder))
    assert "[bold]x[/bold]" in out
    assert "\x1b" not in out


def test_every_command_of_the_model_survives_a_summary_to_json(run: Path) -> None:
    text = summary.to_json(summary.summarise(run), (), ())
    assert json.loads(text)["model"]["arms"][0]["costs"]["slot_s"] >= 0


def test_diff_of_a_run_with_itself_and_with_a_slower_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slower = [synthetic.replace(r, slot_cpu_s=2 * r.slot_cpu_s) if r.name == "dask" else r for r in machine.RUNNERS]
    other = synthetic.write(tmp_path / "after", machine.records(slower, blocks=3, seed=9))
    assert typed(capsys, "diff", str(run), str(run), "--fail-on", "slower")[0] == 0
    code, out, _ = typed(capsys, "diff", str(run), str(other), "--fail-on", "slower")
    assert code == 1
    assert "overhead/plain-w48/dask" in out
    assert typed(capsys, "diff", str(run), str(other))[0] == 0
    assert typed(capsys, "diff", str(other), str(run), "--fail-on", "slower")[0] == 0, "faster is no failure"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["/nowhere", "."], "cannot read /nowhere/records.jsonl"),
        ([".", ".", "--fail-on", "sneezing"], 'Invalid value "sneezing" for --fail-on'),
        (["not.json", "not.json"], "no JSON of pytest-benchmark"),
    ],
)
def test_diff_refuses_in_one_line(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("not.json").write_text('{"benchmarks": 3}')
    code, out, err = typed(capsys, "diff", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1
