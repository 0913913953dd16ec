"""`runner-lab equivalence`: what counts mean, and the guarantees that matter, under runners that are really there."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner_lab.benchmarks.experiments import locking
from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Scene
from runner_lab.benchmarks.experiments.locking import judged
from runner_lab.benchmarks.experiments.retrying import jitter_bounds
from runner_lab.benchmarks.experiments.second_driver import SecondDriverError, drive
from runner_lab.benchmarks.experiments.suites import EQUIVALENCE
from runner_lab.runners.spec import RunnerSpec

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "equivalence.md"

EXPERIMENTS = {experiment.id: experiment for experiment in EQUIVALENCE.experiments()}
THREADS = RunnerSpec("threads", "threads", "prefect.task_runners.ThreadPoolTaskRunner")

ONE, TWO, THREE = ({"at_ns": at, "pid": 1, "storage": "s"} for at in (1, 2, 3))


def symbol(name: str, **facts: Any) -> str:
    return EXPERIMENTS[name].judge(THREADS, {"errors": [], **facts}).symbol


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        ("within-run", {"bodies": 1, "states": ["Completed", "Cached"], "values": [ONE, ONE]}, "ok"),
        ("within-run", {"bodies": 2, "states": ["Completed", "Completed"], "values": [ONE, TWO]}, "bad"),
        ("within-run", {"bodies": 1, "states": ["Completed", "Cached"], "values": [ONE, TWO]}, "bad"),
        ("across-runs", {"bodies": 1, "bodies_in_run": 2, "states": ["Completed"] * 2 + ["Cached", "Completed"]}, "ok"),
        ("across-runs", {"bodies": 2, "bodies_in_run": 2, "states": ["Completed"] * 4}, "bad"),
        ("across-runs", {"bodies": 1, "bodies_in_run": 1, "states": ["Completed"] * 2 + ["Cached"] * 2}, "bad"),
        ("second-process", {"bodies": 1, "bodies_shared": 1}, "ok"),
        ("second-process", {"bodies": 2, "bodies_shared": 1}, "bad"),
        ("second-process", {"bodies": 1, "bodies_shared": 2}, "bad"),
        ("second-home", {"bodies": 2, "bodies_shared": 1}, "ok"),
        ("second-home", {"bodies": 2, "bodies_shared": 2}, "bad"),
        ("expiry", {"bodies": 2, "states": ["Completed", "Cached", "Completed"], "between_s": [8.3]}, "ok"),
        ("expiry", {"bodies": 2, "states": ["Completed", "Cached", "Completed"], "between_s": [7.0]}, "bad"),
        ("expiry", {"bodies": 1, "states": ["Completed", "Cached", "Cached"], "between_s": []}, "bad"),
        ("expiry", {"bodies": 3, "states": ["Completed"] * 3, "between_s": [9.0, 8.2]}, "unknown"),
        ("expiry", {"bodies": 3, "states": ["Completed"] * 3, "between_s": [1.0, 8.2]}, "bad"),
        ("refresh", {"bodies": 2, "states": ["Completed"] * 2 + ["Cached"], "values": [ONE, TWO, TWO]}, "ok"),
        ("refresh", {"bodies": 2, "states": ["Completed"] * 2 + ["Cached"], "values": [ONE, TWO, ONE]}, "warn"),
        ("refresh", {"bodies": 1, "states": ["Completed"] + ["Cached"] * 2, "values": [ONE, ONE, ONE]}, "bad"),
        (
            "refreshed-elsewhere",
            {"bodies": 2, "states": ["Completed", "Cached"], "values": [ONE, TWO], "elsewhere": [TWO]},
            "ok",
        ),
        (
            "refreshed-elsewhere",
            {"bodies": 2, "states": ["Completed", "Cached"], "values": [ONE, ONE], "elsewhere": [TWO]},
            "warn",
        ),
        (
            "refreshed-elsewhere",
            {"bodies": 3, "states": ["Completed"] * 2, "values": [ONE, THREE], "elsewhere": [TWO]},
            "unknown",
        ),
        ("retry-count", {"bodies": [3, 2, 1], "states": ["Failed", "Completed", "Completed"]}, "ok"),
        ("retry-count", {"bodies": [4, 2, 1], "states": ["Failed", "Completed", "Completed"]}, "bad"),
        ("retry-count", {"bodies": [3, 2, 1], "states": ["Completed"] * 3}, "bad"),
        (
            "retry-condition",
            {"bodies": [2, 1], "states": ["Completed", "Failed"], "asked": 2, "with_bodies": True},
            "ok",
        ),
        ("retry-condition", {"bodies": [2, 4], "states": ["Completed"] * 2, "asked": 4, "with_bodies": True}, "bad"),
        ("retry-condition-object", {"bodies": [2, 2]}, "ok"),
        ("retry-condition-object", {"bodies": [2, 1]}, "warn"),
        ("retry-condition-object", {"bodies": [1, 1]}, "bad"),
        ("retry-slot", {"others": 4, "meanwhile": 0, "delay_s": 5.0}, "warn"),
        ("retry-slot", {"others": 4, "meanwhile": 3, "delay_s": 5.0}, "ok"),
        ("retry-slot", {"others": 3, "meanwhile": 0, "delay_s": 5.0, "states": ["Crashed"]}, "bad"),
        ("retry-slot", {"others": 4, "meanwhile": None, "delay_s": 5.0, "states": ["Failed"]}, "bad"),
    ],
)
def test_the_counts_decide(name, facts, expected):
    assert symbol(name, expires_s=8.0, **facts) == expected


def test_a_delay_may_be_longer_than_asked_for_and_never_shorter():
    facts = {"bodies": 4, "states": ["Completed"], "asked_s": [1.0, 2.0, 2.0]}

    assert symbol("retry-spacing", **facts, waited_s=[1.0, 2.1, 9.0]) == "ok"
    assert symbol("retry-spacing", **facts, waited_s=[1.0, 1.0, 2.1]) == "bad"
    assert symbol("retry-spacing", **{**facts, "bodies": 3}, waited_s=[1.0, 2.1]) == "bad"


def test_jittered_delays_have_bounds():
    least_s, most_s = jitter_bounds(10.0, 0.5)
    assert (round(least_s, 2), most_s) == (6.29, 15.0)

    facts = {"asked_s": 10.0, "jitter": 0.5}
    assert symbol("retry-jitter", **facts, waited_s=[10.1, 99.0], scheduled_s=[9.9, 14.9]) == "ok"
    assert symbol("retry-jitter", **facts, waited_s=[6.4, 15.2], scheduled_s=[6.3, 14.9]) == "warn"
    assert symbol("retry-jitter", **facts, waited_s=[5.9, 15.2], scheduled_s=[5.9, 14.9]) == "bad"
    assert symbol("retry-jitter", **facts, waited_s=[10.1, 16.0], scheduled_s=[10.0, 15.4]) == "bad"
    assert symbol("retry-jitter", **facts, waited_s=[10.1, 12.0], scheduled_s=[10.0]) == "unknown"


def test_a_key_function_in_the_worker_does_not_see_what_the_driver_holds():
    facts = {"bodies": 1, "states": ["Completed", "Cached"], "driver": 1, "key_calls": 2}

    assert symbol("key-function", **facts, key_pids=[1], held=["driver"]) == "ok"
    assert symbol("key-function", **facts, key_pids=[2], held=["nothing"]) == "warn"
    assert symbol("key-function", **facts, key_pids=[1, 2], held=["driver", "nothing"]) == "bad"


@pytest.mark.parametrize(
    ("isolation", "lock", "bodies", "processes", "errors", "expected"),
    [
        ("READ_COMMITTED", "none", [2, 2], [2, 2], [], "ok"),
        ("READ_COMMITTED", "none", [1, 2], [1, 2], [], "ok"),
        ("READ_COMMITTED", "file", [2, 2], [2, 2], ["RuntimeError"], "bad"),
        ("SERIALIZABLE", "none", [0, 0], [0, 0], ["ConfigurationError"], "ok"),
        ("SERIALIZABLE", "none", [2, 2], [2, 2], [], "bad"),
        ("SERIALIZABLE", "memory", [1, 1], [1, 1], [], "ok"),
        ("SERIALIZABLE", "memory", [2, 2], [2, 2], [], "warn"),
        ("SERIALIZABLE", "memory", [2, 1], [1, 1], [], "bad"),
        ("SERIALIZABLE", "file", [1, 1], [1, 1], [], "ok"),
        ("SERIALIZABLE", "file", [1, 1], [1, 1], ["ValueError"], "bad"),
        ("SERIALIZABLE", "file", [1, 0], [1, 0], [], "bad"),
    ],
)
def test_locks_hold_as_far_as_they_reach(isolation, lock, bodies, processes, errors, expected):
    facts = {"bodies": bodies, "processes": processes, "errors": errors, "at_once": [count > 1 for count in bodies]}
    assert judged(isolation, lock, facts).symbol == expected


def test_what_differs_has_a_remedy_and_code_to_read():
    for experiment in EQUIVALENCE.experiments():
        assert (ROOT / experiment.code).is_file(), experiment.id
    assert len(EXPERIMENTS) == len(EQUIVALENCE.experiments())
    facts = {"bodies": [2], "processes": [2], "errors": [], "at_once": [True]}
    assert "FileSystemLockManager" in judged("SERIALIZABLE", "memory", facts).remedy


def test_the_page_has_a_row_for_every_experiment():
    page = PAGE.read_text()

    assert [name for name in EXPERIMENTS if f"<sub>{name}</sub>" not in page] == []
    linked = set(re.findall(r"\]\(\.\./(\w+/[\w/]+\.py)\)", page))
    assert {experiment.code for experiment in EQUIVALENCE.experiments()} <= linked
    assert [path for path in linked if not (ROOT / path).is_file()] == []


@pytest.fixture
def measure(arms, lab_server, cluster_for, scratch) -> Callable[[Experiment, str], dict[str, Any]]:
    """Make an experiment under an arm on the suite's cluster, and give its facts and its symbol."""
    numbers = itertools.count()

    def measured(experiment: Experiment, arm: str) -> dict[str, Any]:
        (spec,) = arms.select([arm], 2)
        folder = scratch / f"{arm}-{experiment.id}-{next(numbers)}-{id(numbers)}"
        folder.mkdir()
        facts: dict[str, Any] = {}
        experiment.measure(Scene(spec, folder, lab_server.api_url, {}, cluster_for(spec), facts.update))
        return {**facts, "symbol": experiment.judge(spec, facts).symbol}

    return measured


