"""METG, batching and scaling of a simulated machine, whose truth is known: figures, tables, charts, advice."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record
from runner_lab.reports.analysis.batching import batched, nearest
from runner_lab.reports.analysis.metg import Metg, Sample, next_duration
from runner_lab.reports.analysis.metg import of as metg_of
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.analysis.worker_scaling import scaled
from runner_lab.reports.charts import metg
from runner_lab.reports.charts.batching import speedup_by_batch
from runner_lab.reports.charts.metg import efficiency_by_duration
from runner_lab.reports.charts.style import Drawing
from runner_lab.reports.charts.worker_scaling import speedup_by_workers
from runner_lab.reports.choose import answer as words
from runner_lab.reports.choose.choice import choose
from runner_lab.reports.choose.ranking import Request
from runner_lab.reports.pages import suite_tables
from tests.reports import machine, synthetic
from tests.reports.machine import RUNNERS, Runner, fan_out, makespan_s

TAKING_PART = tuple(r for r in RUNNERS if r.name in ("sequential", "threads", "lean-dask", "dask"))
ITEMS = [("batching", synthetic.graph(32 // b, kind="sleep", seconds=0.02, batch=b)) for b in (1, 4, 16)]
SIZES = [("worker_scaling", synthetic.graph(6, kind=kind, seconds=0.25)) for kind in ("sleep", "spin")]


def searched(runner: Runner, kind: str) -> list[Record]:
    """The records of a search for METG, every sample in a block of its own."""
    out: list[Record] = []
    samples: list[Sample] = []
    while (seconds := next_duration(samples, 0.05, 1e-3, 2.0)) is not None:
        cell = ("metg", synthetic.graph(4, kind=kind, seconds=seconds))
        taken = machine.records([replace(runner, name="searched")], [cell], blocks=1, seed=len(samples))
        record = replace(taken[0], arm=runner.name, block=len(samples), role="arm")
        out.append(record)
        samples.append(Sample(seconds, record.ideal_s / record.value_s))
    return out


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    parallel = [runner for runner in TAKING_PART if runner.engine != "none"]
    records = [
        *machine.records(TAKING_PART, [*machine.FULL, *ITEMS, *SIZES], blocks=3),
        *(r for runner in parallel for n in (1, 4) for r in machine.resized(runner, n, cells=SIZES, blocks=3)),
        *(r for runner in parallel for kind in ("sleep", "spin") for r in searched(runner, kind)),
    ]
    return summarise(synthetic.write(tmp_path_factory.mktemp("suites"), records))


def true_s(name: str, spec: GraphSpec, workers: int = 2) -> float:
    runner = next(runner for runner in RUNNERS if runner.name == name)
    return makespan_s(runner, fan_out(spec), workers)[0]


def test_a_resized_arm_has_cells_and_no_row(summary: Summary) -> None:
    names = [row.arm.name for row in summary.rows]
    assert "dask" in names
    assert len(names) == len(set(names))
    assert {(cell.arm, cell.workers) for cell in summary.cells if cell.resized} == {
        (name, workers) for name in ("threads", "dask", "lean-dask") for workers in (1, 4)
    }
    assert all(cell.versus is None for cell in summary.cells if cell.resized or cell.suite == "metg")
    assert {summary.arm_label(cell) for cell in summary.of("worker_scaling", "dask")} == {"dask@1", "dask@2", "dask@4"}
    assert "metg" not in {suite for row in summary.rows for suite in row.by_suite}


def test_resized_arms_widen_the_models_reach_and_not_its_workers(summary: Summary) -> None:
    model = summary.model.arm("dask")
    assert model.reach.worker_counts == (1, 2, 4)
    assert model.workers == 2
    assert {m.arm.name for m in summary.model.arms} == {runner.name for runner in TAKING_PART}
    assert not [held for held in summary.model.held_out if held.suite == "metg"]
    assert len([held for held in summary.model.held_out if (held.suite, held.arm) == ("worker_scaling", "dask")]) == 6
    assert summary.model.median_error <= 0.15


def test_what_batches_gain_is_what_the_machine_gives(summary: Summary) -> None:
    found = {one.arm.name: one for one in batched(summary)}
    assert set(found) == {runner.name for runner in TAKING_PART}
    for name, one in found.items():
        assert (one.kind, one.item_s, one.items) == ("sleep", 0.02, 32)
        for (_, spec), (size, gain) in zip(ITEMS, one.gains.items(), strict=True):
            assert size == spec.batch
            assert gain.value == pytest.approx(true_s(name, ITEMS[0][1]) / true_s(name, spec), rel=0.15)
    assert nearest(summary, "threads", "sleep", 0.05) == found["threads"]
    assert nearest(summary, "threads", "spin", 0.02) is None
    assert nearest(summary, "threads", "sleep", 5.0) is None


def test_what_workers_gain_is_what_the_machine_gives(summary: Summary) -> None:
    found = scaled(summary)
    assert {(one.arm.name, one.graph.work.kind) for one in found} == {
        (name, kind) for name in ("threads", "dask", "lean-dask") for kind in ("sleep", "spin")
    }
    for one in found:
        spec = next(spec for _, spec in SIZES if spec.work.kind == one.graph.work.kind)
        alone = true_s(one.arm.name, spec, 1)
        for workers, gain in one.speedups.items():
            assert gain.value == pytest.approx(alone / true_s(one.arm.name, spec, workers), rel=0.15)
        assert list(one.speedups) == [1, 2, 4]
        assert list(one.model) == [1, 2, 4, 8, 16]
        assert one.efficiency(4, one.speedups[4].value) == pytest.approx(one.speedups[4].value / 4)
    threads = next(one for one in found if (one.arm.name, one.graph.work.kind) == ("threads", "spin"))
    assert threads.model[16] < 1.5, "the GIL lets nobody gain"


def test_metg_is_a_table_with_an_interval_or_not_reached(summary: Summary) -> None:
    table = suite_tables.metg(summary)
    rows = {row[0].text: row[1:] for row in table.rows}
    assert set(rows) == {"threads", "dask", "lean-dask"}
    sleep, spin = rows["threads"]
    assert spin.text == "not reached"
    assert spin.detail.startswith("up to 2 s")
    assert re.fullmatch(r"[\d.]+ m?s", sleep.text)
    found = metg_of(summary, "sleep", "threads")
    spec = synthetic.graph(4, kind="sleep", seconds=found.seconds)
    assert 4 * found.seconds / 2 / true_s("threads", spec) == pytest.approx(0.5, abs=0.05)


def test_an_interval_of_metg_that_tells_nothing_is_not_printed_as_one() -> None:
    found = Metg(0.05, 0.0001, 20.0, 6)
    assert suite_tables._metg(found).detail == "too wide\nn 6"
    threads = Arm("threads", "threads", "baseline", "threads", "lab.threads", 2, False, False)
    assert "about 50 ms (interval too wide) under threads" in metg._takeaway({"sleep": [(threads, found)]})


def test_a_run_without_these_benches_has_none_of_their_tables(tmp_path: Path) -> None:
    plain = summarise(synthetic.write(tmp_path, machine.records(TAKING_PART, blocks=1)))
    assert suite_tables.of(plain) == []


def test_charts_say_what_is_given_up_and_what_is_extrapolated(summary: Summary) -> None:
    batches, workers, efficiency = (c(summary) for c in (speedup_by_batch, speedup_by_workers, efficiency_by_duration))
    assert all(isinstance(drawn, Drawing) for drawn in (batches, workers, efficiency))
    assert "one task run for a whole batch" in batches.reading
    assert "32 items of 20 ms (sleep)" in batches.takeaway
    assert "by the cost model" in workers.reading
    assert workers.takeaway.startswith("Times as fast on 4 workers as on 1: ")
    assert "2 cores" in [text.get_text() for text in workers.figure.legends[0].get_texts()]


def test_advice_to_batch_names_the_measured_gain_and_how_many_to_a_task(summary: Summary) -> None:
    answer = choose(summary, Request(600, 0.004, "sleep"))
    told = " ".join(words.reasons(answer))
    assert answer.batch is not None
    assert "Measured: 32 items of 20 ms (sleep) under" in told
    assert re.search(r"as fast \d+ to a task as 1 to a task", told)
    assert re.search(r"batch at least \d+ to a task", told)
    assert words.to_json(answer)
    assert "Measured" not in " ".join(words.reasons(choose(summary, Request(600, 3.0, "sleep"))))


def test_workers_beyond_those_measured_are_said_in_the_question_and_in_the_cautions(summary: Summary) -> None:
    beyond, measured, between = (choose(summary, Request(100, 0.1, workers=n)) for n in (16, 4, 3))
    assert "on 16 workers (extrapolated: at most 4 were measured)" in words.question(beyond)
    assert "16 workers are more than the 4 that were measured" in " ".join(beyond.cautions)
    assert "extrapolated" not in words.question(measured)
    assert "workers" not in " ".join(measured.cautions)
    assert "3 workers, predicted by the model: 1, 2 and 4 were measured" in " ".join(between.cautions)
