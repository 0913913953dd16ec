"""Options that make no run are refused in one line, before anything is started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from runner_lab.benchmarks import bench_api_far, bench_api_near, bench_overhead, bench_regret
from runner_lab.benchmarks.profiles import FAR_S
from runner_lab.benchmarks.session.options import UsageError
from runner_lab.benchmarks.session.session import Options, Session
from runner_lab.benchmarks.session.workload import LabGraphs
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import RecordError
from runner_lab.records.run_plan import RunPlan
from runner_lab.reports.choose.asking import AskError
from runner_lab.runners.catalog import ConfigError
from runner_lab.runners.server import ServerError
from runner_lab.runners.spec import ArmError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A working folder without a `runners.toml`; and a session may be made though the suite has imported Prefect."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "prefect", raising=False)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"profile": "quik"}, UsageError, "--lab-profile quik: there are smoke, calibrate, quick, full"),
        ({"blocks": 0}, UsageError, "--lab-blocks 0: at least 1 is needed"),
        ({"workers": -1}, UsageError, "--workers -1: at least 1 is needed"),
        ({"cell_timeout_s": 0.0}, UsageError, "--lab-cell-timeout: more than 0 seconds are needed"),
        ({"cell_timeout_s": float("nan")}, UsageError, "--lab-cell-timeout: more than 0 seconds are needed"),
        ({"api_url": "http://h/api", "database_url": "x://"}, UsageError, "--lab-api-url uses a server that runs"),
        (
            {"api_url": "http://h/api", "server_settings": ("PREFECT_A=1",)},
            UsageError,
            "--lab-api-url uses a server that runs",
        ),
        ({"api_latency": "soon"}, AskError, "--lab-api-latency soon: cannot be read; write it like 80ms or 0.08"),
        ({"api_latency": "-80ms"}, AskError, "--lab-api-latency -80ms: must be from 0 to 5 seconds"),
        ({"api_latency": "6"}, AskError, "--lab-api-latency 6: must be from 0 to 5 seconds"),
        (
            {"api_latency": "80ms", "api_url": "https://me:pw@h/api"},
            ServerError,
            "https://me:***@h/api cannot be put farther away: --lab-api-latency works with http:// alone",
        ),
        ({"resume": Path("a"), "api_latency": "80ms"}, UsageError, "--lab-resume goes on as the run was begun: leave"),
        ({"server_settings": ("PREFECT_A",)}, UsageError, "--lab-server-setting PREFECT_A: PREFECT_NAME=VALUE is"),
        ({"server_settings": ("PATH=/",)}, UsageError, "--lab-server-setting PATH=/: PREFECT_NAME=VALUE is needed"),
        ({"resume": Path("a"), "out": Path("b")}, UsageError, "--lab-resume goes on in its own folder"),
        ({"resume": Path("a"), "workers": 4}, UsageError, "--lab-resume goes on as the run was begun: leave --workers"),
        (
            {"resume": Path("a"), "runners": "dask"},
            UsageError,
            "--lab-resume goes on as the run was begun: leave --lab-r",
        ),
        ({"runners": " , "}, UsageError, "--lab-runners names no arm"),
        ({"runners": "threads,dusk"}, ArmError, "arm 'dusk': there is no such arm; there are sequential, gather,"),
        ({"config": Path("absent.toml")}, ConfigError, "cannot read absent.toml: No such file or directory"),
        ({"resume": Path("absent")}, RecordError, "--lab-resume absent: no run to resume there"),
    ],
)
def test_refuses(options, kind, message):
    with pytest.raises(kind, match=r"^[^\n]+$") as refused:
        Session(LabGraphs(), Options(**options))
    assert str(refused.value).startswith(message)


def test_a_refused_session_gives_environment_and_folder_back():
    import os

    before = dict(os.environ)
    with pytest.raises(ArmError):
        Session(LabGraphs(), Options(runners="dusk"))

    assert dict(os.environ) == before


@pytest.fixture
def earlier(tmp_path):
    """The folder of a run of two blocks that is to be resumed."""

    def made(profile: str = "smoke", blocks: int = 2, **told) -> Path:
        plan = RunPlan("r", profile, ("threads",), blocks, 3, "threads", "pytest", "2026-01-01T00:00:00+00:00", **told)
        (tmp_path / "run.json").write_text(json.dumps(asdict(plan)))
        return tmp_path

    return made


def test_an_earlier_runs_unknown_profile_is_refused(earlier):
    with pytest.raises(UsageError, match="there is no profile 'huge'"):
        Session(LabGraphs(), Options(resume=earlier("huge")))


def test_an_earlier_run_keeps_its_profile_and_workers_and_may_get_more_blocks(earlier):
    folder = earlier()
    for options, blocks in (({}, 2), ({"blocks": 2, "profile": "smoke"}, 2), ({"blocks": 5}, 5)):
        session = Session(LabGraphs(), Options(resume=folder, **options))
        session.release()

        assert (session.profile.name, session.workers, session.blocks) == ("smoke", 3, blocks)
        assert {cell.block for cell in session.cells(bench_overhead.SUITE)} == set(range(blocks))


def test_an_earlier_run_whose_repeats_the_user_has_set_measures_them_all(earlier):
    for made, thrifty in (({}, False), ({"blocks": 5}, True)):
        session = Session(LabGraphs(), Options(resume=earlier("quick", **made)))
        session.release()
        assert (session._thrift is not None) is thrifty


@pytest.mark.parametrize("asked", [None, (2, 7)])
def test_an_earlier_run_measures_new_drawn_work_only_where_it_is_asked_for(earlier, asked):
    kept = CellId("overhead", GraphSpec(width=2), "threads", 3)
    session = Session(LabGraphs(), Options(resume=earlier("full", cells=(kept,)), draws=asked))
    session.release()
    drawn = session.order(session.cells(bench_regret.SUITE))
    assert bool(drawn) is (asked is not None)


def test_an_earlier_run_keeps_how_far_its_api_is(earlier):
    session = Session(LabGraphs(), Options(resume=earlier(api_latency_s=0.08)))
    session.release()

    assert {cell.stage.api_latency_s for cell in session.cells(bench_overhead.SUITE)} == {0.08}


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 0.0), ("0", 0.0), ("80ms", 0.08), ("0.08", 0.08), (".02 s", 0.02)]
)
def test_a_runs_cells_are_as_far_from_the_api_as_it_is_told_and_so_is_what_it_starts(given, seconds):
    import os

    with planned(profile="full", runners="threads,bare-threads,control", api_latency=given) as session:
        near, far, others = (session.cells(module.SUITE) for module in (bench_api_near, bench_api_far, bench_overhead))
        api_url = os.environ["PREFECT_API_URL"]
    with planned(profile="full", runners="threads", api_latency=given, api_url="http://me@h:1/p/api") as session:
        theirs = os.environ["PREFECT_API_URL"]

    assert {cell.stage.api_latency_s for cell in others} == {seconds}
    assert {cell.stage.api_latency_s for cell in near} == {0.0}
    assert {cell.stage.api_latency_s for cell in far} == {FAR_S}
    assert [cell.graph for cell in near] == [cell.graph for cell in far]
    assert {cell.arm.name for cell in far} == {"threads"}
    assert len({cell.stage for cell in (*near, *far)}) == 2
    assert api_url.startswith("http://127.0.0.1:")
    assert (theirs == "http://me@h:1/p/api") == (seconds == 0)
    assert (theirs[: len("http://me@")], theirs[-len("/p/api") :]) == ("http://me@", "/p/api")


def test_drawn_work_is_as_far_from_the_api_as_it_is_told_and_is_other_work_then():
    with planned(profile="quick", runners="threads", draws=(3, 0)) as session:
        near = session.cells(bench_regret.SUITE)
    far = {}
    for given in ("80ms", "20ms"):
        with planned(profile="quick", runners="threads", draws=(3, 0), draws_latency=given) as session:
            far[given] = session.cells(bench_regret.SUITE)

    assert {cell.stage.api_latency_s for cell in near} == {0.0}
    assert {cell.stage.api_latency_s for cell in far["80ms"]} == {0.08}
    graphs = [{cell.graph for cell in cells} for cells in (near, *far.values())]
    assert [len(each) for each in graphs] == [3, 3, 3]
    assert len(set.union(*graphs)) == 9


def test_a_suite_far_from_the_api_has_no_cells_where_nothing_can_be_put_between(tmp_path):
    (tmp_path / "runners.toml").write_text('[dask]\naddress = "tcp://h:1"\n')
    with planned(profile="full", runners="threads,dask") as session:
        attached = session.cells(bench_api_far.SUITE)
    with planned(profile="full", runners="threads", api_url="https://h/api") as session:
        secured = session.cells(bench_api_far.SUITE)

    assert {cell.arm.name for cell in attached} == {"threads"}
    assert secured == []


@contextmanager
def planned(**options) -> Iterator[Session]:
    session = Session(LabGraphs(), Options(**options))
    try:
        yield session
    finally:
        session.release()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 1}, "--lab-blocks 1: the run in DIR is to have 2, and may get more"),
        ({"profile": "full"}, "--lab-resume goes on with the profile smoke of its run: leave --lab-profile away"),
    ],
)
def test_what_an_earlier_run_cannot_become_is_refused(earlier, options, message):
    folder = earlier()

    with pytest.raises(UsageError) as refused:
        Session(LabGraphs(), Options(resume=folder, **options))
    assert str(refused.value) == message.replace("DIR", str(folder))


def test_a_folder_that_holds_a_run_is_refused_before_a_server_is_started(tmp_path):
    (tmp_path / "records.jsonl").touch()

    with pytest.raises(RecordError, match=r"holds a run already: resume it with --lab-resume"):
        Session(LabGraphs(), Options(out=tmp_path))


def test_arms_named_twice_take_part_once():
    session = Session(LabGraphs(), Options(runners="dask, threads,dask", workers=3))
    session.release()

    assert [(arm.name, arm.workers) for arm in session.arms] == [("dask", 3), ("threads", 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lab-profile", "quik"], "--lab-profile quik: there are smoke, calibrate, quick, full"),
        (["--lab-runners", "threads,dusk"], "arm 'dusk': there is no such arm"),
        (["--lab-config", "bad.toml"], "bad.toml is not TOML"),
        (["--lab-config", "user.toml"], "arm 'mine': class: 'no_such_module.R' cannot be imported"),
        (["--lab-resume", "run"], "--lab-resume run: cannot read records.jsonl: Is a directory"),
    ],
)
def test_pytest_ends_with_one_line_and_code_2(tmp_path, users_environment, arguments, message):
    plan = RunPlan("r", "smoke", ("threads",), 1, 2, "threads", "pytest", "2026-01-01T00:00:00+00:00")
    (tmp_path / "run" / "records.jsonl").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text(json.dumps(asdict(plan)))
    (tmp_path / "bad.toml").write_text("[arms")
    (tmp_path / "user.toml").write_text('[arms.mine]\nclass = "no_such_module.R"')

    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), "--benchmark-only", *arguments],
        cwd=tmp_path,
        env=users_environment,
        capture_output=True,
        text=True,
    )

    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 2, lines
    assert len([line for line in lines if message in line]) == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert len(lines) <= 2


def test_collecting_starts_and_writes_nothing(tmp_path, users_environment):
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-m", "pytest", str(ROOT / "benchmarks")),
            *("--collect-only", "-q", "-p", "no:cacheprovider", "--lab-out", "out", "--lab-profile", "smoke"),
        ],
        cwd=tmp_path,
        env=users_environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    assert "bench_map[map-w4-dask-block0]" in done.stdout
    # Nothing of what could start or write anything is even imported.
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint({"prefect", "distributed", "ray", "matplotlib"})
    assert not (tmp_path / "out").exists()
