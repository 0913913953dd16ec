"""Every command in README.md, CONTRIBUTING.md and docs/ works: it is run, here or elsewhere, or read by its program.

`HOW` says of each which. A command that is not in it fails, and so does an entry that no page has.
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

from lab.app import app
from runners.catalog import load
from tests.reports import machine, synthetic
from tests.reports.test_commands import typed

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LIMIT_S = 300.0

RUN = "run here, on runs of known truth"
READ = "read by the program's own parser: it takes minutes, a cluster or a server, or does not end"
COLLECTED = "collected by pytest, not run: it measures for minutes or hours"
TUTORIAL = "run by tests/flows/test_tutorial.py"
DEPLOYING = "run by tests/lab/test_deploying.py"
PUBLISHING = "run by tests/lab/test_publishing.py"
HEALTH = "run by tests/lab/test_health.py"
OWN = "run by a test of its own, below"
SHELL = "of the shell or of another program: nothing of the project's to go wrong"

HOW = {
    "uv run runner-lab runners": OWN,
    "uv run runner-lab report results/four-workers": RUN,
    "uv run runner-lab choose --tasks 2000 --task-seconds 0.3 --work sleep --payload 200kB "
    "--from results/four-workers": RUN,
    "uv run runner-lab diff results/before results/after": RUN,
    "uv run runner-lab history": RUN,
    "uv run runner-lab history --profile quick --json": RUN,
    "source <(uv run runner-lab completion bash)": OWN,
    "uv run runner-lab doctor": HEALTH,
    "uv run runner-lab doctor --json": HEALTH,
    "uv run runner-lab publish results/four-workers": PUBLISHING,
    "uv run runner-lab publish results/four-workers --api-url http://127.0.0.1:4200/api "
    "--report-url http://lab.example/four-workers/report.html": READ,
    "uv run runner-lab compare my_flow.py:my_flow --runners threads,dask,lean-dask,ray --param n=8 --blocks 2": READ,
    "uv run runner-lab placement": READ,
    "uv run runner-lab placement --only dask,background --json": READ,
    "uv run runner-lab faults": READ,
    "uv run runner-lab faults --only worker-killed,stopped --runners dask,lean-dask": READ,
    "uv run runner-lab equivalence": READ,
    "uv run runner-lab equivalence --runners ray": READ,
    "uv run runner-lab equivalence --only same-key,key-function --runners threads,dask,lean-dask": READ,
    "sudo .venv/bin/runner-lab hosts": READ,
    "sudo .venv/bin/runner-lab hosts --runners dask,lean-dask --only across,worker-10s": READ,
    "uv run runner-lab scale results/sqlite results/postgres": READ,
    "uv run runner-lab demo": READ,
    "uv run pytest benchmarks --benchmark-only": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-runners threads,dask --lab-blocks 7": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --workers 4 --lab-out results/four-workers": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-resume results/four-workers": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile smoke": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile lean": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile scale": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile scale "
    "--lab-database-url postgresql+asyncpg://...": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-config runners.toml --lab-runners threads,control,dask,lean-dask "
    "--lab-api-url http://10.0.0.1:4200/api": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile smoke --lab-runners threads,control,YOURS": COLLECTED,
    "uv run python -m flows.hello_world": TUTORIAL,
    "uv run python -m flows.hello_flow": TUTORIAL,
    "uv run python -m flows.hello_tasks": TUTORIAL,
    "uv run python -m flows.retrying_task": TUTORIAL,
    "uv run python -m flows.cached_task": TUTORIAL,
    "uv run python -m flows.parallel_tasks": TUTORIAL,
    "uv run python -m flows.choose_runner": TUTORIAL,
    "uv run prefect work-pool create my-pool --type process": DEPLOYING,
    "uv run prefect --no-prompt deploy -n hello-flow-deployment": DEPLOYING,
    "uv run prefect worker start --pool my-pool": DEPLOYING,
    "uv run prefect deployment run hello-flow/hello-flow-deployment --watch": DEPLOYING,
    "uv run prefect work-pool create docker-pool --type docker --base-job-template deploy/docker-pool.json": DEPLOYING,
    "uv run prefect work-pool create kubernetes-pool --type kubernetes "
    "--base-job-template deploy/kubernetes-pool.json": DEPLOYING,
    "uv run prefect --no-prompt deploy -n nightly-comparison": READ,
    "uv run prefect server start --host 127.0.0.1": READ,
    "prefect server start --host 10.0.0.1": READ,
    "dask scheduler --host 10.0.0.3 --port 8786": READ,
    "dask worker tcp://10.0.0.3:8786 --host 10.0.0.3 --nthreads 1": READ,
    "dask worker tcp://10.0.0.3:8786 --host 10.0.0.4 --nthreads 1": READ,
    "ray start --head --node-ip-address 10.0.0.3 --port 6379 --ray-client-server-port 10001": READ,
    "ray start --address 10.0.0.3:6379 --node-ip-address 10.0.0.4": READ,
    "prefect work-pool create right --type process": READ,
    "prefect worker start --pool right": READ,
    "prefect task serve flows/placement.py:on_left": READ,
    "prefect task serve flows/placement.py:on_right": READ,
    'dask worker tcp://scheduler.example:8786 --name left --resources "left=1"': READ,
    'ray start --address head.example:6379 --resources \'{"right": 1}\' --labels "place=right"': READ,
    "uv run pytest": SHELL,
    'uv run pytest -m "not slow"': SHELL,
    "pip install uv": SHELL,
    "uv sync": SHELL,
    "git clone <this repository> runner-lab": SHELL,
    "cd runner-lab": SHELL,
    "rm -r /tmp/runner-lab-tutorial": SHELL,
    "export PREFECT_HOME=/tmp/runner-lab-tutorial": SHELL,
    "export PREFECT_HOME=/tmp/runner-lab-tutorial RAY_TMPDIR=/tmp/runner-lab-tutorial": SHELL,
    "export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1": SHELL,
    "export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120": SHELL,
    "export PREFECT_API_URL=http://127.0.0.1:4200/api": SHELL,
}
PROGRAMS = r"(?:uv|pip|git|cd|rm|export|source|prefect|dask|ray|pytest|python|runner-lab|sudo|docker|curl)\b"


def commands(page: Path) -> list[str]:
    """Those of the fenced blocks, one a line, and of the text where they begin with `uv run`."""
    text = page.read_text()
    found = []
    for kind, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        lines = [line.strip() for line in re.sub(r"\\\n\s*", "", body).splitlines()]
        if kind == "console":
            found += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif kind in ("", "bash", "sh"):
            found += [line for line in lines if re.match(PROGRAMS + " ", line) or line == "uv sync"]
    outside = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found += [" ".join(inline.split()) for inline in re.findall(r"`(uv\s+run\s[^`]+)`", outside)]
    return [part for line in found for part in re.sub(r"\s+#.*$", "", line).split(" && ")]


EVERY = list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def those(how: str, program: str = "") -> list[str]:
    return [command for command in HOW if HOW[command] == how and program in f" {command} "]


def words(command: str) -> list[str]:
    """Without `uv run`."""
    return shlex.split(command.removeprefix("uv run ").removeprefix("sudo .venv/bin/"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the runs that the pages speak of, and a flow of the user's."""
    monkeypatch.chdir(tmp_path)
    records = machine.records(machine.RUNNERS[:3], blocks=2)
    for name in ("four-workers", "before", "after"):
        plan = synthetic.plan(records, run_id=name, arms=["threads", "dask"], workers=4, cells=[])
        synthetic.write(tmp_path / "results" / name, records, plan)
    (tmp_path / "my_flow.py").write_text("from prefect import flow\n\n@flow\ndef my_flow(n: int): ...\n")
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


