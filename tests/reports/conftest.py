"""One rendered run for all tests of its report: every known arm, two that are hostile, one that fails."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner_lab import reports
from runner_lab.records.record import Record
from runner_lab.reports import charts
from tests.reports import synthetic

SCRIPT = "<script>alert(1)</script>"
LONG = "a runner with a name that goes on | and on `and on` $\\frac{ &amp; <img src=x onerror=alert(2)> " * 3
HOSTILE = (
    synthetic.Truth(SCRIPT, "dask", per_task_s=0.05, recorded=0.9),
    synthetic.Truth(LONG, "ray", per_task_s=0.4, fails='Boom: <b onclick="x">"1" | 2</b>', fails_suite="payload"),
    synthetic.Truth("\u202e\ud800\x00\x1b[31m", "threads", per_task_s=0.03),
)


@dataclass(frozen=True)
class RenderedRun:
    """A rendered run, and the text of its report."""

    folder: Path
    rendered: reports.Rendered
    html: str
    markdown: str
    details: str


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm's registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe comes by npm, which is not installed")
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run([npm, "pack", "axe-core@4"], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm cannot get axe-core: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as packed:
        file = packed.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


def violations(page: Any, axe: str) -> list[tuple[str, str, list[Any]]]:
    """What axe finds on a page with everything unfolded: rule, words, places."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate(axe)
    found = page.evaluate("axe.run().then(done => done.violations)")
    return [(one["id"], one["help"], [node["target"] for node in one["nodes"]][:5]) for one in found]


def render(folder: Path) -> RenderedRun:
    rendered = reports.render(folder)
    texts = [(folder / name).read_text() for name in ("report.html", "report.md", "details.md")]
    return RenderedRun(folder, rendered, *texts)


DRAWN = len(charts.CHARTS) - 1
"""Charts of `full_run`: all but that of the suite `scale`, which no other profile has."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever needs all charts needs their fifteen seconds."""
    for item in items:
        if "full_run" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> RenderedRun:
    truths = (*synthetic.STOCK, *synthetic.LEAN, *HOSTILE)
    records = synthetic.records(truths, blocks=3)
    return render(synthetic.write(tmp_path_factory.mktemp("full"), records, synthetic.plan(records)))


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[[Sequence[Record]], RenderedRun]:
    """Render records of a test's own."""
    return lambda records: render(synthetic.write(tmp_path / "run", records))


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a report, and what a test is about may be beside its charts."""
    monkeypatch.setattr(charts, "CHARTS", ())
