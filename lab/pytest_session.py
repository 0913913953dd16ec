"""pytest on the lab's own suites, wherever they are installed, with nothing of the user's own tests."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

import runner_lab.benchmarks
from runner_lab.lab.console import LabError, one_line

_USERS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
"""Environment variables with options and plugins for the user's own tests."""


def measure(options: Sequence[str]) -> int:
    """Run the suites by pytest, in this process; the exit code.

    Raises:
        LabError: the options make no run, or select nothing of it.
    """
    folder = Path(next(iter(runner_lab.benchmarks.__path__)))
    alone = [
        str(folder),
        "--benchmark-only",
        # The modules get the names that they are imported by: runner_lab.benchmarks.bench_overhead.
        "--import-mode=importlib",
        f"--rootdir={folder.parent.parent}",
        # Nothing of the user's own tests: no configuration, no conftest.py, no plugin, no cache.
        f"--config-file={os.devnull}",
        f"--confcutdir={folder}",
        "--disable-plugin-autoload",
        *("-p", "pytest_benchmark.plugin"),
        *("-p", "no:cacheprovider"),
        # pytest-benchmark makes the folder of its storage, used or not: ./.benchmarks by default.
        f"--benchmark-storage=file://{os.devnull}/none",
        *("-o", "python_files=bench_*.py"),
        *("-o", "python_functions=bench_*"),
        "--assert=plain",
        "--no-header",
        f"--lab-command={shlex.join(['runner-lab', *sys.argv[1:]])}",
    ]
    for name in _USERS:
        os.environ.pop(name, None)
    watched = Watched()
    code = pytest.main([*alone, *options], plugins=[watched])
    if watched.refused:
        raise LabError(watched.refused)
    if watched.interrupted:
        return 130
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise LabError("nothing to measure: no cell of the profile is selected")
    # pytest has said what is wrong with an option of its own.
    return 2 if code == pytest.ExitCode.USAGE_ERROR else int(code)


class Watched:
    """A plugin that sees how the session ends.

    refused: why the options make no run, one line.
    interrupted: whether it was Ctrl-C.
    """

    def __init__(self) -> None:
        self.refused: str | None = None
        self.interrupted = False

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_main(self) -> Generator[None, Any, Any]:
        try:
            return (yield)
        except pytest.UsageError as error:
            self.refused = one_line(error)
            return pytest.ExitCode.USAGE_ERROR

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        self.interrupted = not isinstance(excinfo.value, pytest.exit.Exception)
