"""`runner-lab advise` as a user types it: a profile of a real flow, on a real server, in a process of its own."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path

import pytest

from runner_lab.records.flow_profile import FlowProfile, LimitUse
from runner_lab.records.run_plan import RunPlan
from runner_lab.runners.isolation.waiting import last_within
from tests.reports import machine, synthetic

ROOT = Path(__file__).parents[3]
USER_FLOWS = ROOT / "tests" / "user_flows"
PROFILED = USER_FLOWS / "profiled.py"


@pytest.fixture
def start(start_process):
    return partial(start_process, "-m", "runner_lab", "advise")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """A run with a cost model, of runners that nobody has measured."""
    return synthetic.write(tmp_path_factory.mktemp("run"), machine.records())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.py:etl"], "absent.py: there is no such file; name the flow as FILE.py:FLOW"),
        ([f"{PROFILED}:mixed", "--target", "cores=many"], "--target cores=many: must be like cores=16"),
        ([f"{PROFILED}:mixed", "--target", "gpus=1"], "--target gpus=1: must be like cores=16"),
        (
            [f"{PROFILED}:mixed", "--target", "cores=16", "--verify"],
            "--verify measures on this machine: leave --target",
        ),
        ([f"{PROFILED}:nothing"], "profiled.py has no nothing"),
        ([f"{PROFILED}:mixed", "--from", "nowhere"], "nowhere holds no run"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_code_2(start, run_folder, arguments, message):
    given = arguments if "--from" in arguments else [*arguments, "--from", str(run_folder)]
    run = start(*given)
    printed, errors = run.communicate()

    assert run.returncode == 2
    assert printed == ""
    assert message in errors
    assert "Traceback" not in errors


@pytest.fixture
def advise(start, tmp_path, lab_server, run_folder):
    """Advice for a flow of the file: what was printed, its profile and its JSON."""

    def run(name: str, *more: str) -> tuple[str, FlowProfile, dict]:
        known = ["--from", str(run_folder), "--api-url", lab_server.api_url, "--out", "out"]
        done = start(f"{USER_FLOWS / name}" if ".py" in name else f"{PROFILED}:{name}", *known, *more)
        printed, errors = done.communicate()
        assert done.returncode == 0, printed + errors
        out = tmp_path / "out"
        return printed, FlowProfile.load(out), json.loads((out / "advise.json").read_text())

    return run


def mean(profile: FlowProfile, task: str, what: str) -> float:
    runs = profile.by_task()[task]
    return sum(getattr(run, what) or 0 for run in runs) / len(runs)


@pytest.mark.slow
def test_every_task_run_is_known_by_what_it_waits_for_computes_and_hands_over(advise, tmp_path):
    printed, profile, data = advise("mixed", "--param", "token=s3cr3t", "--param", "n=4")

    assert {task: len(runs) for task, runs in profile.by_task().items()} == {
        "wait": 4,
        "compute": 4,
        "digest": 4,
        "flaky": 1,
        "check": 1,
    }
    # Six threads on two cores: what a task is held up by is no wait of its own.
    assert mean(profile, "wait", "wait_s") == pytest.approx(0.2, abs=0.1)
    assert mean(profile, "wait", "cpu_s") < 0.05
    assert mean(profile, "compute", "cpu_s") == pytest.approx(0.1, abs=0.03)
    assert mean(profile, "compute", "wait_s") < 0.1
    assert mean(profile, "compute", "gil_s") > 0.05
    assert mean(profile, "compute", "out_bytes") == pytest.approx(1e6, rel=0.01)
    assert mean(profile, "digest", "arg_bytes") == pytest.approx(1e6, rel=0.01)
    computes = [place for place, run in enumerate(profile.runs) if run.task == "compute"]
    assert [run.upstream for run in profile.by_task()["digest"]] == [(place,) for place in computes]
    assert {run.asks for run in profile.by_task()["digest"]} == {1}
    assert not any(run.asks for task in ("wait", "compute", "flaky") for run in profile.by_task()[task])
    assert 0 < profile.request_cpu_s <= profile.request_s < 1
    flaky = profile.by_task()["flaky"][0]
    assert (flaky.attempts, flaky.failed) == (2, False)
    assert flaky.wait_s > 0.25, "the delay before it is tried again"
    check = profile.by_task()["check"][0]
    assert (check.direct, check.where.split(":")[0]) == (True, "profiled.py")
    assert sum(step.wait_s for step in profile.steps if step.kind == "own") == pytest.approx(2, abs=0.5)

    assert data["flow"] == "mixed(token,n)"
    assert data["named"]["arm"] == data["ranked"][0]["arm"]
    assert {"arm", "slots", "seconds", "low", "high"} <= data["ranked"][0].keys()
    assert sum(data["split"].values()) == pytest.approx(1.0, abs=0.01)
    assert "mixed(token,n)" in printed
    assert "page: out/advise.html" in printed
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [path.name for path in written if b"s3cr3t" in path.read_bytes()]


@pytest.mark.slow
def test_threads_that_a_task_starts_are_its_own(advise):
    _, profile, _ = advise("with_helpers")

    (run,) = profile.runs
    assert run.cpu_s == pytest.approx(0.6, abs=0.2)
    assert run.wait_s < 0.2
    assert run.gil_s < 0.5 * run.cpu_s


@pytest.mark.slow
def test_child_processes_compute_for_the_task_that_has_started_them(advise):
    _, profile, _ = advise("with_children")

    # A look every half a second, while they live; all of it where they have ended.
    assert mean(profile, "keeps_processes", "cpu_s") == pytest.approx(1.6, abs=0.6)
    assert mean(profile, "runs_a_program", "cpu_s") == pytest.approx(0.45, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flow", "subflow", "runs", "leaves"),
    [("world", "region", 2, 5), ("town", "district", 3, 3)],
    ids=["sync", "async"],
)
def test_what_prefect_takes_for_sub_flows_is_known(advise, flow, subflow, runs, leaves):
    _, profile, _ = advise(f"subflows.py:{flow}")

    found = profile.subflows[subflow]
    assert found.runs == runs
    # A sub-flow waits at its end for a thread that wakes once a second; one that is async does not.
    assert (1.0 if flow == "world" else 0.0) < found.around_s < profile.fn_s
    assert {task: len(of) for task, of in profile.by_task().items()} == {"leaf": leaves}


@pytest.mark.slow
def test_tasks_are_known_however_they_are_handed_on(advise):
    """Under a lean runner: by one future or an iterator to wait for, from threads of the flow's, and by other tasks."""
    _, profile, data = advise("woven.py:woven")

    by_task = profile.by_task()
    assert {task: (len(runs), sum(run.direct for run in runs)) for task, runs in by_task.items()} == {
        **{"load": (10, 8), "report": (2, 0), "prepare": (4, 0), "count": (2, 0), "clean": (6, 4)}
    }
    loads = [place for place, run in enumerate(profile.runs) if run.task == "load" and not run.direct]
    assert [run.upstream for run in by_task["report"]] == [(loads[0],), tuple(loads)]
    (threads,) = [step.threads for step in profile.steps if step.kind == "threads"]
    assert sorted(step.kind for steps in threads for step in steps if step.kind != "own") == ["call"] * 8
    assert mean(profile, "clean", "gil_s") > 0.05, "the task that calls another takes no part of it"
    # Eight calls in four threads take two rounds; no task waits for itself.
    assert data["at_least_s"] == pytest.approx(1.3, abs=0.3)
    assert data["replayed_s"] is not None


