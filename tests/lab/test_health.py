"""`runner-lab doctor`: what it judges of given facts, and what it sees of real ones."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cloudpickle
import pytest

from runner_lab.lab.health import examination, facts, reach
from runner_lab.lab.health.examination import Check, Facts, PrefectFacts
from tests.reports.test_commands import typed

URL = "http://127.0.0.1:4200/api"
WELL = Facts(
    python="3.11.7",
    versions={"prefect": "3.8.8", "fastapi": "0.150.0", "sqlalchemy": "2.0.44", "dask": "2026.8.0"},
    requirements=("prefect<3.9,>=3.8.8", "fastapi<0.151,>=0.115", "sqlalchemy<2.1,>=2.0.40", "dask<2027,>=2026.1"),
    here=PrefectFacts(URL, profile="local"),
    worker=PrefectFacts(URL, profile="local"),
    server_storage=False,
    clusters={},
    reached={},
    governor="performance",
    busy=0.02,
    load=0.1,
    cores=2,
    ports=dict.fromkeys(examination.PORTS, None) | {4200: "python -m prefect (pid 7)"},
)
ELSEWHERE = "http://prefect.example:4200/api"


def finding(check: str, **changes: object) -> Check:
    found = [one for one in examination.examine(replace(WELL, **changes)) if one.check == check]
    assert len(found) == 1, f"{check}: {found}"
    return found[0]


def versions(**changes: str | None) -> Mapping[str, str | None]:
    return {**WELL.versions, **changes}


def test_a_machine_that_is_fit_has_nothing_but_ok():
    findings = examination.examine(WELL)

    assert {one.status for one in findings} == {"ok"}
    assert [one.check for one in findings] == [
        *("versions", "server", "workers", "result storage", "CPU governor", "load"),
        *(f"port {number}" for number in examination.PORTS),
    ]


@pytest.mark.parametrize(
    ("package", "version", "symptom"),
    [
        ("fastapi", "0.155.0", "the server fails at its import"),
        ("fastapi", "0.151.0", "`prefect deploy` ends in a 422"),
        ("sqlalchemy", "2.1.0", "schedules make no runs"),
    ],
)
def test_what_is_known_not_to_work_together_fails_with_its_symptom(package, version, symptom):
    found = finding(f"prefect with {package}", versions=versions(**{package: version}))

    assert found.status == "fail"
    assert f"prefect 3.8.8 with {package} {version}: {symptom}" in found.said
    assert found.remedy.startswith(f"pip install '{package}<")


@pytest.mark.parametrize(
    ("check", "changes", "status", "said", "remedy"),
    [
        ("dask", {"versions": versions(dask=None)}, "fail", "is not installed", "pip install 'dask<2027"),
        ("dask", {"versions": versions(dask="2027.1.0")}, "warn", "outside of what the lab is tested", "pip"),
        (
            "dask",
            {"requirements": ('dask<2026; extra == "dask"',)},
            "warn",
            "outside of what",
            "pip install 'dask<2026",
        ),
        ("Ray", {"missing": {"Ray": "Ray is not installed: pip install 'x[ray]'"}}, "ok", "pip install 'x[ray]'", ""),
        ("server", {"here": PrefectFacts(None)}, "warn", "PREFECT_API_URL is not set", "prefect server start"),
        (
            "server",
            {"here": PrefectFacts(URL, "Connection refused")},
            "fail",
            f"{URL} does not answer: Conn",
            "start it",
        ),
        ("server", {"here": PrefectFacts(None, error="no such profile")}, "fail", "no such profile", "fix its profile"),
        (
            "workers",
            {"here": PrefectFacts(None), "worker": PrefectFacts(None)},
            "warn",
            "a server of its own",
            "PREFECT_API_URL",
        ),
        ("workers", {"worker": PrefectFacts(None)}, "fail", "is set in this folder only", "environment or the profile"),
        ("workers", {"worker": PrefectFacts(URL, "timed out")}, "fail", "does not reach", "check of the server"),
        ("workers", {"clusters": {"dask": "tcp://far.example:8786"}}, "fail", "cannot reach", "--host 0.0.0.0"),
        ("workers", {"clusters": {"dask": "tcp://127.0.0.1:8786"}}, "ok", "reaches", ""),
        ("Dask workers", {"reached": {"Dask": {"a": "ok", "b": "no route"}}}, "fail", "1 of 2", "network"),
        ("Ray workers", {"reached": {"Ray": {"10.0.0.1": "ok"}}}, "ok", "all 1", ""),
        (
            "result storage",
            {"here": PrefectFacts(ELSEWHERE), "worker": PrefectFacts(ELSEWHERE)},
            "warn",
            "local files of each",
            "set",
        ),
        ("result storage", {"here": PrefectFacts(ELSEWHERE, storage_block="s3/results")}, "ok", "s3/results", ""),
        ("result storage", {"here": PrefectFacts(ELSEWHERE), "server_storage": True}, "ok", "the server's default", ""),
        ("CPU governor", {"governor": "powersave"}, "warn", "powersave", "cpupower"),
        ("CPU governor", {"governor": None}, "ok", "not reported", ""),
        ("load", {"busy": 0.9}, "warn", "90% of 2 cores", "close other programs"),
        ("load", {"load": 3.0}, "warn", "3.0 processes a core", "close other programs"),
        ("port 8786", {"ports": {8786: "dask (pid 9)"}}, "warn", "taken by dask (pid 9)", "another port"),
        (
            "port 4200",
            {"here": PrefectFacts(ELSEWHERE), "worker": PrefectFacts(ELSEWHERE)},
            "warn",
            "taken by python",
            "another",
        ),
    ],
)
def test_a_check_says_what_there_is_and_what_to_do(check, changes, status, said, remedy):
    found = finding(check, **changes)

    assert found.status == status
    assert said in found.said
    assert remedy in found.remedy
    assert bool(found.remedy) == (status != "ok")


def test_an_early_3_7_wants_an_older_fastapi():
    early = finding("prefect with fastapi", versions=versions(prefect="3.7.4", fastapi="0.150.0"))

    assert (early.status, early.remedy) == ("fail", "pip install 'fastapi<0.137'")
    assert examination.worst(examination.examine(replace(WELL, versions=versions(prefect="3.7.5")))) != "fail"


def test_the_packages_of_an_extra_are_not_missed():
    optional = (*WELL.requirements, 'ray<3,>=2; extra == "ray"', 'runner-lab[dask,ray]; extra == "all"')
    findings = examination.examine(replace(WELL, requirements=optional, engines={"Dask": ["dask"], "Ray": ["ray"]}))

    assert {one.status for one in findings} == {"ok"}
    assert findings[0].said == "Python 3.11.7, prefect 3.8.8, dask 2026.8.0"


def test_the_worst_of_all_decides():
    assert [
        examination.worst([Check("", status, "") for status in found]) for found in ([], ["ok", "warn"], ["fail", "ok"])
    ] == [*("ok", "warn", "fail")]


@pytest.fixture
def users_home(tmp_path, monkeypatch) -> Path:
    """A user's shell in an empty folder: a home without Prefect, and nothing of this suite's."""
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for variable in ("PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_API_URL"):
        monkeypatch.delenv(variable)
    return home


@pytest.mark.slow
class TestRealFacts:
    def test_the_users_profile_is_read_and_nothing_is_written(self, lab_server, users_home, capsys):
        (users_home / ".prefect").mkdir()
        profiles = users_home / ".prefect" / "profiles.toml"
        profiles.write_text(f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{lab_server.api_url}"\n')
        before = {path: path.stat().st_mtime_ns for path in users_home.rglob("*")}
        code, out, err = typed(capsys, "doctor", "--json")
        found = {one["check"]: one for one in json.loads(out)}

        assert err == ""
        assert code == (1 if any(one["status"] == "fail" for one in found.values()) else 0)
        assert found["versions"]["status"] == "ok"
        assert found["server"]["said"] == f"{lab_server.api_url} answers (profile mine)"
        assert found["workers"]["status"] == "ok"
        assert {path: path.stat().st_mtime_ns for path in users_home.rglob("*")} == before

    def test_a_url_of_one_folder_does_not_reach_the_workers(self, users_home, capsys):
        Path("prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:1/api"\n')

        code, out, _ = typed(capsys, "doctor")
        said = " ".join(out.split())

        assert code == 1
        assert "fail server http://127.0.0.1:1/api does not answer" in said
        assert "is set in this folder only" in said
        assert list(users_home.iterdir()) == []


def test_a_listener_is_named_by_what_it_runs(monkeypatch):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert facts.listener(port) is None
        listening.listen()

        assert f"(pid {os.getpid()})" in (facts.listener(port) or "")


class Says(BaseHTTPRequestHandler):
    """Answers with the status that the path begins with, where it is asked for an API's health."""

    def do_GET(self) -> None:
        _, status, path = self.path.split("/", 2)
        self.send_response(int(status) if path == "api/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def saying() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Says) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "said"), [(200, "ok"), (401, "ok"), (403, "ok"), (500, "HTTP 500")])
@pytest.mark.parametrize("end", ["", "/"])
def test_an_api_that_lets_nobody_in_answers_all_the_same(saying, status, said, end):
    assert reach.answer(f"{saying}/{status}/api{end}", 5) == said


def test_the_question_travels_to_workers_that_have_nothing_of_this_project():
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(reach.answer)
    program = "import pickle, sys; sys.modules['lab'] = None; print(pickle.load(sys.stdin.buffer)(sys.argv[1], 5))"
    done = subprocess.run(
        [sys.executable, "-c", program, "http://127.0.0.1:1/api"],
        input=cloudpickle.dumps(reach.answer),
        capture_output=True,
    )
    assert b"refused" in done.stdout, done.stderr


def test_this_machine_is_asked_as_its_workers_are():
    assert inspect.getsource(reach.answer) in facts._PROCESS
    compile(facts._PROCESS, "process", "exec")
