"""Every command in README.md, CONTRIBUTING.md and docs/ works: it is run, here or elsewhere, or read by its program.

`documented.HOW` says of each which. A command that is not in it fails, and so does an entry that no page has.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from runner_lab.lab.program import app
from runner_lab.runners.catalog import load
from tests.lab.documented import COLLECTED, DEPLOYING, HEALTH, HOW, PUBLISHING, READ, RUN, TUTORIAL
from tests.reports import machine, synthetic
from tests.reports.test_commands import typed

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LIMIT_S = 300.0

PROGRAMS = r"(?:uv|uvx|pip|git|cd|rm|export|source|prefect|dask|ray|pytest|python|runner-lab|sudo|docker|curl)\b"


def commands(page: Path) -> list[str]:
    """Those of the fenced blocks, one a line, and of the text where they begin with `uv run`."""
    text = page.read_text()
    found = []
    for kind, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        lines = [line.strip() for line in re.sub(r"\\\n\s*", "", body).splitlines()]
        if kind == "console":
            found += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif kind in ("", "bash", "sh"):
            found += [line for line in lines if re.match(PROGRAMS + " ", line)]
    outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found += [" ".join(inline.split()) for inline in re.findall(r"`(uv\s+run\s[^`]+)`", outside)]
    return [part for line in found for part in re.sub(r"\s+#.*$", "", line).split(" && ")]


EVERY = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def those(how: str, program: str = "") -> list[str]:
    return [command for command in HOW if HOW[command] == how and program in f" {command} "]


def words(command: str) -> list[str]:
    """Without what runs it: `uv run`, `uvx`, a container."""
    if command.startswith("docker run "):
        command = command.partition(" -- ")[2]
    return shlex.split(command.removeprefix("uv run ").removeprefix("uvx ").removeprefix("sudo .venv/bin/"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the runs that the pages speak of, and a flow of the user's."""
    monkeypatch.chdir(tmp_path)
    records = machine.records(machine.RUNNERS[:3], blocks=2)
    for name in ("four-workers", "before", "after"):
        plan = synthetic.plan(records, run_id=name, arms=["threads", "dask"], workers=4, cells=[])
        synthetic.write(tmp_path / "results" / name, records, plan)
    (tmp_path / "my_flow.py").write_text("from prefect import flow\n\n@flow\ndef my_flow(n: int): ...\n")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "etl.py").write_text("from prefect import flow\n\n@flow\ndef etl(): ...\n")
    return tmp_path


def test_every_command_of_the_pages_is_classified():
    assert [command for command in EVERY if command not in HOW] == []
    assert [command for command in HOW if command not in EVERY] == []


def test_those_of_the_tutorial_are_run_there():
    from tests.flows.test_tutorial import FILES

    assert those(TUTORIAL) == [f"uv run python -m flows.{name}" for name in FILES]


def test_those_of_deployments_are_run_there():
    source = (
        (ROOT / "tests" / "lab" / "test_deploying.py")
        .read_text()
        .replace("{DEPLOYMENT}", "hello-flow/hello-flow-deployment")
    )
    named = re.findall(r'"(prefect [^"{]*)', source)
    for kind in ("docker", "kubernetes"):
        named.append(f"prefect work-pool create {kind}-pool")
    assert [
        command for command in those(DEPLOYING) if not command.removeprefix("uv run ").startswith(tuple(named))
    ] == []


@pytest.mark.parametrize(("how", "file"), [(HEALTH, "test_health.py"), (PUBLISHING, "test_publish.py")])
def test_those_that_have_a_file_of_their_own_are_run_there(how, file):
    source = (ROOT / "tests" / "lab" / file).read_text()

    assert those(how)
    for command in those(how):
        assert re.search(rf'capsys,\s+"{words(command)[1]}"', source)