@pytest.mark.slow
def test_what_goes_on_in_the_flow_s_event_loop_is_its_tasks(advise):
    _, profile, data = advise("woven.py:looped")

    awaited = [run for run in profile.runs if run.direct]
    assert [(run.task, run.attempts) for run in awaited if run.task == "fetch"] == [("fetch", 1)] * 10
    own_s = sum(step.cpu_s for step in profile.steps)
    assert own_s < 0.4, "of 1.2 s that its tasks compute there"
    assert mean(profile, "fetch", "wait_s") == pytest.approx(0.5, abs=0.2)
    assert mean(profile, "parse", "cpu_s") == pytest.approx(0.2, abs=0.05)
    assert mean(profile, "offload", "cpu_s") == pytest.approx(0.2, abs=0.05)
    assert mean(profile, "offload", "wait_s") < 0.2
    assert mean(profile, "pages", "cpu_s") == pytest.approx(0.4, abs=0.1)
    assert mean(profile, "pages", "wait_s") < 0.2
    # Awaited tasks have no slot to wait for: 0.5, 4 x 0.2, 0.2, 0.4 and 4 x 0.5 s.
    assert data["at_least_s"] == pytest.approx(3.9, abs=1.0)


@pytest.mark.slow
def test_the_way_through_the_items_of_long_lists_is_known(advise):
    _, profile, _ = advise("takes_lists")

    # Microseconds an item, of 60,000 items; a task that takes a number takes none.
    assert mean(profile, "longest", "walk_s") > 60_000 * 1e-7
    assert mean(profile, "numbers", "walk_s") == 0
    assert mean(profile, "longest", "key_s") > 60_000 * 1e-8, "they are hashed as well"
    assert mean(profile, "numbers", "kept_s") > 20_000 * 1e-7, "its result is gone through, and written"
    assert mean(profile, "longest", "kept_s") == 0
    numbers = [place for place, run in enumerate(profile.runs) if run.task == "numbers"]
    assert sorted(profile.by_task()["longest"][0].upstream) == numbers


