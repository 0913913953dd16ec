"""Two runs held against each other: the same, slower, elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runner_lab.records.record import FILE_NAME, Record, RecordError
from runner_lab.records.record import to_json as to_line
from runner_lab.reports.history import timings
from runner_lab.reports.history.difference import difference, to_json
from tests.reports import synthetic

TRUTHS = (synthetic.THREADS, synthetic.CONTROL, synthetic.DASK)


def read(folder: Path, records: list[Record]) -> timings.Timings:
    return timings.read(synthetic.write(folder, records))


def slowed(records: list[Record], arm: str, factor: float) -> list[Record]:
    return [
        replace(
            r,
            phases=replace(r.phases, makespan_s=r.phases.makespan_s * factor, total_s=r.phases.total_s * factor),
        )
        if r.arm == arm
        else r
        for r in records
    ]


def benchmark_json(path: Path, rounds: dict[str, list[float]], **machine: object) -> Path:
    rows = [{"fullname": name, "extra_info": {}, "stats": {"data": values}} for name, values in rounds.items()]
    path.write_text(json.dumps({"benchmarks": rows, "machine_info": machine}))
    return path


@pytest.mark.slow
def test_two_runs_of_the_same_are_not_called_different(tmp_path: Path) -> None:
    wrong = 0
    for seed in range(20):
        records = [synthetic.records(TRUTHS, blocks=5, seed=2 * seed + i, drift=0.0) for i in range(2)]
        found = difference(*(read(tmp_path / f"{seed}-{i}", r) for i, r in enumerate(records)))
        wrong += bool(found.of("slower") or found.of("faster"))
        assert not found.facts
        assert len(found.cells) == 70
    assert wrong <= 2


def test_a_slower_arm_is_found_and_the_others_are_left_alone(tmp_path: Path) -> None:
    before = synthetic.records(TRUTHS, blocks=5, drift=0.0)
    after = slowed(synthetic.records(TRUTHS, blocks=5, seed=7, drift=0.0), "dask", 1.5)
    found = difference(read(tmp_path / "a", before), read(tmp_path / "b", after))
    slower = found.of("slower")
    assert {cell.cell.rpartition("/")[2].partition("@")[0] for cell in slower} == {"dask"}
    assert len(slower) >= 16
    assert all(cell.ratio.low < 1.5 * 1.1 and cell.ratio.high > 1.5 / 1.1 for cell in slower)
    assert found.cells[0] in slower, "the largest change comes first"
    back = difference(read(tmp_path / "b", after), read(tmp_path / "a", before))
    assert len(back.of("faster")) == len(slower)


def test_a_noisy_control_silences_the_difference(tmp_path: Path) -> None:
    noisy = [replace(t, noise=0.5) if t.role == "control" else t for t in TRUTHS]
    before = synthetic.records(noisy, blocks=5, drift=0.0)
    after = slowed(synthetic.records(noisy, blocks=5, seed=7, drift=0.0), "dask", 1.1)
    found = difference(read(tmp_path / "a", before), read(tmp_path / "b", after))
    assert not [cell for cell in found.of("slower") if cell.cell.endswith("/dask")]


def test_a_machine_that_is_slower_as_a_whole_is_said(tmp_path: Path) -> None:
    before = synthetic.records(TRUTHS, blocks=3, drift=0.0)
    after = before
    for arm in ("threads", "control", "dask"):
        after = slowed(after, arm, 1.4)
    found = difference(read(tmp_path / "a", before), read(tmp_path / "b", after))
    assert any("shifted to 1.40x" in line for line in found.cautions)


def test_other_machines_and_versions_are_said_first(tmp_path: Path) -> None:
    before = synthetic.records(TRUTHS, blocks=2)
    other = synthetic.ENVIRONMENT | {"cpu": "Another CPU", "versions": {"prefect": "3.9.0"}}
    found = difference(
        read(tmp_path / "a", before), read(tmp_path / "b", [replace(r, environment=other) for r in before])
    )
    assert found.facts[0] == "Different machines: cpu Synthetic CPU @ 2.60GHz -> Another CPU."
    assert "versions.prefect 3.8.8 -> 3.9.0" in found.facts[1]


def test_one_block_gives_ratios_and_no_verdict(tmp_path: Path) -> None:
    before = synthetic.records(TRUTHS, blocks=1)
    found = difference(read(tmp_path / "a", before), read(tmp_path / "b", slowed(before, "dask", 3)))
    assert {cell.verdict for cell in found.cells} == {"inconclusive"}
    assert any("no verdict" in line for line in found.cautions)
    assert json.loads(to_json(found))["cells"][0]["ratio"]["low"] is None


def test_cells_of_one_run_only_are_listed(tmp_path: Path) -> None:
    both = synthetic.records(TRUTHS, blocks=2)
    found = difference(
        read(tmp_path / "a", both), read(tmp_path / "b", [r for r in both if r.suite != "payload" and r.arm != "dask"])
    )
    assert len(found.cells) + len(found.only_a) == 70
    assert not found.only_b


def test_any_json_of_pytest_benchmark_will_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def rounds(mean: float) -> list[float]:
        return list(mean * np.exp(rng.normal(0, 0.02, 8)))

    a = benchmark_json(tmp_path / "a.json", {"t::x": rounds(1), "t::y": rounds(2)}, python_version="3.11")
    b = benchmark_json(tmp_path / "b.json", {"t::x": rounds(1), "t::y": rounds(3)}, python_version="3.13")
    found = difference(timings.read(a), timings.read(b))
    assert [(cell.cell, cell.verdict) for cell in found.cells] == [("t::y", "slower"), ("t::x", "tie")]
    assert found.facts == ("Different versions or settings: python 3.11 -> 3.13.",)
    assert sum("no A/A control" in line for line in found.cautions) == 2


def test_rounds_that_were_not_saved_are_taken_from_their_moments(tmp_path: Path) -> None:
    for name, mean in (("a", 1.0), ("b", 2.0)):
        row = {"fullname": "t::x", "stats": {"mean": mean, "stddev": 0.02, "rounds": 9}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"benchmarks": [row]}))
    found = difference(*(timings.read(tmp_path / f"{name}.json") for name in "ab"))
    assert found.of("slower")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"benchmarks": [{}]}', '{"benchmarks": []}'),
        '{"benchmarks": [{"fullname": "x", "stats": {}}]}',
        '{"benchmarks": [{"fullname": "x", "stats": {"data": [0]}}]}',
        '{"benchmarks": [{"fullname": "x", "stats": {"data": [NaN]}}]}',
        '{"benchmarks": [{"fullname": "x", "stats": {"data": [-1.5]}}]}',
        '{"benchmarks": [{"fullname": "x", "stats": {"mean": NaN, "stddev": 0.1, "rounds": 3}}]}',
        '{"benchmarks": [{"fullname": "x", "stats": {"mean": 1.0, "stddev": -0.1, "rounds": 3}}]}',
        '{"benchmarks": [{"fullname": "x", "stats": {"data": [1]}}], "machine_info": "laptop"}',
    ],
)
def test_a_json_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RecordError, match=r"^.*x\.json (is|holds) no .*$"):
        timings.read(tmp_path / "x.json")


@pytest.mark.parametrize("depth", [100, 480])
def test_a_deep_environment_is_read_or_refused_in_one_line(tmp_path: Path, depth: int) -> None:
    record = replace(synthetic.records(TRUTHS[:1], blocks=1)[0], environment={"deep": 1})
    nested = '{"a":' * depth + "1" + "}" * depth
    (tmp_path / FILE_NAME).write_text(to_line(record).replace('{"deep":1}', nested) + "\n")
    if depth == 100:
        assert "a.a.a.a.a" in timings.read(tmp_path).facts
        return
    with pytest.raises(RecordError, match=r"^.*line 1 dropped: not a record: .*recursion limit.*$"):
        timings.read(tmp_path)
