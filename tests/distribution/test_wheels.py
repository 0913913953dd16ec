"""Both distributions as somebody else has them: installed from wheels, next to a project with folders of our names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from runner_lab.records import record as record_files
from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation import guard
from tests.distribution.strangers import ETL, LIMIT_S, ROOT, Python, Wheels, build, install, uv, write_project

pytestmark = pytest.mark.slow

TWICE = """
import collections, importlib, os, pathlib, sys
import pytest
from runner_lab import lab

if len(sys.argv) > 1:
    assert pytest.main([sys.argv[1], "--collect-only", "-q", "--lab-profile", "smoke", "-p", "no:cacheprovider"]) == 0
else:
    lab.main(["run", "--profile", "smoke", "--", "--collect-only", "-q"])
import prefect_lean, runner_lab

for package in (runner_lab, prefect_lean):
    top = pathlib.Path(package.__file__).parent
    # rglob does not follow the links of a checkout.
    folders = [top, *(path for path in top.iterdir() if path.is_dir())]
    for path in {path for folder in folders for path in folder.rglob("*.py")}:
        parts = path.relative_to(top.parent).with_suffix("").parts
        # Those of pytest alone, which it names itself; another distribution, which lies in a folder of this one.
        if parts[-1] in ("__main__", "conftest") or parts[-1].startswith("bench_") or "lean" in parts:
            continue
        importlib.import_module(".".join(parts).removesuffix(".__init__"))
names = collections.defaultdict(list)
for name, module in list(sys.modules.items()):
    if getattr(module, "__file__", None):
        names[os.path.realpath(module.__file__)].append(name)