@pytest.mark.slow
@pytest.mark.parametrize(("more", "passes"), [((), 2), (("--once",), 1)])
def test_a_crowded_flow_runs_a_second_time_unless_told_not_to(advise, tmp_path, more, passes):
    _, profile, _ = advise("crowd", "--param", f"file={tmp_path / 'lines'}", *more)

    assert (tmp_path / "lines").read_text() == "ran\n" * passes
    assert mean(profile, "compute", "cpu_s") == pytest.approx(0.1, abs=0.03)
    assert len(profile.runs) == 24
    # What `.map` returned was waited for as a whole.
    assert 24 in {len(step.runs) for step in profile.steps if step.kind == "wait"}


@pytest.mark.slow
def test_tasks_are_timed_in_the_processes_that_run_them(advise):
    _, profile, _ = advise("in_processes")

    assert profile.engine == "processes"
    assert profile.slots == 2
    assert mean(profile, "compute", "cpu_s") == pytest.approx(0.1, abs=0.03)
    assert mean(profile, "digest", "gil_s") < mean(profile, "compute", "gil_s")
    assert len({run.lane for run in profile.runs}) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("half_way", [], "the flow cannot be profiled: RuntimeError: the bucket is gone"),
        ("never_ends", ["--cell-timeout", "5"], "not done after 5 s"),
    ],
)
def test_a_flow_that_cannot_be_profiled_says_why_in_one_line(start, lab_server, run_folder, name, more, message):
    known = ["--from", str(run_folder), "--api-url", lab_server.api_url, "--out", "out"]
    run = start(f"{PROFILED}:{name}", *known, *more)
    printed, errors = run.communicate()

    assert run.returncode == 2
    assert message in errors
    assert "Traceback" not in printed + errors


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runs"), [("loud", 2), ("growing", 6), ("shop.total", 3)])
def test_a_flow_is_profiled_however_it_is_written(advise, name, runs):
    printed, profile, _ = advise(name)

    assert len(profile.runs) == runs
    assert all(run.attempts == 1 for run in profile.runs)
    assert len(printed) < 4000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "runs", "direct"),
    [
        ("async_fetch.py:crawl", 3, 0),
        pytest.param("direct_calls.py:pipeline", 5, 5, marks=pytest.mark.long),
    ],
)
def test_other_peoples_flows_are_profiled_whole(advise, name, runs, direct):
    printed, profile, data = advise(name)

    assert len(profile.runs) == runs
    assert sum(run.direct for run in profile.runs) == direct
    assert data["ranked"][0]["seconds"] > 0
    assert len(printed.splitlines()) <= 14


