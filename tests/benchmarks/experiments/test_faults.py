"""`runner-lab faults`: what facts mean, and a few real ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runner_lab import lab
from runner_lab.benchmarks.experiments import (
    faults_absent,
    faults_slots,
    faults_stopped,
    faults_values,
    faults_volume,
    faults_workers,
)
from runner_lab.benchmarks.experiments.frame.experiment import Scene
from runner_lab.benchmarks.experiments.suites import FAULTS
from runner_lab.flows.experiments import noted
from runner_lab.flows.experiments.noted import mark, marks, note, notes
from runner_lab.runners import catalog

SPECS = catalog.load().arms
DOCS = Path(__file__).parents[3] / "docs"
MATRIX = DOCS / "faults.md"
PRODUCTION = DOCS / "production.md"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "worker-killed,colour"), "--only colour: there are task-raises, "),
        (("--only", ","), "--only ,: there are task-raises, "),
        (("--runners", "threads,bare-dask"), "--runners bare-dask: there are threads, "),
        (("--tasks", "0"), 'Invalid value "0" for --tasks. Must be >= 1.'),
    ],
)
def test_a_bad_name_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        lab.main(["faults", *arguments])
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"runner-lab: {message}")


def test_a_folder_with_foreign_findings_is_refused_before_anything_starts(tmp_path, capsys):
    (tmp_path / "faults.json").write_text("[]")
    with pytest.raises(SystemExit) as ended:
        lab.main(["faults", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "holds no findings" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["faults.json"]


def test_notes_of_a_killed_process_are_read_as_far_as_they_are_whole(tmp_path):
    folder = str(tmp_path)
    note(folder, wait="returns", state="Running")
    note(folder, state="Crashed")
    mark(folder, "body")
    with next(tmp_path.glob("body.*.tally")).open("a") as file:
        file.write("[1, 2.0")
    with next(tmp_path.glob("*.facts")).open("a") as file:
        file.write('{"state": "Comp')
    assert notes(folder) == {"wait": "returns", "state": "Crashed"}
    assert len(marks(folder, "body")) == 1


def test_of_what_several_processes_note_the_last_counts_whoever_goes_on_to_note_more(tmp_path, monkeypatch):
    for pid, fact in ((1, {"state": "Running"}), (2, {"state": "Crashed"}), (1, {"wait": "returns"})):
        monkeypatch.setattr(noted.os, "getpid", lambda pid=pid: pid)
        note(str(tmp_path), **fact)

    assert notes(tmp_path) == {"state": "Crashed", "wait": "returns"}


KILLED = {
    "executions": 1, "noticed_s": 2.0, "doomed_wait": "returns", "doomed_state": "Crashed", "flow_state": "Crashed",
    "doomed_result": "raises CrashedRun", "server_state": "Crashed", "others": 8, "others_kept": 8,
}  # fmt: skip
STOPPED = {
    "began": True, "exit_code": 1, "quiet_s": 2.0, "orphans": 0, "bodies_begun_after": 0, "bodies_run_to_their_end": 0,
    "server_flow_state": "Crashed", "server_task_states": {"Crashed": 2, "NotReady": 2},
}  # fmt: skip
SENT = {
    "submit": "returns", "others": 4, "others_kept": 4, "doomed_wait": "returns", "doomed_state": "Crashed",
    "doomed_result": "raises TypeError", "server_state": "Failed",
}  # fmt: skip
RETURNS = {
    "began": True, "exit_code": 0, "raised": None, "server_flow_state": "Completed", "recorded": 9, "bodies": 9,
    "away_s": 20.0,
}  # fmt: skip
BLOCKED = {"blocked_s": 12.0, "told_s": 2.0, "body_held_s": 2.1, "server_state": "TimedOut"}
GROWN = {"driver_mb_per_1000": 1.0, "workers_mb_per_1000": 2.0, "tasks": 2000}
TALKED = {"task_runs": 60, "of_task_runs": 60, "logs": 180, "of_logs": 180, "lag_s": 1.0}


@pytest.mark.parametrize(
    ("judge", "facts", "changes", "symbol", "said"),
    [
        (faults_workers.judge_killed, KILLED, {}, "ok", "body ran once"),
        (faults_workers.judge_killed, KILLED, {"executions": 4}, "warn", "body ran 4 times"),
        (faults_workers.judge_killed, KILLED, {"server_state": "Running"}, "bad", "in the API Running"),
        (faults_workers.judge_killed, KILLED, {"doomed_state": "Running"}, "bad", ".state Running"),
        (faults_workers.judge_killed, KILLED, {"others_kept": 3}, "bad", "5 of 8 others lost"),
        (faults_stopped.judge_stopped, STOPPED, {}, "ok", "nothing left"),
        (faults_stopped.judge_stopped, STOPPED, {"orphans": 2}, "bad", "2 processes left"),
        (faults_stopped.judge_stopped, STOPPED, {"server_flow_state": "Running"}, "bad", "flow Running"),
        (faults_stopped.judge_stopped, STOPPED, {"bodies_begun_after": 1}, "bad", "1 more bodies begun"),
        (faults_stopped.judge_stopped, STOPPED, {"bodies_run_to_their_end": 2}, "warn", "ran to their end"),
        (faults_stopped.judge_stopped, STOPPED, {"server_task_states": {"Running": 2}}, "warn", "2 Running"),
        (faults_stopped.judge_stopped, STOPPED, {"began": False}, "unknown", "did not begin"),
        (faults_values.judge_unpicklable, SENT, {}, "ok", "raises TypeError"),
        (faults_values.judge_unpicklable, SENT, {"server_state": "Completed"}, "bad", "in the API Completed"),
        (faults_values.judge_unpicklable, SENT, {"server_state": "Running"}, "bad", "in the API Running"),
        (faults_values.judge_unpicklable, SENT, {"doomed_result": "returns"}, "ok", "nothing is pickled"),
        (faults_absent.judge_returns, RETURNS, {}, "ok", "flow completes"),
        (faults_absent.judge_returns, RETURNS, {"recorded": 7}, "warn", "7/9 task runs"),
        (faults_absent.judge_returns, RETURNS, {"raised": "ConnectError"}, "bad", "flow ends by ConnectError"),
        (faults_slots.judge_times_out, BLOCKED, {}, "ok", "stopped after 2 s"),
        (faults_slots.judge_times_out, BLOCKED, {"body_held_s": 12.0}, "warn", "not stopped"),
        (faults_slots.judge_times_out, BLOCKED, {"body_held_s": None, "server_state": "Running"}, "bad", "Running"),
        (faults_volume.judge_grows, GROWN, {}, "ok", "+1.0 MB in the driver, +2.0 MB in the workers, over 2,000"),
        (faults_volume.judge_grows, GROWN, {"driver_mb_per_1000": 50.0}, "warn", "+50.0 MB in the driver"),
        (faults_volume.judge_talks, TALKED, {}, "ok", "task runs 60/60, log lines 180/180"),
        (faults_volume.judge_talks, TALKED, {"task_runs": 59}, "bad", "task runs 59/60"),
        (faults_volume.judge_talks, TALKED, {"logs": 170}, "warn", "log lines 170/180"),
    ],
)
def test_facts_are_judged(judge, facts, changes, symbol, said):
    judged = judge(SPECS["dask"], {**facts, **changes})
    assert judged.symbol == symbol
    assert said in judged.words
    assert bool(judged.remedy) == (symbol != "ok")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("task-raises", "lean-threads"),
        ("unpicklable-argument", "lean-threads"),
        ("task-raises", "lean-dask"),
        ("retry-succeeds", "lean-dask"),
    ],
)
def test_lean_runners_keep_what_they_promise(name, arm, lab_server, cluster_for, tmp_path):
    spec = SPECS[arm]
    tried = next(one for one in FAULTS.experiments() if one.id == name)
    facts: dict[str, Any] = {}
    tried.measure(Scene(spec, tmp_path, lab_server.api_url, {}, cluster_for(spec), facts.update))

    assert tried.judge(spec, facts).symbol == "ok", facts


def matrix() -> dict[tuple[str, str], str]:
    """The symbol of each experiment and arm in the matrix of the page; none where an experiment does not apply."""
    head, *lines = re.findall(r"^\| (?:Experiment|\[.*?<br>).* \|$", MATRIX.read_text(), re.MULTILINE)[:22]
    arms = head.strip("| ").split(" | ")[1:]
    symbols = {}
    for line in lines:
        first, *cells = line.strip("| ").split(" | ")
        name = first.partition("<sub>")[2].removesuffix("</sub>")
        symbols.update({(name, arm): cell[0] for arm, cell in zip(arms, cells, strict=True) if cell != "-"})
    return symbols


def test_the_matrix_names_experiments_that_there_are_and_links_their_code():
    rows = re.findall(r"^\| \[.*?\]\(\.\./(\S+?)\)<br><sub>(\S+?)</sub> \|", MATRIX.read_text(), re.MULTILINE)
    assert len(rows) > 5
    assert set(rows) <= {(one.code, one.id) for one in FAULTS.experiments()}


def test_the_counts_above_the_matrix_are_those_of_its_cells():
    text = MATRIX.read_text()
    symbols = matrix()
    every = Counter(symbols.values())

    assert f"\n{len({name for name, _ in symbols})} experiments under 8 runners: ✓ {every['✓']} fine, " in text
    assert f"! {every['!']} with a catch, ✗ {every['✗']} hangs, loses work or reports wrongly.\n" in text
    for arm in {arm for _, arm in symbols}:
        one = Counter(symbol for (_, under), symbol in symbols.items() if under == arm)
        assert f"| {arm} | {one['✓']} | {one['!']} | {one['✗']} |" in text


def test_production_has_a_remedy_for_each_finding_that_is_not_fine():
    symbols = matrix()
    names: list[str] = []
    others: set[str] = set()
    said: dict[tuple[str, str], bool] = {}
    for line in PRODUCTION.read_text().partition("## When something goes wrong")[2].splitlines():
        if not line.startswith("| ") or line.startswith(("| runners |", "| --- |")):
            continue
        runners, *rest = line.strip("| ").split(" | ")
        if runners.startswith("**"):
            names = re.findall(r"`([a-z-]+)`", runners.rpartition("** (")[2])
            others = {arm for _, arm in symbols}
            continue
        named = set(re.findall(r"(?:lean-)?(?:threads|processes|dask|ray)", runners))
        arms = others - named if runners.startswith(("all", "the others")) else named
        others -= arms
        said.update({(name, arm): rest[0].startswith("fine") for name in names for arm in arms})

    fine_everywhere = {"retry-succeeds", "large-result", "received"}
    assert {key: symbol == "✓" for key, symbol in symbols.items() if key[0] not in fine_everywhere} == {
        key: fine for key, fine in said.items() if key in symbols
    }
    assert {symbols[key] for key in symbols if key[0] in fine_everywhere} == {"✓"}