ARMS = pytest.mark.parametrize("arm", ["lean-threads", "lean-dask"])


@pytest.mark.core
@pytest.mark.slow
@ARMS
def test_retries_are_as_many_as_asked_for_and_as_far_apart(arm, measure):
    counted = measure(EXPERIMENTS["retry-count"], arm)
    assert counted["bodies"] == [3, 2, 1]
    assert counted["states"] == ["Failed", "Completed", "Completed"]

    spaced = measure(EXPERIMENTS["retry-spacing"], arm)
    assert len(spaced["waited_s"]) == 3
    assert all(waited >= asked - 0.05 for asked, waited in zip([1, 2, 2], spaced["waited_s"], strict=True))

    stopped = measure(EXPERIMENTS["retry-condition"], arm)
    assert (stopped["bodies"], stopped["states"]) == ([2, 1], ["Completed", "Failed"])


@pytest.mark.core
@pytest.mark.slow
@ARMS
def test_a_result_is_found_again_and_refreshed(arm, measure):
    found = measure(EXPERIMENTS["across-runs"], arm)
    assert (found["bodies"], found["bodies_in_run"]) == (1, 2)

    refreshed = measure(EXPERIMENTS["refresh"], arm)
    assert refreshed["symbol"] == "ok"
    assert refreshed["values"][2] == refreshed["values"][1]


