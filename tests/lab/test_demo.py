"""`runner-lab demo`: its commands are those of the docs, and nothing of it is left, whatever ends it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
import yaml
from rich.console import Console
from rich.progress import Progress

from runner_lab.lab import tour as tours
from runner_lab.runners.isolation.waiting import last_within, wait_for

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def tour(tmp_path, said) -> tours.Tour:
    return tours.Tour(tmp_path, tmp_path, Progress(console=Console(file=said, width=200), disable=True))


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def commands_of_the_docs() -> set[str]:
    pages = [(ROOT / "docs" / name).read_text() for name in ("tutorial.md", "deploying.md")]
    return {command for page in pages for command in re.findall(r"^\$ uv run (.*)$", page, re.MULTILINE)}


def test_every_command_is_in_the_docs(monkeypatch, said):
    commands = []
    monkeypatch.setattr(tours.Tour, "run", lambda self, command: commands.append(command))
    monkeypatch.setattr(tours.Tour, "start", lambda self, command: commands.append(command))
    monkeypatch.setattr(tours.Tour, "wait", lambda self, what, condition: None)
    monkeypatch.setattr(tours.Tour, "server", lambda self: nullcontext())

    tours.take(Console(file=said))

    assert {command.partition(" --prefect-file")[0] for command in commands} <= commands_of_the_docs()
    assert len(commands) == 12
    assert "That was the tutorial" in said.getvalue()


def test_the_bar_ends_full(monkeypatch, said):
    bars = []
    for name in ("run", "start", "wait"):
        monkeypatch.setattr(tours.Tour, name, lambda *args: None)
    monkeypatch.setattr(tours.Tour, "server", lambda self: nullcontext())
    kept = tours.Tour.step
    monkeypatch.setattr(tours.Tour, "step", lambda self, title: (kept(self, title), bars.append(self._progress)))

    tours.take(Console(file=said))

    assert len(bars) == tours.STEPS


def test_the_schedule_is_that_of_the_project_but_active(tmp_path):
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    described = tours.scheduled(20)

    assert project["deployments"][0]["schedules"] == [{"interval": 60, "active": False}]
    project["deployments"][0]["schedules"] = [{"interval": 20, "active": True}]
    assert described == project


def test_a_command_shows_what_it_says(tour, said):
    tour.run("""python -c 'import os; print("in", os.environ["PREFECT_HOME"])'""")

    assert f"in {tour.scratch / 'home'}" in said.getvalue()


def test_a_command_that_fails_is_one_line_with_its_last_word(tour):
    with pytest.raises(tours.TourError) as failed:
        tour.run("""python -c 'print("first"); print("no such thing"); raise SystemExit(3)'""")

    assert str(failed.value).endswith("failed with exit code 3: no such thing")


def test_what_does_not_come_true_is_one_line(tour):
    with pytest.raises(tours.TourError, match=r"^not within 0 s: the deployment is Ready$"):
        tour.wait("the deployment is Ready", lambda: False, limit_s=0)


def test_its_project_has_the_tutorial_and_the_deployment(tmp_path):
    folder = tours.project(tmp_path / "project")

    said = subprocess.check_output([sys.executable, "-m", "flows.hello_world"], cwd=folder, text=True)
    described = yaml.safe_load((folder / "prefect.yaml").read_text())["deployments"][0]
    file, _, flow = described["entrypoint"].partition(":")
    assert said == "hello world\n"
    assert f"def {flow}(" in (folder / file).read_text()


@pytest.mark.parametrize("variable", ["PREFECT_API_KEY", "DASK_SCHEDULER__X", "RAY_ADDRESS"])
def test_the_users_variables_do_not_reach_its_commands(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "the user's")

    assert variable not in tours._variables(tmp_path, "http://127.0.0.1:1/api")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_it_leaves_no_process_and_no_folder(users_environment, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "runner_lab", "demo"],
        env=users_environment | {"TMPDIR": "/tmp"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "flows.hello_flow" in line:
            break
    # The guard, the server, and the command, which starts after it was announced.
    lab = psutil.Process(process.pid)
    family = last_within(lambda: lab.children(recursive=True), LIMIT_S, enough=lambda family: len(family) >= 3)
    assert len(family) >= 3
    homes = {child.environ().get("PREFECT_HOME") for child in family} - {None}

    os.killpg(process.pid, number)
    process.communicate()

    assert len(homes) == 1
    wait_for("the end of its processes", lambda: not any(map(runs, family)), LIMIT_S)
    assert not Path(homes.pop()).exists()
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
