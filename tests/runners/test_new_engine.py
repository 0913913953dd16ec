"""An engine that is new to the lab: one file in `runners/engines`, or another distribution's entry point.

Nothing else is told of it. So it is taken through a run, a report and its charts both ways.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from runner_lab.benchmarks.experiments.frame.experiment import concurrent, separate_workers
from runner_lab.benchmarks.experiments.frame.suite import every_arm
from runner_lab.records import record as records
from runner_lab.records.traits import ArmTraits
from runner_lab.reports.analysis.summary import summarise
from runner_lab.runners import catalog, engines
from runner_lab.runners.catalog import STOCK, ConfigError
from runner_lab.runners.spec import ArmError
from tests.benchmarks.whole_runs import LIMIT_S

ROOT = Path(__file__).parents[2]

GATHERED = '''
"""A thread pool under another name, whose runner counts its threads by `slots`."""

from __future__ import annotations

import functools
from contextlib import contextmanager

from runner_lab.runners.engine import RUNNING_CLUSTER, Engine
from runner_lab.runners.spec import RunnerSpec


class Gathered(Engine):
    name = "gathered"
    title = "Gathered"
    rank = 15
    worker_option = "slots"
    runner_classes = frozenset({"GatheredTaskRunner"})
    cluster_keys = {**RUNNING_CLUSTER, "namespace": "text"}
    caveat = "Gathered tasks share the flow's process as well."
    arms = (
        RunnerSpec("gathered", "gathered", f"{__name__}.GatheredTaskRunner", summary="threads by another name"),
        RunnerSpec("bare-gathered", "gathered", bare=True, summary="the same, no Prefect"),
    )

    @contextmanager
    def bare(self, spec, cluster, limit_s):
        from concurrent.futures import ThreadPoolExecutor

        from runner_lab.runners.engines.threads import BareThreads

        with ThreadPoolExecutor(spec.workers) as pool:
            yield BareThreads(pool, limit_s)


@functools.cache
def _runner_class():
    from prefect.task_runners import ThreadPoolTaskRunner

    class GatheredTaskRunner(ThreadPoolTaskRunner):
        def __init__(self, slots: int = 2):
            super().__init__(max_workers=slots)
            self.slots = slots

        def duplicate(self):
            return type(self)(self.slots)

    return GatheredTaskRunner


def __getattr__(name):
    if name == "GatheredTaskRunner":
        return _runner_class()
    raise AttributeError(name)


ENGINE = Gathered()
'''


def distribution(folder: Path, entry: str = "gathered = their_engine:Gathered", source: str = GATHERED) -> Path:
    """What an installed distribution leaves in site-packages."""
    info = folder / "their_runners-1.2.dist-info"
    info.mkdir(parents=True)
    (folder / "their_engine.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-runners\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{catalog.ENTRY_POINTS}]\n{entry}\n")
    return folder


@pytest.fixture
def as_file(tmp_path, monkeypatch):
    """The engine as a file beside the lab's own."""
    (tmp_path / "gathered.py").write_text(GATHERED)
    monkeypatch.setattr(engines, "__path__", [*engines.__path__, str(tmp_path)])
    yield
    sys.modules.pop(f"{engines.__name__}.gathered", None)
    vars(engines).pop("gathered", None)


@pytest.fixture
def as_distribution(tmp_path, monkeypatch):
    """The engine as a distribution that is installed."""
    monkeypatch.syspath_prepend(distribution(tmp_path / "site"))
    yield
    sys.modules.pop("their_engine", None)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Callable[..., None]:
    """Install a distribution with an engine, whatever it is."""

    def install(source: str, entry: str = "theirs = their_engine:ENGINE") -> None:
        monkeypatch.delitem(sys.modules, "their_engine", raising=False)
        shutil.rmtree(tmp_path / "site", ignore_errors=True)
        monkeypatch.syspath_prepend(distribution(tmp_path / "site", entry, textwrap.dedent(source)))

    return install


@pytest.mark.parametrize("way", ["as_file", "as_distribution"])
def test_its_arms_are_among_the_others_by_its_rank(way, request):
    request.getfixturevalue(way)
    found = catalog.load()

    assert list(found.engines) == ["none", "asyncio", "threads", "gathered", "processes", "dask", "ray"]
    assert list(found.arms).index("bare-threads") < list(found.arms).index("gathered")
    assert list(found.arms).index("bare-gathered") < list(found.arms).index("processes")
    for arm in found.select(["gathered", "bare-gathered"], workers=3):
        found.check(arm)
    assert found.engine(arm).options(arm, None) == {"slots": 3}


