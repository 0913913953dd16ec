"""The suite's own ways: what hangs in one process fails once, and the rest of its file is run by another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HANGS = """
import time

import pytest


@pytest.mark.timeout(3, method="thread")
def test_hangs():
    time.sleep(600)


def test_after():
    pass
"""


LONG = """
import pytest


@pytest.mark.long
def test_long():
    assert False


def test_short():
    pass
"""
INI = """
[pytest]
testpaths = test_both.py
markers =
    long: takes minutes
"""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "ends"), [([], "1 passed"), (["-m", "long"], "1 failed")])
def test_a_run_of_the_whole_leaves_out_the_longest_in_every_process(
    tmp_path: Path, words: list[str], ends: str
) -> None:
    (tmp_path / "test_both.py").write_text(LONG)
    (tmp_path / "pytest.ini").write_text(INI)

    printed = suite_run(tmp_path, "-n", "2", "--dist", "loadfile", *words).stdout

    assert printed.splitlines()[-1].strip("= ").startswith(f"{ends} in "), printed


@pytest.mark.slow
def test_a_test_that_hangs_fails_once_and_those_after_it_are_run(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    words = ["-n", "2", "--dist", "loadfile", "--rootdir", str(tmp_path), str(tmp_path)]

    done = suite_run(tmp_path, *words)

    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1


def suite_run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "tests.suite", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