ours = [of for of in names.values() if any(name.partition(".")[0] in ("runner_lab", "prefect_lean") for name in of)]
assert len(ours) > 150, len(ours)
twice = [of for of in ours if len(of) > 1]
assert not twice, twice
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With a short path, as Ray needs one."""
    with guard.guarded() as scratch:
        yield scratch


@pytest.fixture(scope="module")
def wheels(folder: Path) -> Wheels:
    return build(folder / "wheels")


@pytest.fixture(scope="module")
def everything(folder: Path, wheels: Wheels) -> Python:
    """An environment with all engines, and the libraries of the real flows."""
    made = wheels.from_sdist
    return install(folder / "all", folder / "home", f"{made['runner-lab']}[all,cases]", str(made["prefect-lean"]))


@pytest.fixture(scope="module")
def least(folder: Path, wheels: Wheels) -> Python:
    """An environment with neither Dask nor Ray."""
    made = wheels.direct
    return install(folder / "least", folder / "home", str(made["runner-lab"]), str(made["prefect-lean"]))


@pytest.fixture(scope="module")
def project(folder: Path) -> Path:
    return write_project(folder / "project")


@pytest.fixture(scope="module")
def demo(everything: Python, project: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Under way while other tests run: most of its time it waits."""
    with open(folder / "demo.log", "w") as log:
        process = subprocess.Popen(
            [everything.program("runner-lab"), "demo"],
            cwd=project,
            env=everything.variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()


@pytest.fixture(scope="module")
def run(everything: Python, project: Path, demo: subprocess.Popen[str]) -> Path:
    """A run of the lab's own graphs, of the cells that `choose` does not do without."""
    asked = ("--profile", "smoke", "--runners", "threads,control", "-k", "overhead or startup")
    said = everything.run("runner-lab", "run", *asked, cwd=project)
    (found,) = re.findall(r"^report: (results/.*-smoke)/report.html$", said, re.MULTILINE)
    return project / found


@pytest.mark.parametrize(("package", "name"), [("runner-lab", "runner_lab"), ("prefect-lean", "prefect_lean")])
def test_a_wheel_has_one_name_at_the_top_and_is_the_same_from_the_sdist(wheels, package, name):
    def content(path: Path) -> dict[str, int]:
        return {entry.filename: entry.CRC for entry in zipfile.ZipFile(path).infolist()}

    direct = content(wheels.direct[package])

    assert {file.partition("/")[0] for file in direct if ".dist-info/" not in file} == {name}
    assert f"{name}/__init__.py" in direct
    assert not [file for file in direct if re.search(r"(^|/)(tests/|test_)", file)]
    assert direct == content(wheels.from_sdist[package])


def test_the_version_is_that_of_the_distribution(everything, project):
    said = everything.run("python", "-c", "import importlib.metadata as m; print(m.version('runner-lab'))", cwd=project)

    assert everything.run("runner-lab", "--version", cwd=project) == said
    assert said != "0.0.0\n"


def test_no_installed_module_is_imported_under_two_names(everything, project):
    everything.run("python", "-P", "-c", TWICE, cwd=project)


def test_no_module_of_a_checkout_is_imported_under_two_names(users_environment):
    done = subprocess.run(
        [sys.executable, "-P", "-c", TWICE, "benchmarks"],
        cwd=ROOT,
        env=users_environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.long
def test_a_flow_of_the_project_is_compared(everything, project):
    asked = ("--runners", "threads,processes,lean-dask", "--blocks", "1", "--param", "rows=4")
    said = everything.run("runner-lab", "compare", "flows/etl.py:etl", *asked, cwd=project)
    (found,) = re.findall(r"^report: (results/.*)/report.html$", said, re.MULTILINE)
    records, warnings = record_files.read(project / found)

    assert not warnings
    assert sorted(record.arm for record in records) == ["control", "lean-dask", "processes", "yours"]
    assert {(record.status, record.error) for record in records} == {("ok", None)}
    assert all(record.value_s is not None and record.value_s > 0 for record in records)
    assert "All runners returned the same result." in said
    assert "5 Completed" in said


def test_a_flow_of_the_project_is_profiled_and_advised(everything, project, run):
    said = everything.run("runner-lab", "advise", "flows/etl.py:etl", "--out", "advised", cwd=project)

    assert "under its own ThreadPoolTaskRunner, measured once" in said
    assert "page: advised/advise.html" in said
    assert "Advice for etl" in (project / "advised" / "advise.html").read_text()


def test_the_newest_run_is_read_where_none_is_named(everything, project, run):
    chosen = everything.run(
        "runner-lab", "choose", "--tasks", "200", "--task-seconds", "0.3", "--work", "io", cwd=project
    )
    rendered = everything.run("runner-lab", "report", cwd=project)
    opened = everything.run("runner-lab", "open", "--print", cwd=project)

    assert f"Run {run.name}" in chosen
    assert "Take threads" in chosen
    assert f"report: results/{run.name}/report.html" in rendered
    assert opened == f"results/{run.name}/report.html\n"


def test_a_run_leaves_its_results_and_nothing_else_in_the_project(project, run):
    assert {path.name for path in run.iterdir()} >= {"records.jsonl", "run.json", "benchmark.json", "report.html"}
    assert json.loads((run / "run.json").read_text())["command"].startswith("runner-lab run --profile smoke")
    assert not {".benchmarks", ".pytest_cache"} & {path.name for path in project.iterdir()}


def test_what_makes_no_run_is_one_line(everything, project):
    refused = everything.run("runner-lab", "run", "--profile", "nonsense", cwd=project, code=2)
    unselected = everything.run("runner-lab", "run", "--profile", "smoke", "-k", "nonsense", cwd=project, code=2)

    assert refused.startswith("runner-lab: --profile nonsense: there are smoke, ")
    assert refused.count("\n") == 1
    assert unselected.splitlines()[-1] == "runner-lab: nothing to measure: no cell of the profile is selected"


def test_doctor_sees_what_is_installed(everything, project):
    findings = {one["check"]: one for one in json.loads(everything.run("runner-lab", "doctor", "--json", cwd=project))}

    assert findings["versions"]["status"] == "ok"
    for package in ("prefect", "prefect-dask", "prefect-ray", "dask", "ray"):
        assert re.search(rf"\b{package} \d", findings["versions"]["said"])


@pytest.fixture(scope="module")
def script(everything: Python, folder: Path, lab_server) -> Python:
    """A shell in which the project's scripts use the suite's server."""
    variables = everything.variables | isolation.environment(folder / "home", lab_server.api_url)
    return Python(everything.folder, variables | {"RAY_TMPDIR": str(folder), "COLUMNS": "200"})


def test_a_flow_of_the_project_runs_under_each_lean_runner(script, project):
    names = ("threads", "processes", "dask", "ray")
    said = script.run("python", "under_lean.py", ",".join(names), cwd=project)

    assert [line for line in said.splitlines() if line.endswith(ETL)] == [f"{name} {ETL}" for name in names]


def test_lean_threads_and_processes_need_neither_dask_nor_ray(least, script, project):
    said = Python(least.folder, script.variables).run("python", "under_lean.py", "threads,processes", cwd=project)

    assert [line for line in said.splitlines() if line.endswith(ETL)] == [f"threads {ETL}", f"processes {ETL}"]


def test_a_cluster_that_has_neither_distribution_runs_it_as_well(script, project, folder):
    address = f"tcp://127.0.0.1:{isolation.free_port()}"
    uv("venv", "--quiet", "--python", script.program("python"), str(folder / "workers"))
    workers = Python(folder / "workers", script.variables | {"PYTHONPATH": str(project)})
    needs = ("--constraints", "constraints.txt", "prefect", "distributed")
    uv("pip", "install", "--quiet", "--python", workers.program("python"), *needs)
    workers.run("python", "-c", "import runner_lab", cwd=folder, code=1)
    workers.run("python", "-c", "import prefect_lean", cwd=folder, code=1)
    started = [
        subprocess.Popen(
            [workers.program("dask"), *words],
            cwd=folder,
            env=workers.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for words in (
            ("scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"),
            ("worker", address, "--nworkers", "1", "--nthreads", "2", "--no-dashboard"),
        )
    ]
    try:
        said = script.run("python", "under_lean.py", "attached-dask", address, cwd=project)
    finally:
        for process in started:
            guard.end([*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)])
            process.wait()

    assert f"attached-dask {ETL}" in said.splitlines()


def test_without_dask_and_ray_there_are_threads_and_processes(least, project):
    if "all" not in (metadata.metadata("runner-lab").get_all("Provides-Extra") or ()):
        pytest.skip("the distribution has no extras: it brings Dask and Ray")
    for engine in ("dask", "ray"):
        least.run("python", "-c", f"import {engine}", cwd=project, code=1)
    rows = {row["arm"]: row["error"] for row in json.loads(least.run("runner-lab", "runners", "--json", cwd=project))}
    said = least.run("runner-lab", "compare", "flows/etl.py", "--blocks", "1", cwd=project)

    for arm in ("threads", "lean-threads", "processes", "lean-processes"):
        assert rows[arm] is None
    for arm, extra in (("dask", "dask"), ("lean-dask", "dask"), ("ray", "ray"), ("lean-ray", "ray")):
        assert f"pip install 'runner-lab[{extra}]'" in rows[arm]
    assert "All runners returned the same result." in said
    assert re.search(r"^block 0  processes  [\d.]+ s", said, re.MULTILINE)
    refused = least.run("runner-lab", "compare", "flows/etl.py", "--runners", "threads,ray", cwd=project, code=2)
    assert "pip install 'runner-lab[ray]'" in refused.splitlines()[-1]


def test_the_demo_ends(demo, folder):
    demo.wait(LIMIT_S)

    said = (folder / "demo.log").read_text()
    assert demo.returncode == 0, said[-4000:]
    assert "a scheduled run is Completed" in said
    assert "That was the tutorial" in said
