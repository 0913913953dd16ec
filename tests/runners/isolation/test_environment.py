"""The lab's environment: nothing of the user's is read, nothing phones home."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runner_lab.runners.isolation import environment as isolation

SETTINGS = """
from pathlib import Path
import sys
from runner_lab.runners.isolation.environment import environment, isolated

with isolated(environment(Path(sys.argv[1]), "http://127.0.0.1:1/api")):
    import prefect
    from prefect.settings import get_current_settings
    settings = get_current_settings()
    print(settings.api.url, settings.home, settings.profiles_path, settings.server.analytics_enabled, sep="\\n")
    import dask
    print(dask.config.get("lab-test", "none"))
"""


def test_the_users_profile_and_variables_are_not_read_and_their_home_stays_as_it_was(users_environment, tmp_path):
    users = Path(users_environment["HOME"])
    (users / ".prefect").mkdir()
    profiles = users / ".prefect" / "profiles.toml"
    profiles.write_text('active = "bogus"\n[profiles.bogus]\nPREFECT_API_URL = "http://bogus.invalid/api"\n')
    before = {path: path.stat().st_mtime_ns for path in users.rglob("*")}
    home = tmp_path / "lab-home"
    theirs = {
        "PREFECT_PROFILES_PATH": str(profiles),
        "PREFECT_API_URL": "http://bogus.invalid/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
        "DASK_LAB_TEST": "the user's",
    }

    said = subprocess.run(
        [sys.executable, "-c", SETTINGS, str(home)],
        env={**users_environment, **theirs},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert said == ["http://127.0.0.1:1/api", str(home), str(home / "profiles.toml"), "False", "none"]
    assert {path: path.stat().st_mtime_ns for path in users.rglob("*")} == before


def test_is_refused_once_prefect_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect", object())

    with pytest.raises(RuntimeError, match="before Prefect is imported"), isolation.isolated({}):
        pass


def test_gives_the_variables_back(monkeypatch):
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.setenv("PREFECT_API_KEY", "the user's")
    before = dict(os.environ)

    with isolation.isolated({"PREFECT_API_URL": "http://127.0.0.1:1/api"}):
        assert "PREFECT_API_KEY" not in os.environ
        assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
        assert {name for name in os.environ if name.startswith(("PREFECT_", "DASK_", "RAY_"))} == {"PREFECT_API_URL"}

    assert dict(os.environ) == before


def test_telemetry_of_prefect_and_ray_is_off(tmp_path):
    variables = isolation.environment(tmp_path)

    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["RAY_USAGE_STATS_ENABLED"] == "0"
    assert variables["DO_NOT_TRACK"] == "1"
    assert "PREFECT_API_URL" not in variables


def test_a_free_port_can_be_listened_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", isolation.free_port()))
        listener.listen()


def test_ray_writes_no_token_into_the_users_home_and_keeps_theirs(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    token = isolation.environment(tmp_path)["RAY_AUTH_TOKEN"]
    assert token == isolation.environment(tmp_path)["RAY_AUTH_TOKEN"]

    monkeypatch.setenv("RAY_AUTH_TOKEN", "the user's")
    assert isolation.environment(tmp_path)["RAY_AUTH_TOKEN"] == "the user's"

    monkeypatch.delenv("RAY_AUTH_TOKEN")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch()
    assert "RAY_AUTH_TOKEN" not in isolation.environment(tmp_path)


def test_how_the_users_ray_cluster_is_entered_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert "RAY_AUTH_MODE" not in isolation.environment(tmp_path)

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/etc/ray/token")
    variables = isolation.environment(tmp_path)
    assert (variables["RAY_AUTH_MODE"], variables["RAY_AUTH_TOKEN_PATH"]) == ("token", "/etc/ray/token")
    # A token of the lab's would go before the one that the path leads to.
    assert "RAY_AUTH_TOKEN" not in variables


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"no_proxy": "a.example, b.example"}, "a.example,b.example,127.0.0.1,localhost"),
        ({"NO_PROXY": "a.example"}, "a.example,127.0.0.1,localhost"),
        ({"no_proxy": "localhost", "NO_PROXY": "127.0.0.1"}, "localhost,127.0.0.1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_the_labs_server_is_not_looked_for_at_the_users_proxy(tmp_path, monkeypatch, theirs, expected):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    variables = isolation.environment(tmp_path)

    assert {variables[name] for name in ("no_proxy", "NO_PROXY")} == {expected}


SPAWNING = """
import multiprocessing, os, sys
from contextlib import nullcontext
from runner_lab.runners.isolation.environment import no_main_module
print(__name__, flush=True)
if __name__ == "__main__":
    with no_main_module() if sys.argv[1:] else nullcontext():
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=os.getpid)
        process.start()
        process.join()
    assert process.exitcode == 0
    assert __file__ and sys.modules["__main__"].__file__ == __file__
"""


@pytest.mark.parametrize(("arguments", "imported"), [((), ["__main__", "__mp_main__"]), (("apart",), ["__main__"])])
def test_a_process_imports_the_main_module_only_where_it_may(tmp_path, arguments, imported):
    script = tmp_path / "starts.py"
    script.write_text(SPAWNING, encoding="utf-8")
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == imported


def test_the_command_line_starts_without_what_its_commands_compute_with():
    """Else every command, and every process that is started by one, waits for it."""
    dear = {"numpy", "scipy", "matplotlib", "prefect"}
    code = f"import sys; import runner_lab.lab; print(*{dear} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