@pytest.mark.slow
def test_the_one_that_imports_every_engine_is_run_in_a_process_of_its_own(users_environment):
    done = subprocess.run(
        [sys.executable, "-m", "runner_lab", "runners", "--json"],
        cwd=ROOT,
        env=users_environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert {row["arm"]: row["error"] for row in json.loads(done.stdout)} == dict.fromkeys(load().arms)


@pytest.mark.slow
def test_those_that_read_runs_are_run(folder, capsys):
    for command in those(RUN):
        program, *arguments = words(command)
        assert program == "runner-lab"
        code, out, err = typed(capsys, *arguments)
        assert code == 0, f"{command}: {err}"
        assert out
        if "--json" in arguments:
            json.loads(out)


@pytest.mark.parametrize("command", [c for c in HOW if "runner-lab " in c and not c.startswith("source")])
def test_those_of_the_lab_are_read_by_its_command_line(command, folder):
    called, bound, _ = app.parse_args(words(command)[1:], exit_on_error=False, print_error=False)

    assert called == app[words(command)[1]].default_command
    given = bound.arguments
    if runners := given.get("runners"):
        assert set(runners.split(",")) <= load().arms.keys()
    if flow := given.get("flow"):
        file = flow.partition(":")[0]
        assert Path(file).exists() or (ROOT / file).exists()
    if run := given.get("run"):
        assert Path(run).exists()


COLLECT = """
import json, sys
import pytest
for words in json.load(sys.stdin):
    print("==", int(pytest.main([*words, "--collect-only", "-q", "--no-header", "-p", "no:cacheprovider"])), flush=True)
"""


def rows(page: Path, caption: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by their first column."""
    table = page.read_text().partition(caption)[2].partition("\n| ")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    return {first: others for first, *others in cells}


@pytest.mark.parametrize(
    ("duty", "work"),
    [
        ("many short tasks that wait", "waits 0.3 s"),
        ("many tasks that wait, in a flow that is async", "waits 0.3 s"),
        ("CPU work in Python", "CPU 1 min"),
        ("few tasks, or tasks of a millisecond", "1 ms or less"),
    ],
)
def test_the_runner_for_a_duty_is_what_the_sample_run_names_for_such_work(duty, work):
    duties = rows(ROOT / "docs" / "production.md", "## Which runner for which duty")
    [take] = [cells[0] for name, cells in duties.items() if name.startswith(duty)]
    first = re.search(r"`([a-z-]+)`", take)
    sample = rows(ROOT / "docs" / "sample-report" / "report.md", "## Verdict")

    assert first
    assert first.group(1) in " ".join(sample[work])


def test_the_pages_name_every_option_of_pytest_and_no_other():
    source = (ROOT / "benchmarks" / "conftest.py").read_text()
    shown = re.sub(r"addoption\(\s*\"[^\"]+\", help=argparse.SUPPRESS\)", "", source)
    options = set(re.findall(r"addoption\(\s*\"(--[a-z-]+)\"", shown))
    named = {option for page in PAGES for option in re.findall(r"(--lab-[a-z-]+)", page.read_text())}

    assert {option for option in options if option.startswith("--lab-")} == named
    table = (ROOT / "docs" / "running.md").read_text().partition("| option |")[2].partition("\n\n")[0]
    assert [option for option in options if f"{option}" not in table] == []


@pytest.mark.slow
def test_those_that_measure_are_collected(folder):
    asked = []
    for number, command in enumerate(those(COLLECTED)):
        # A run is resumed where there is one, and a new one is not put into its place.
        results = folder / (f"new-{number}" if "--lab-out" in command else "results")
        line = command.replace("results/", f"{results}/").replace(",YOURS", "")
        asked.append(words(line)[1:])
    done = subprocess.run(
        [sys.executable, "-c", COLLECT],
        cwd=ROOT,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    codes = re.findall(r"^== (\d+)$", done.stdout, re.MULTILINE)

    assert codes == ["0"] * len(asked), done.stdout[-3000:] + done.stderr[-2000:]
    assert done.stdout.count("bench_") > len(asked)


@pytest.mark.parametrize("command", [c for c in those(READ) if "prefect " in c])
def test_those_of_prefect_are_read_by_its_command_line(command):
    from prefect.cli._app import _app

    importlib.import_module("prefect.cli._app")
    arguments = [word for word in words(command)[1:] if word != "--no-prompt"]
    called, bound, _ = _app.parse_args(arguments, exit_on_error=False, print_error=False)

    assert callable(called)
    given = json.dumps(bound.arguments, default=str)
    for word in arguments:
        path, _, name = word.partition(":")
        if path.endswith((".py", ".json")):
            assert f"def {name}(" in (ROOT / path).read_text()
    if "deploy" in arguments:
        assert f"name: {arguments[-1]}\n" in (ROOT / "prefect.yaml").read_text()
        assert arguments[-1] in given


@pytest.mark.parametrize(
    ("program", "module", "name"),
    [
        ("dask scheduler", "distributed.cli.dask_scheduler", "main"),
        ("dask worker", "distributed.cli.dask_worker", "main"),
        ("ray start", "ray.scripts.scripts", "start"),
    ],
)
def test_those_of_the_engines_are_read_by_their_command_lines(program, module, name):
    read = getattr(importlib.import_module(module), name)
    found = [words(command)[2:] for command in those(READ) if command.startswith(program)]

    assert found
    for arguments in found:
        read.make_context(program, arguments)


def test_every_command_of_the_lab_has_an_example_that_it_can_read():
    for name in app:
        if name.startswith("-"):
            continue
        (example,) = re.findall(r"Example: (.*runner-lab .*)", app[name].help)
        line = re.sub(r"^source <\((.*)\)$", r"\1", example.strip().rstrip(".")).removeprefix("sudo ")
        called, _, _ = app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
        assert called == app[name].default_command


def test_bash_completes_commands_and_options(tmp_path, capsys):
    code, script, err = typed(capsys, "completion", "bash")
    assert (code, err) == (0, "")
    (tmp_path / "script").write_text(script)
    asked = """
    source "$1"
    complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _runner_lab; echo "${COMPREPLY[@]}"; }
    complete_words runner-lab pla
    complete_words runner-lab history --pro
    """
    done = subprocess.run(["bash", "-c", asked, "bash", str(tmp_path / "script")], capture_output=True, text=True)

    assert (done.stdout.split("\n")[:2], done.stderr) == (["placement", "--profile"], "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_as_well(shell, capsys):
    code, script, _ = typed(capsys, "completion", shell)

    assert code == 0
    assert "placement" in script


def test_debug_shows_the_traceback_that_one_line_stands_for(tmp_path):
    from runner_lab import lab

    with pytest.raises(SystemExit):
        lab.main(["report", str(tmp_path)])
    with pytest.raises(ValueError, match=r"records\.jsonl"):
        lab.main(["report", str(tmp_path), "--debug"])
