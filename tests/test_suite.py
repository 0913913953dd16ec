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


@pytest.mark.slow
def test_a_test_that_hangs_fails_once_and_those_after_it_are_run(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "tests.suite", "-p", "no:cacheprovider"]

    done = subprocess.run(
        [*command, "-n", "2", "--dist", "loadfile", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
