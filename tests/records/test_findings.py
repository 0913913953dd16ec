"""Findings in a file and back, and what replaces what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner_lab.records import findings as files
from runner_lab.records.findings import ExperimentInfo, Finding, Findings
from runner_lab.records.validation import RecordError


def finding(experiment: str, arm: str, words: str = "w") -> Finding:
    return Finding(experiment, arm, "warn", words, "Mend it.", {"count": 3, "seen": ["a", None]}, 1.5)


FOUND = Findings(
    name="faults",
    title="What happens",
    started_at="2026-01-01T00:00:00+00:00",
    finished_at=None,
    environment={"cores": 2, "versions": {"prefect": "3.9.1"}},
    experiments=tuple(ExperimentInfo(id, "g", f"What if {id}", "benchmarks/x.py") for id in ("b", "a")),
    arms=("threads", "dask", "ray"),
)


def test_findings_come_back_as_they_were_written(tmp_path):
    found = FOUND.with_finding(finding("a", "dask")).finished("2026-01-01T00:10:00+00:00")
    path = files.write(tmp_path, found)

    read = files.read(path)
    assert path == tmp_path / "faults.json"
    assert (read.name, read.finished_at, read.environment) == (found.name, found.finished_at, found.environment)
    assert list(read.findings) == list(found.findings)
    assert list(read.experiments) == list(found.experiments)
    assert [file.name for file in tmp_path.iterdir()] == ["faults.json"]


def test_what_is_measured_again_replaces_its_finding_and_what_is_gone_is_left_out():
    before = replace(FOUND, findings=(finding("a", "dask", "old"), finding("gone", "dask"), finding("a", "gone")))
    found = before
    for new in (finding("a", "threads"), finding("a", "dask", "new"), finding("b", "ray")):
        found = found.with_finding(new)

    assert [(one.experiment, one.arm, one.words) for one in found.findings] == [
        ("b", "ray", "w"),
        ("a", "threads", "w"),
        ("a", "dask", "new"),
    ]
    assert [experiment.id for experiment in found.tried()] == ["b", "a"]
    assert found.measured_arms() == ["threads", "dask", "ray"]


def test_what_could_not_be_read_is_not_written(tmp_path):
    wrong = FOUND.with_finding(replace(finding("a", "dask"), seconds=float("inf")))
    with pytest.raises(RecordError, match="seconds"):
        files.write(tmp_path, wrong)
    assert list(tmp_path.iterdir()) == []
