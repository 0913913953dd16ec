"""A process of the lab's, and all that it has started."""

from __future__ import annotations

import os
import sys

import psutil
import pytest

from runner_lab.runners.isolation import guard
from runner_lab.runners.isolation.supervised import Supervised, module, supervised

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""
LIMIT_S = 120.0


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_it_is_ended_with_its_family_and_what_it_said_is_kept(tmp_path):
    log = tmp_path / "log"
    with supervised(python(PARENT), log) as process:
        assert process.reaches(lambda: log.read_text().endswith("\n"), LIMIT_S)
        child = psutil.Process(int(log.read_text()))
        assert child in process.family()
        assert os.getpgid(process.pid) == process.pid
        assert not process.over()
    assert process.over()
    assert not guard.runs(child)


def test_family_that_outlives_its_parent_is_ended_too(tmp_path):
    log = tmp_path / "log"
    with supervised(python(PARENT), log) as process:
        assert process.reaches(lambda: log.read_text().endswith("\n"), LIMIT_S)
        child = psutil.Process(int(log.read_text()))
        assert process.reaches(lambda: child in process.family(), LIMIT_S)
        process.process.kill()
        assert process.ended(LIMIT_S) == -9
        assert process.family() == [child]
    assert not guard.runs(child)


def test_waiting_for_it_ends_when_it_has_ended_or_the_time_is_over(tmp_path):
    with supervised(python("pass")) as process:
        assert not process.reaches(lambda: False, LIMIT_S)
        assert process.ended(0.0) == 0
    with supervised(python("import time; time.sleep(600)")) as process:
        assert not process.reaches(lambda: False, 0.2)
        assert process.ended(0.2) is None


def test_a_state_that_it_reaches_by_its_end_counts(tmp_path):
    file = tmp_path / "made"
    with supervised(python(f"open({str(file)!r}, 'w')")) as process:
        assert process.reaches(file.exists, LIMIT_S)


def test_it_reads_what_it_is_asked_and_runs_where_it_is_told(tmp_path):
    log = tmp_path / "log"
    code = "import os, sys; print(sys.stdin.read(), os.getcwd(), os.environ['ONLY'], len(os.environ) < 5)"
    process = Supervised(python(code), log, {"ONLY": "this"}, tmp_path, asked=True)
    try:
        assert process.process.stdin is not None
        process.process.stdin.write(b"question")
        process.process.stdin.close()
        assert process.ended(LIMIT_S) == 0
    finally:
        process.end()
    assert log.read_text().split() == ["question", str(tmp_path), "this", "True"]


def test_a_program_that_is_not_there_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), supervised([str(tmp_path / "none")], tmp_path / "log"):
        pass


def test_a_module_is_run_by_this_python():
    assert module("json.tool", "--help") == [sys.executable, "-P", "-m", "json.tool", "--help"]
