"""The run that `report`, `publish` and `open` read where none is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.reports import machine, synthetic
from tests.reports.test_commands import typed


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    urls: list[str] = []
    monkeypatch.setattr("webbrowser.open", urls.append)
    return urls


def made(results: Path, name: str, age_s: int) -> Path:
    """A run whose files were written `age_s` seconds before others."""
    folder = synthetic.write(results / name, machine.records(machine.RUNNERS[:2], blocks=1))
    (folder / "report.html").write_text(name)
    for path in folder.iterdir():
        os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
    return folder


@pytest.mark.parametrize("command", ["report", "publish", "open"])
def test_where_there_is_none_the_line_says_what_makes_one(results, capsys, command):
    code, _, err = typed(capsys, command)

    assert code == 2
    assert err.startswith("runner-lab: no r")
    assert err.endswith(": name a run's folder, or measure one with: runner-lab run --profile quick\n")


def test_open_shows_the_newest_report(results, opened, capsys):
    made(results, "older", 60)
    newest = made(results, "a-newer-one", 0)

    assert typed(capsys, "open") == (0, "results/a-newer-one/report.html\n", "")
    assert opened == [(newest / "report.html").as_uri()]


def test_a_flows_advice_is_opened_and_is_no_run_to_render(results, opened, capsys):
    made(results, "a-run", 60)
    advised = made(results, "advised", 0)
    (advised / "profile.json").write_text("{}")
    (advised / "report.html").unlink()
    (advised / "advise.html").write_text("advice")

    assert typed(capsys, "open") == (0, "results/advised/advise.html\n", "")
    code, out, _ = typed(capsys, "report")
    assert code == 0
    assert "results/a-run/report.html" in out


def test_open_shows_the_one_that_is_named_and_prints_alone_when_told(results, opened, capsys):
    made(results, "older", 60)
    made(results, "newer", 0)

    assert typed(capsys, "open", "results/older", "--print") == (0, "results/older/report.html\n", "")
    assert opened == []


def test_a_run_without_a_report_is_one_line(results, opened, capsys):
    (made(results, "one", 0) / "report.html").unlink()

    assert typed(capsys, "open", "results/one") == (
        2,
        "",
        "runner-lab: results/one holds no report.html; make it with: runner-lab report results/one\n",
    )


@pytest.mark.slow
def test_report_renders_the_newest_run(results, capsys):
    made(results, "older", 60)
    newest = made(results, "newer", 0)

    code, out, _ = typed(capsys, "report")

    assert code == 0
    assert "report: results/newer/report.html" in out
    assert (newest / "report.html").read_text() != "newer"
    assert (results / "older" / "report.html").read_text() == "older"
