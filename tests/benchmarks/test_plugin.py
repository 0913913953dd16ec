"""The lab within pytest: a folder that can be written to no more ends it in one line."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner_lab.benchmarks import conftest as plugin

FULL = OSError(errno.ENOSPC, "No space left on device")
LINE = "the run in out cannot be kept: [Errno 28] No space left on device"


class Lab:
    path = Path("out")
    records = ()

    def __init__(self, failing: str) -> None:
        self._failing = failing

    def _do(self, what: str) -> None:
        if what == self._failing:
            raise FULL

    def left_out(self, cell) -> None:
        return None

    def measure(self, cell) -> None:
        self._do("measure")

    def close(self, interrupted: bool) -> None:
        self._do("close")


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(plugin, "_say", lambda config, line: lines.append(line))
    return lines


def config_of(failing: str) -> SimpleNamespace:
    config = SimpleNamespace(stash=pytest.Stash())
    config.stash[plugin._LAB] = Lab(failing)
    return config


@pytest.mark.parametrize(("failing", "code"), [("close", 2), ("json", 2), ("nothing", 0)])
def test_a_disk_that_is_full_at_the_end_is_one_line_and_code_2(said, failing, code):
    session = SimpleNamespace(config=config_of(failing), exitstatus=0)
    wrapper = plugin.pytest_sessionfinish(session, 0)

    next(wrapper)
    with pytest.raises(StopIteration):
        # pytest-benchmark writes its file within.
        wrapper.throw(FULL) if failing == "json" else wrapper.send(None)

    assert session.exitstatus == code
    assert said == ([LINE] if code else [])


def test_a_disk_that_is_full_in_mid_run_ends_it_with_one_line_and_code_2():
    request = SimpleNamespace(config=config_of("measure"))
    benchmark = SimpleNamespace(pedantic=lambda measure, args: measure(*args))
    measure_cell = plugin.measured.__wrapped__(request, benchmark)

    with pytest.raises(pytest.exit.Exception) as ended:
        measure_cell(SimpleNamespace(id="overhead/plain-w2/threads", block=0))
    assert (ended.value.msg, ended.value.returncode) == (LINE, 2)
