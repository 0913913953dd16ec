"""docs/tutorial.md shows what its commands really print: each is run again and compared, but for what varies."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from runner_lab.runners.isolation import environment as isolation

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
LIMIT_S = 300.0
FILES = ("hello_world", "hello_flow", "hello_tasks", "retrying_task", "cached_task", "parallel_tasks", "choose_runner")

VARIES = (
    (r"\d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"(low run|ask run|task) '([\w-]+)-[0-9a-f]{3}'", r"\1 '\2-ID'"),
    (r"(low run) '[a-z]+-[a-z]+'", r"\1 'NAME'"),
    (r"(\w+://)?127\.0\.0\.1:\d+", "ADDRESS"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\d+\.\d( s| times)", r"N\1"),
)

# What `python -m` does, for several modules in one process: Prefect is imported once.
ONE_PROCESS = """
import runpy, sys
for module in sys.argv[1:]:
    print(f"== {module}")
    runpy.run_module(f"flows.{module}", run_name="__main__", alter_sys=True)
"""


def shown() -> list[tuple[str, str]]:
    """The page's commands with the output under each."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = []
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def output_of(module: str, which: int = 0) -> str:
    return [output for command, output in shown() if command == f"uv run python -m flows.{module}"][which]


def comparable(output: str) -> list[str]:
    """Lines without what varies; sorted, as tasks that run at the same time end in any order."""
    for pattern, replacement in VARIES:
        output = re.sub(pattern, replacement, output)
    return sorted(line.rstrip() for line in output.splitlines() if line.strip())


def environment(home: Path, api_url: str | None) -> dict[str, str]:
    variables = {**isolation.without_foreign(os.environ), **isolation.environment(home, api_url)}
    del variables["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"]
    return {**variables, "PYTHONUNBUFFERED": "1", "COLUMNS": "80"}


def run(arguments: list[str], variables: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def printed(lab_server, scratch) -> dict[str, str]:
    """What each file prints, run in the order of the page against one server."""
    home = scratch / "tutorial-home"
    variables = {**environment(home, lab_server.api_url), "RAY_TMPDIR": str(scratch)}
    said = run(["-c", ONE_PROCESS, *FILES], variables)
    parts = re.split(r"^== (\w+)\n", said, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name != "hello_flow"])
def test_the_page_shows_what_the_file_prints(name, printed):
    assert comparable(output_of(name)) == comparable(printed[name])


@pytest.mark.long
@pytest.mark.slow
def test_without_a_server_the_page_shows_the_temporary_one(scratch):
    variables = environment(scratch / "temporary", None)
    # What the page says at its beginning.
    variables["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "true"
    variables["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"

    said = run(["-m", "flows.hello_flow"], variables)

    assert comparable(output_of("hello_flow")) == comparable(said)
    assert (scratch / "temporary" / "prefect.db").exists()


def test_every_file_is_on_the_page_in_order():
    on_page = [command.rpartition(".")[2] for command, _ in shown() if "python -m flows." in command]

    assert list(dict.fromkeys(on_page)) == list(FILES)


def test_every_command_of_the_page_can_be_read():
    assert all(shlex.split(command)[:2] == ["uv", "run"] for command, _ in shown())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("10:11:12.123 | INFO    | Flow run 'red-fox' - x", "10:11:13.999 | INFO    | Flow run 'old-owl' - x"),
        ("Task run 'create_hello-1a2' - x", "Task run 'create_hello-fff' - x"),
        (".map saved 3.4 s, 5.9 times as fast", ".map saved 3.1 s, 6.2 times as fast"),
        ("one\ntwo", "two\n\none"),
    ],
)
def test_what_varies_is_not_compared(a, b):
    assert comparable(a) == comparable(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Task run 'create_hello-1a2' - x", "Task run 'create_world-1a2' - x"),
        ("Finished in state Completed()", "Finished in state Cached(type=COMPLETED)"),
        ("hello Ada", "hello Ada\nhello Ada"),
    ],
)
def test_what_matters_is_compared(a, b):
    assert comparable(a) != comparable(b)