@pytest.mark.slow
def test_a_flow_under_ray_is_timed_in_rays_workers(advise):
    pytest.importorskip("prefect_ray")
    _, profile, data = advise("in_ray.py:in_ray")

    assert (profile.engine, profile.slots) == ("ray", 2)
    assert mean(profile, "compute", "cpu_s") == pytest.approx(0.1, abs=0.03)
    assert data["replayed_s"] is not None


@pytest.mark.long
@pytest.mark.slow
def test_the_named_runner_is_measured_beside_the_flows_own(advise):
    printed, _, data = advise("growing", "--verify", "--blocks", "1")

    assert "Measured: yours" in printed
    assert {one["arm"] for one in data["verified"]} >= {"yours"}
    assert all(one["measured_s"] > 0 for one in data["verified"])


@pytest.mark.long
@pytest.mark.slow
def test_where_no_runner_is_named_there_is_advice_and_nothing_to_verify(advise):
    printed, _, data = advise("direct_calls.py:pipeline", "--verify")

    assert printed.startswith("No runner makes it faster: the flow calls its tasks")
    assert data["verified"] == []


@pytest.mark.long
@pytest.mark.slow
def test_what_is_advised_stays_where_the_verification_is_stopped(start, tmp_path, lab_server, run_folder):
    known = ["--from", str(run_folder), "--api-url", lab_server.api_url, "--out", "out", "--verify", "--blocks", "9"]
    running = start(f"{PROFILED}:growing", *known)
    assert last_within((tmp_path / "out" / "verify" / "records.jsonl").exists, 120.0, 0.2)
    running.send_signal(signal.SIGINT)
    printed, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "page: out/advise.html" in printed
    assert (tmp_path / "out" / "advise.json").exists()


def test_a_calibration_that_was_stopped_goes_on(tmp_path, monkeypatch):
    """What resumes it is a command of the lab's: here only whether it is asked to."""
    from runner_lab.lab import advise

    monkeypatch.chdir(tmp_path)
    asked: list[list[str]] = []

    def run_child(command, **streams):
        asked.append(command[4:])
        return 130, ""

    monkeypatch.setattr(advise, "run_child", run_child)
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            advise._model(None)
        assert ended.value.code == 130
        plan = RunPlan(
            "c", "calibrate", ("threads",), 1, 2, "threads", "", "2026-01-01T00:00:00+00:00", interrupted=True
        )
        synthetic.write(tmp_path / "results" / "calibration", machine.records(machine.RUNNERS[:2], blocks=1), plan)
    folder = str(Path("results") / "calibration")
    assert asked == [["run", "--profile", "calibrate", "--out", folder], ["run", "--resume", folder]]


@pytest.mark.slow
def test_what_a_flow_takes_of_limits_is_told_as_the_lab_s_server_has_none(advise):
    printed, profile, data = advise("limited.py:limited")

    assert profile.limits["db"].slots == 3 * 2
    assert profile.limits["db"].held_s == pytest.approx(3 * 2 * 0.2, abs=0.5)
    assert profile.limits["api"] == LimitUse(slots=3, held_s=0.0)
    assert profile.tags["warehouse"].held_s == pytest.approx(4 * 0.1, abs=0.3)
    assert "Limit db: held for 1." in printed
    assert "Rate limit api: 3 slots taken." in printed
    assert "warehouse" not in printed, "a tag is a limit where the server says so"
    assert data["limits"]["db"]["slots"] == 6


@pytest.mark.slow
def test_what_async_tasks_take_of_limits_is_known(advise):
    _, profile, _ = advise("limited.py:asking")

    assert profile.limits["model"].held_s == pytest.approx(3 * 0.1, abs=0.2)


def test_what_only_the_user_s_server_has_is_told_with_what_to_do(start, lab_server, run_folder):
    run = start(f"{USER_FLOWS / 'limited.py'}:strict", "--from", str(run_folder), "--api-url", lab_server.api_url)
    _, errors = run.communicate()

    assert run.returncode == 2
    assert "'licence'" in errors
    assert errors.rstrip().endswith("(it is not on this server: --api-url URL names one that has it)")
    assert "Traceback" not in errors
