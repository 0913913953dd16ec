"""`runner-lab run`: what it hands to pytest. tests/distribution takes a whole run, from a wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner_lab import lab
from runner_lab.benchmarks import conftest as plugin
from runner_lab.lab import pytest_session
from tests.reports import machine, synthetic
from tests.reports.test_commands import typed

LIMIT_S = 300.0


@pytest.fixture
def handed(monkeypatch) -> list[str]:
    """The options that pytest gets, and no run."""
    options: list[str] = []
    monkeypatch.setattr(pytest_session, "measure", lambda given: options.extend(given))
    return options


GIVEN = {
    "--lab-profile": "smoke",
    "--lab-runners": "threads,dask",
    "--lab-blocks": "2",
    "--workers": "3",
    "--lab-out": "there",
    "--lab-resume": "here",
    "--lab-config": "mine.toml",
    "--lab-api-url": "http://127.0.0.1:1/api",
    "--lab-database-url": "postgresql+asyncpg://host/db",
    "--lab-server-setting": "PREFECT_X=1",
    "--lab-cell-timeout": "9.0",
    "--lab-api-latency": "80ms",
}


@pytest.mark.parametrize("prefix", ["--", "--lab-"])
def test_every_option_of_the_lab_is_one_of_run_with_and_without_lab(handed, capsys, prefix):
    words = [word for name, value in GIVEN.items() for word in (name.replace("--lab-", prefix), value)]

    code, _, err = typed(capsys, "run", *words)

    assert (code, err) == (0, "")
    assert sorted(handed) == sorted(f"{name}={value}" for name, value in GIVEN.items())


def test_the_plugin_has_no_other_options():
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    options = {name for option in parser.getgroup("lab").options for name in option.names()}

    assert options == {*GIVEN, "--lab-command", "--lab-draws", "--lab-draws-latency", "--lab-seed"}, (
        "those of `regret` are its own"
    )


def test_regret_draws_work_in_the_run_and_as_far_from_the_api_as_it_is_told(handed, tmp_path):
    run = synthetic.write(tmp_path / "run", machine.records())
    drawn = [f"--lab-resume={run}", "--lab-draws=2", "--lab-seed=7", "-k=bench_regret", "-q"]
    for more, options in (([], drawn), (["--api-latency", "80ms"], [*drawn, "--lab-draws-latency=80ms"])):
        handed.clear()
        with pytest.raises(SystemExit):
            lab.main(["regret", "--from", str(run), "--draws", "2", "--seed", "7", *more])
        assert handed == options


def test_options_of_pytest_come_after_two_dashes(handed, capsys):
    assert typed(capsys, "run", "-k", "overhead and dask", "--", "-x", "--collect-only")[0] == 0
    assert handed == ["-k=overhead and dask", "-x", "--collect-only"]

    code, _, err = typed(capsys, "run", "smoke")
    assert (code, err) == (2, "runner-lab: run: smoke is not an option; pytest's own options come after --\n")


@pytest.mark.slow
def test_the_users_pytest_takes_no_part(tmp_path, users_environment):
    broken = "raise ImportError('the user has not asked for this')\n"
    for name in ("conftest.py", "benchmarks/conftest.py", "mine.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(broken)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "runner_lab",
            "run",
            "--profile",
            "smoke",
            "-k",
            "overhead",
            "--",
            "--collect-only",
        ],
        cwd=tmp_path,
        env=users_environment | {"PYTEST_ADDOPTS": "--nor-this-one", "PYTEST_PLUGINS": "mine"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "bench_overhead[plain-w2-threads-block0]" in done.stdout
    assert {path.name for path in Path(tmp_path).iterdir()} == {
        "conftest.py",
        "benchmarks",
        "mine.py",
        "pytest.ini",
        "user-home",
    }