@pytest.mark.parametrize(("how", "file"), [(HEALTH, "test_health.py"), (PUBLISHING, "test_publishing.py")])
def test_those_that_have_a_file_of_their_own_are_run_there(how, file):
    source = (ROOT / "tests" / "lab" / file).read_text()

    assert those(how)
    for command in those(how):
        assert re.search(rf'capsys,\s+"{words(command)[1]}"', source)


@pytest.mark.slow
def test_the_one_that_imports_every_engine_is_run_in_a_process_of_its_own(users_environment):
    done = subprocess.run(
        [sys.executable, "-m", "lab", "runners", "--json"],
        cwd=ROOT,
        env=users_environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert {row["arm"]: row["error"] for row in json.loads(done.stdout)} == dict.fromkeys(load().arms)


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

    assert called.__name__ == words(command)[1]
    given = bound.arguments
    if runners := given.get("runners"):
        assert set(runners.split(",")) <= load().arms.keys()
    if flow := given.get("flow"):
        assert Path(flow.partition(":")[0]).exists()
    if run := given.get("run"):
        assert Path(run).exists()


COLLECT = """
import json, sys
import pytest
for words in json.load(sys.stdin):
    print("==", int(pytest.main([*words, "--collect-only", "-q", "--no-header", "-p", "no:cacheprovider"])), flush=True)
"""


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
        assert called.__name__ == name


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
    import lab

    with pytest.raises(SystemExit):
        lab.main(["report", str(tmp_path)])
    with pytest.raises(ValueError, match=r"records\.jsonl"):
        lab.main(["report", str(tmp_path), "--debug"])