@pytest.mark.slow
def test_a_result_that_is_not_held_in_memory_is_the_one_that_another_process_put_there(measure, monkeypatch):
    from runner_lab.flows.experiments import equivalence

    monkeypatch.setattr(equivalence, "kept", equivalence.kept.with_options(cache_result_in_memory=False))
    found = measure(EXPERIMENTS["refreshed-elsewhere"], "lean-threads")

    assert (found["bodies"], found["states"]) == (2, ["Completed", "Cached"])
    assert found["values"][1] == found["elsewhere"][0] != found["values"][0]


@pytest.mark.slow
def test_another_process_with_another_home_runs_no_body_when_the_storage_is_shared(measure):
    found = measure(EXPERIMENTS["second-home"], "lean-dask")

    assert found["bodies_shared"] == 1
    assert found["states"][3] == "Cached"
    assert found["bodies"] == 2, "the default storage is each home's own"
    assert len(set(found["drivers"])) == 2


@pytest.mark.slow
def test_one_body_runs_for_one_key_under_locks_that_all_processes_reach(measure, monkeypatch):
    monkeypatch.setattr(locking, "ROUNDS", 2)
    monkeypatch.setattr(locking, "HOLD_S", 1.5)

    within = measure(EXPERIMENTS["serializable-memory"], "lean-threads")
    assert within["bodies"] == [1, 1]
    across = measure(EXPERIMENTS["serializable-file"], "lean-dask")
    assert across["bodies"] == [1, 1]
    # Prefect makes the lock's file and then writes into it: whoever reads it in between fails, and runs no body.
    assert set(across["errors"]) <= {"ValueError"}
    assert all("Completed" in pair and set(pair) <= {"Completed", "Cached", "Failed"} for pair in across["states"])


@pytest.mark.slow
def test_serializable_without_a_lock_manager_is_refused(measure):
    refused = measure(EXPERIMENTS["serializable-none"], "lean-dask")

    assert (refused["bodies"], refused["errors"]) == ([0] * locking.ROUNDS, ["ConfigurationError"])


def test_a_second_driver_that_fails_says_why(tmp_path):
    with pytest.raises(SecondDriverError, match="there is no such arm"):
        drive("colour", None, [], tmp_path, tmp_path)
