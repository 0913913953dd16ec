"""What a record says of the machine."""

from __future__ import annotations

import os

import psutil
import pytest

from runner_lab.benchmarks.measuring import environment
from runner_lab.runners.server import Server


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """The control groups of this process, which is in `lab/run`; and a machine of eight cores."""
    (tmp_path / "lab" / "run").mkdir(parents=True)
    read, own = environment._read, "1:cpu:/\n0::/lab/run"
    monkeypatch.setattr(environment, "_GROUPS", tmp_path)
    monkeypatch.setattr(environment, "_read", lambda path: own if path == "/proc/self/cgroup" else read(path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("quotas", "cores"),
    [
        ({}, 8),
        ({".": "max 100000"}, 8),
        ({".": "200000 100000"}, 2),
        ({".": "150000 100000"}, 2),
        ({".": "10000 100000"}, 1),
        ({".": "1600000 100000"}, 8),
        ({"lab": "300000 100000", "lab/run": "max 100000"}, 3),
        ({"lab": "300000 100000", "lab/run": "100000 50000"}, 2),
    ],
)
def test_cores_are_those_that_this_process_is_let_use(groups, quotas, cores):
    for group, quota in quotas.items():
        (groups / group / "cpu.max").write_text(quota + "\n")

    assert environment.cores() == cores


def test_a_record_tells_the_runs_cores_from_the_machines(groups):
    (groups / "cpu.max").write_text("100000 100000\n")
    told = environment.describe(Server("http://127.0.0.1:1/api", "sqlite", pid=7), "quick")

    assert (told["cores"], told["machine_cores"]) == (1, psutil.cpu_count())
    assert told["server"] == {"database": "sqlite", "lab": True}
