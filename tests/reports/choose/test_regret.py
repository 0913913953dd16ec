"""How right the answers are: known on a simulated machine, whose runners are known exactly."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runner_lab.records.graph import GraphSpec, Work
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.choose import choice
from runner_lab.reports.choose import regret as regrets
from runner_lab.reports.choose.ranking import Request
from runner_lab.reports.pages import tables
from runner_lab.reports.words import regret as regret_words
from tests.reports import machine, synthetic
from tests.reports.machine import RUNNERS, Runner, independent

COMPUTING = GraphSpec("map", width=40, work=Work("spin", 0.4))
LEAN_PROCESSES = Runner("lean-processes", "processes", 0.001, 0.006, 0.002, fixed_s=0.05, cold_s=5.0, lean=True)


def summary_of(folder: Path, records) -> Summary:
    return summarise(synthetic.write(folder, records))


RECORDS = machine.records(cells=(*machine.QUICK, ("regret", COMPUTING)), blocks=3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Summary:
    return summary_of(tmp_path_factory.mktemp("run"), RECORDS)


def test_the_regret_is_the_time_of_the_named_over_that_of_the_fastest(drawn):
    [one] = regrets.regret(drawn).tested

    times = {cell.arm: cell.time_s.value for cell in drawn.of("regret") if cell.arm != "control"}
    assert one.request == Request(40, 0.4, "spin", 0, 2, False)
    assert {trial.arm: trial.measured_s for trial in one.trials} == pytest.approx(times)
    assert one.named.arm == choice.rank(drawn, one.request)[0].arm
    assert one.regret == pytest.approx(times[one.named.arm] / min(times.values()))
    assert one.regret < 1.1


def test_work_far_from_the_api_is_asked_about_as_far(tmp_path):
    other = replace(COMPUTING, width=41)
    far = [replace(record, api_latency_s=0.08) for record in machine.records(cells=[("regret", other)], blocks=1)]
    found = regrets.regret(summary_of(tmp_path, [*RECORDS, *far]))

    assert found is not None
    assert [one.request.api_latency_s for one in found.tested] == [None, 0.08]
    assert [regret_words.work(one) for one in found.tested] == [
        "40 x CPU 400 ms, 2 slots, warm",
        "41 x CPU 400 ms, 2 slots, warm, the API 80 ms away",
    ]


def test_drawn_work_is_seen_by_no_fit(drawn, tmp_path):
    """Were it, the answer would be judged by what it was made from."""
    without = summary_of(tmp_path, [record for record in RECORDS if record.suite != "regret"])

    assert [found.costs for found in drawn.model.arms] == [found.costs for found in without.model.arms]


def test_drawn_work_changes_no_memory_that_is_answered(drawn, tmp_path):
    """Who draws it has more in its process than what it measures."""
    found = drawn.model.arms[0]
    grown = [
        replace(record, usage=record.usage and replace(record.usage, driver_rss_bytes=9e9))
        if record.suite == "regret"
        else record
        for record in RECORDS
    ]
    assert any(record.usage for record in grown)
    assert choice.memory(found, summary_of(tmp_path, grown)) == choice.memory(found, drawn)


def test_a_run_that_drew_nothing_has_no_regret(tmp_path):
    assert regrets.regret(summary_of(tmp_path, machine.records(cells=machine.QUICK, blocks=1))) is None


def test_its_figures_are_printed_as_data_and_shown_in_the_report(drawn):
    found = regrets.regret(drawn)
    told = json.loads(regrets.to_json(found))

    assert told["regret"]["median"] == found.tested[0].regret
    assert told["tested"][0]["named"]["arm"] == found.tested[0].named.arm
    [row] = tables.regret(drawn).rows
    assert [entry.text for entry in row][:2] == ["40 x CPU 400 ms, 2 slots, warm", found.tested[0].named.arm]


CASES = [
    pytest.param(cores, noise, seed, id=f"{cores} cores, {noise:.0%} noise")
    for seed, (cores, noise) in enumerate([(1, 0.05), (2, 0.05), (2, 0.2), (4, 0.1), (16, 0.05), (64, 0.05), (2, 0.5)])
]


@pytest.mark.parametrize(("cores", "noise", "seed"), CASES)
def test_answers_are_right_on_machines_of_any_size_and_noise(cores, noise, seed, tmp_path):
    """Pools take 0.1 to 20 s to start. Times within the noise of each other are nobody's to tell apart."""
    source = random.Random(seed)
    runners = [
        replace(one, cold_s=0.1 * 200 ** source.random(), fixed_s=one.fixed_s and 0.1 * 200 ** source.random())
        for one in (*RUNNERS, LEAN_PROCESSES)
    ]
    slots = max(2, cores)
    records = machine.records(runners, machine.QUICK, 2, noise, seed, workers=slots, cores=cores)
    summary = summary_of(tmp_path, records)

    found = [one for _ in range(14) if (one := _asked(summary, runners, source, slots, cores))]

    regret, covered, widths = ([value for one in found for value in one[place]] for place in range(3))
    assert len(regret) >= 8
    assert np.median(regret) <= 1.02 + noise / 4
    assert max(regret) <= 1.3 * (1 + noise)
    assert np.mean(covered) >= 0.85
    assert np.quantile(widths, 0.9) <= 2 if noise <= 0.05 else True


def _asked(summary, runners, source, slots, cores):
    """Regret of the answer to a random question, what its intervals cover, and how wide they are."""
    tasks, seconds = round(10 * 30 ** source.random()), round(0.01 * 300 ** source.random(), 3)
    kind, cold = source.choice(["sleep", "spin", "crunch"]), source.random() < 0.5
    if tasks * seconds > 60:
        return None
    request = Request(tasks, seconds, kind, workers=slots, cold=cold)
    ranked = choice.rank(summary, request)
    nearest = min(arm.seconds for arm in ranked)
    by_name = {runner.name: runner for runner in runners}
    truth = {}
    for arm in ranked:
        if arm.seconds <= 4 * nearest:
            runner = by_name[arm.arm]
            warm_s, _, _ = machine.makespan_s(runner, independent(tasks, seconds, kind), slots, cores)
            truth[arm.arm] = warm_s + (runner.cold_s if cold else 0.0)
    near = [arm for arm in ranked if arm.arm in truth]
    return (
        [truth[ranked[0].arm] / min(truth.values())],
        [arm.low <= truth[arm.arm] <= arm.high for arm in near],
        [arm.high / arm.low for arm in near],
    )