@pytest.mark.parametrize("way", ["as_file", "as_distribution"])
def test_what_goes_by_all_engines_takes_it_in(way, request, tmp_path):
    request.getfixturevalue(way)
    found = catalog.load()

    assert found.default(["threads", STOCK]) == (["threads", "gathered", "processes", "dask", "ray"], [])
    assert "gathered" in [arm.name for arm in every_arm()]
    assert concurrent(found.engines["gathered"])
    assert not separate_workers(found.engines["gathered"])
    assert found.traits(found.arms["gathered"]) == ArmTraits(
        rank=15, reach="process", slots_share_gil=True, caveat="Gathered tasks share the flow's process as well."
    )


def test_a_declared_class_belongs_to_the_nearest_runner_that_an_engine_knows(as_file, tmp_path):
    config = tmp_path / "runners.toml"
    config.write_text('[arms.mine]\nclass = "runner_lab.runners.engines.gathered.GatheredTaskRunner"')

    assert catalog.load(config).arms["mine"].engine == "gathered", "and not the threads that it is a subclass of"


def test_its_table_in_the_configuration_has_the_keys_that_it_names(as_distribution, tmp_path):
    config = tmp_path / "runners.toml"
    config.write_text('gathered = { address = "here:1", namespace = "blue" }')
    found = catalog.load(config)
    settings = found.settings(found.arms["gathered"])

    assert (settings.address, settings.more) == ("here:1", {"namespace": "blue"})
    for text, message in (
        ("gathered.namespace = 3", "gathered.namespace: must be text"),
        ("gathered.colour = 3", "gathered.colour: unknown key; known are address, namespace, timeout_s"),
        ("colour = 3", "unknown key 'colour'; known are arms, gathered, dask and ray"),
    ):
        config.write_text(text)
        with pytest.raises(ConfigError) as refused:
            catalog.load(config)
        assert str(refused.value) == message


ENGINE = "from runner_lab.runners.engine import Engine, Dependency\nfrom runner_lab.runners.spec import RunnerSpec\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "cannot be loaded (No module named 'no_such_module'): mend or uninstall it"),
        ("ENGINE = 3", "is not an Engine with a name and a title"),
        (f"{ENGINE}class E(Engine):\n    name = 'theirs'\nENGINE = E()", "is not an Engine with a name and a title"),
        (
            f"{ENGINE}class E(Engine):\n    name, title = 'dask', 'Dask'\nENGINE = E()",
            "has the name of the engine of runners/engines/dask.py, 'dask': give it another one",
        ),
        (
            f"{ENGINE}class E(Engine):\n    name, title = 'arms', 'Arms'\nENGINE = E()",
            "has the name of a table of runners.toml, 'arms': give it another one",
        ),
        (
            f"{ENGINE}class E(Engine):\n    name, title, cluster_keys = 'e', 'E', {{'port': 'a port'}}\nENGINE = E()",
            "cluster_keys['port'] must be one of text, a table",
        ),
    ],
)
def test_one_that_cannot_be_used_is_one_line_that_names_its_distribution(installed, source, message):
    installed(source)

    with pytest.raises(ConfigError, match=r"^[^\n]+$") as refused:
        catalog.load()
    assert str(refused.value).startswith("the engine 'theirs' of their-runners")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("RunnerSpec('threads', 'e', 'a.B')", "engine 'e': there is an arm 'threads' already"),
        ("RunnerSpec('control', 'e', 'a.B')", "engine 'e': there is an arm 'control' already"),
        ("RunnerSpec('mine', 'dask', 'a.B')", "engine 'e': its arm 'mine' names the engine 'dask'"),
    ],
)
def test_its_arms_have_names_of_their_own(installed, arm, message):
    installed(f"{ENGINE}class E(Engine):\n    name, title = 'e', 'E'\n    arms = ({arm},)\nENGINE = E()")

    with pytest.raises(ConfigError) as refused:
        catalog.load()
    assert str(refused.value) == message


