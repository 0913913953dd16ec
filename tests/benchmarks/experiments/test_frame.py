"""The frame of all experiments: what becomes of one that hangs, dies or fails, and how a new one is added."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from runner_lab.benchmarks.experiments.frame import suite as suites
from runner_lab.benchmarks.experiments.frame.experiment import Experiment
from runner_lab.benchmarks.experiments.frame.facts_file import FactsFile, read
from runner_lab.benchmarks.experiments.frame.process import ExperimentEnd, ExperimentProcess
from runner_lab.benchmarks.experiments.frame.run import finding
from runner_lab.benchmarks.experiments.frame.suite import ExperimentSuite
from runner_lab.benchmarks.experiments.suites import EQUIVALENCE, FAULTS, HOSTS, PLACEMENT
from runner_lab.records import findings
from runner_lab.runners import catalog
from tests.benchmarks.experiments import odd_experiments

ROOT = Path(__file__).parents[3]
SPECS = catalog.load().arms
EVERY_SUITE = pytest.mark.parametrize("suite", [FAULTS, EQUIVALENCE, PLACEMENT, HOSTS], ids=lambda suite: suite.name)

NEW = dedent(
    '''
    """Does a task know which flow run it belongs to?"""

    from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene
    from runner_lab.records.findings import Judgement
    from runner_lab.runners.spec import RunnerSpec

    SUITE = "faults"


    def asks(scene: Scene) -> None:
        from prefect import flow, runtime, task

        @task
        def who() -> str:
            return str(runtime.flow_run.id)

        @flow
        def asking() -> bool:
            return who.submit().result() == str(runtime.flow_run.id)

        scene.note(knows=asking.with_options(task_runner=scene.task_runner())())


    def judge(arm: RunnerSpec, facts: Facts) -> Judgement:
        if facts["knows"]:
            return Judgement("ok", f"{arm.name} knows its flow run")
        return Judgement("bad", "does not know its flow run", "Hand the id over as an argument.")


    EXPERIMENTS = (Experiment("knows-its-flow-run", "belonging", "A task asks for its flow run", asks, judge),)
    '''
).lstrip()


def experiment(name: str) -> Experiment:
    return next(one for one in odd_experiments.EXPERIMENTS if one.id == name)


@pytest.fixture
def process(
    scratch: Path, tmp_path: Path, lab_server: object, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], ExperimentProcess]]:
    # The odd experiments are in no package that is installed.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = scratch / f"frame-{tmp_path.name}"
    folder.mkdir()
    made = ExperimentProcess("p", folder, tmp_path / "log", {"told": 7, "tried": str(tmp_path / "tried")})
    yield made
    made.close()


@pytest.mark.slow
def test_one_that_hangs_dies_or_fails_is_a_finding_and_the_rest_goes_on(process):
    names = ("well", "well-again", "fail", "fork", "die", "spoil", "spoil-by-what-it-saw")
    arm = SPECS["threads"]
    found = {}
    for name in names:
        # The folder of an experiment is named after it, and an arm.
        under = SPECS["lean-threads"] if name == "well-again" else arm
        found[name] = process.measure(experiment(name.removesuffix("-again")), under)

    assert [outcome.end for outcome in found.values()] == ["done", "done", "failed", "hangs", "dies", "done", "done"]
    assert found["fail"].error == "RuntimeError: no such thing at all"
    assert found["die"].error == "killed by signal 9"
    # One process serves, whatever the arm, until it hangs, fails, dies or is spoilt.
    assert found["well"].facts["pid"] == found["well-again"].facts["pid"] == found["fail"].facts["pid"]
    assert len({found[name].facts["pid"] for name in names[2:]}) == 5
    assert not any(psutil.pid_exists(outcome.facts["pid"]) for outcome in found.values())
    assert not psutil.pid_exists(found["fork"].facts["child"])


@pytest.mark.slow
def test_what_cannot_be_set_up_is_a_finding_and_is_not_tried_again(process, tmp_path):
    arm = SPECS["threads"]
    found = [finding(one, arm, process.measure(one, arm)) for one in map(experiment, ("without", "without-too"))]

    assert [(one.end, one.symbol, one.words) for one in found] == [
        ("not set up", "unknown", "could not be set up: OSError: no cluster for you")
    ] * 2
    assert (tmp_path / "tried").read_text() == "once\n"


def test_what_became_of_an_experiment_is_said():
    threads = SPECS["threads"]

    def found(name: str, outcome: ExperimentEnd) -> tuple[str, str]:
        one = finding(experiment(name), threads, outcome)
        json.dumps(asdict(one))
        return one.symbol, one.words

    assert found("well", ExperimentEnd("done", {"told": 7}, 1.0)) == ("ok", "threads was told 7")
    assert found("spoil", ExperimentEnd("hangs", {}, 61.2)) == ("bad", "hangs after 61 s")
    assert found("fork", ExperimentEnd("hangs", {"child": 7}, 61.2)) == ("warn", "hangs after 61 s: left 7 behind")
    assert found("die", ExperimentEnd("dies", {}, 1.0, "exit code 3")) == (
        "bad",
        "ends the flow's process (exit code 3)",
    )
    assert found("fail", ExperimentEnd("failed", {}, 1.0, "E: x")) == ("unknown", "the experiment failed: E: x")
    assert found("well", ExperimentEnd("done", {}, 1.0)) == ("unknown", "the experiment noted no 'told'")


@EVERY_SUITE
def test_each_experiment_has_an_id_of_its_own_and_code_to_read(suite):
    experiments = suite.experiments()

    assert experiments
    assert len({one.id for one in experiments}) == len(experiments)
    assert [one.id for one in experiments if not (ROOT / one.code).is_file()] == []
    # The names of groups are taken for `--only` as well.
    assert not {one.id for one in experiments} & {one.group for one in experiments}


@EVERY_SUITE
def test_each_experiment_means_something_for_an_arm_and_each_arm_has_one(suite):
    arms = suite.arms()
    pairs = {(one.id, arm.name) for one in suite.experiments() for arm in arms if one.means_something_for(arm)}

    assert {id for id, _ in pairs} == {one.id for one in suite.experiments()}
    assert {arm for _, arm in pairs} == {arm.name for arm in arms}
    assert suite.name in findings.NAMES


def test_faults_are_tried_under_every_runner_of_prefect_and_its_lean_one_beside_it():
    names = [arm.name for arm in FAULTS.arms()]

    assert set(names) == {name for name, spec in SPECS.items() if not spec.bare and spec.class_path} - {"control"}
    lean = [name for name in names if name.startswith("lean-")]
    assert all(names[names.index(name) - 1] == name.removeprefix("lean-") for name in lean)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"one": NEW, "other": NEW}, "two experiments of faults are called knows-its-flow-run: give one another id"),
        (
            {"one": NEW, "other": 'SUITE = "faults"\nfrom new_experiments.one import EXPERIMENTS\n'},
            "is listed in new_experiments.other: its measure must be a function of that file",
        ),
    ],
)
def test_experiments_that_cannot_be_told_apart_are_refused(files, message, tmp_path, monkeypatch):
    package = tmp_path / "new_experiments"
    package.mkdir()
    for name, source in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "new_experiments"]:
        monkeypatch.delitem(sys.modules, name)
    import new_experiments  # type: ignore[import-not-found]

    monkeypatch.setattr(suites, "files", new_experiments)
    with pytest.raises(ValueError, match=message):
        ExperimentSuite("faults", "t", ()).experiments()


@pytest.mark.slow
def test_a_new_experiment_is_one_file_of_the_repository(tmp_path):
    """As a reader would: a copy of the repository, one more file in it, and the command."""
    package = tmp_path / "copy" / "runner_lab"
    for folder in (ROOT / "src" / "runner_lab").iterdir():
        if folder.is_dir():
            shutil.copytree(folder, package / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(folder, package)
    (package / "benchmarks" / "experiments" / "belonging.py").write_text(NEW)
    # Two commands at a time, into one folder.
    begun = [
        subprocess.Popen(
            [sys.executable, *f"-m runner_lab faults --only belonging --runners {arm} --out found".split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "copy")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arm in ("threads", "lean-threads")
    ]
    printed, errors = zip(*(one.communicate() for one in begun), strict=True)

    assert [one.returncode for one in begun] == [0, 0], errors
    found = findings.read(tmp_path / "found" / "faults.json")
    assert [(one.arm, one.symbol, one.words) for one in found.findings] == [
        ("threads", "ok", "threads knows its flow run"),
        ("lean-threads", "ok", "lean-threads knows its flow run"),
    ]
    assert found.finished_at is not None
    assert found.tried()[0].code == "benchmarks/experiments/belonging.py"
    page = (tmp_path / "found" / "report.html").read_text()
    assert "A task asks for its flow run" in page
    assert "threads knows its flow run" in page
    assert "A task asks for its flow run (benchmarks/experiments/belonging.py)" in printed[0]


def test_facts_are_whole_at_any_moment_and_what_is_no_json_is_text(tmp_path):
    file = FactsFile(tmp_path / "facts.json")
    assert read(file.path) == {}

    file.note({"count": 1, "where": Path("/x"), "share": float("nan")})
    assert read(file.path) == {"count": 1, "where": "/x", "share": "NaN"}
    file.note({"count": 2})
    assert read(file.path)["count"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]