def test_one_that_imports_prefect_too_early_is_refused(tmp_path):
    site = distribution(tmp_path / "site", source=GATHERED.replace("import functools", "import functools, prefect"))
    done = subprocess.run(
        [sys.executable, "-c", "from runner_lab.runners import catalog; catalog.load()"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )

    assert "their-runners imports Prefect when it is loaded: import it in the functions that use it" in done.stderr


WANTING = f"""{ENGINE}
class E(Engine):
    name, title, rank = 'e', 'Elsewhere', 99
    requires = (Dependency('elsewhere-runner', 'elsewhere_runner'),)
    arms = (RunnerSpec('there', 'e', 'elsewhere_runner.There'),)
ENGINE = E()
"""
LACKING = "Elsewhere is not installed: pip install 'elsewhere-runner'"


def test_one_whose_packages_are_missing_is_left_out_by_default_and_refused_by_name(installed, tmp_path, monkeypatch):
    installed(WANTING)
    monkeypatch.chdir(tmp_path)
    # A folder of the package's name is not the package.
    (tmp_path / "elsewhere_runner").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    found = catalog.load()

    assert "there" in found.arms
    assert found.missing(found.arms["there"]) == LACKING
    assert found.default(["threads", STOCK]) == (
        ["threads", "processes", "dask", "ray"],
        [f"{LACKING}; left out: there"],
    )
    for refuse in (found.check, lambda arm: found.refuse_missing([arm])):
        with pytest.raises(ArmError) as refused:
            refuse(found.arms["there"])
        assert str(refused.value) == f"arm 'there': {LACKING}"


def test_a_declared_class_of_a_missing_engine_is_listed_as_its_arm(installed, tmp_path):
    installed(WANTING)
    config = tmp_path / "runners.toml"
    config.write_text('[arms.mine]\nclass = "elsewhere_runner.There"')
    found = catalog.load(config)

    assert found.missing(found.arms["mine"]) == LACKING


def run_lab(arguments: list[str], folder: Path, **variables: str) -> str:
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}, **variables}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=2 * LIMIT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("way", ["file", pytest.param("distribution", marks=pytest.mark.long)])
def test_a_smoke_run_with_its_report_and_charts(way, tmp_path):
    checkout, site, out = tmp_path / "checkout", tmp_path / "site", tmp_path / "out"
    for name in ("src", "flows", "runners", "benchmarks", "reports", "lab", "records"):
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    if way == "file":
        (checkout / "runners" / "engines" / "gathered.py").write_text(GATHERED)
    else:
        distribution(site)
    path = os.pathsep.join(map(str, (checkout / "src", site)))
    arms = ("threads", "control", "gathered", *(("bare-gathered",) if way == "file" else ()))

    listed = json.loads(run_lab(["-m", "runner_lab", "runners", "--json"], tmp_path, PYTHONPATH=path))
    assert {row["arm"]: row["error"] for row in listed if row["engine"] == "gathered"} == dict.fromkeys(
        ("gathered", "bare-gathered")
    )

    printed = run_lab(
        [
            *("-m", "pytest", "benchmarks", "--benchmark-only", "--lab-profile", "smoke"),
            *("--lab-runners", ",".join(arms), "--lab-out", str(out)),
        ],
        checkout,
        PYTHONPATH=path,
    )
    found, warnings = records.read(out)

    assert warnings == []
    assert {record.status for record in found} == {"ok"}
    assert {record.arm for record in found} == set(arms)
    assert all(record.recorded == record.expected_recorded for record in found if not record.bare)
    assert f"report: {out / 'report.html'}" in printed
    assert "Not kept in the history" not in printed

    # By whoever reads the run, without the engine.
    summary = summarise(out)
    (arm,) = [one for one in summary.arms if one.name == "gathered"]
    assert arm.traits.rank == 15
    assert arm.traits.slots_share_gil is True
    assert "gathered" in (out / "report.md").read_text()
    assert "gathered" in (out / "report.html").read_text()
    drawn = [chart.name for chart in (out / "charts").glob("*.svg") if "gathered" in chart.read_text()]
    assert {"makespan-by-width.svg", "paired-ratios.svg", "where-time-goes.svg"} <= set(drawn)
    again = run_lab(["-m", "runner_lab", "report", str(out)], tmp_path)
    assert "gathered" in again
    answer = run_lab(
        [
            "-m",
            "runner_lab",
            "choose",
            "--from",
            str(out),
            "--tasks",
            "50",
            "--task-seconds",
            "0.1",
            "--work",
            "io",
            "--json",
        ],
        tmp_path,
    )
    assert "gathered" in {one["arm"] for one in json.loads(answer)["ranked"]}
