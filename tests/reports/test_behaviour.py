"""Findings on behaviour in the report: read with distrust, shown as signs and words, escaped."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner_lab import lab, reports
from runner_lab.reports import RecordError
from runner_lab.reports.findings import behaviour
from runner_lab.reports.pages import markdown, terminal
from tests.reports import synthetic

HOSTILE = "<script>alert(1)</script> | [x](http://example.com) \x1b[31m\u202e [bold]"
ARMS = ("threads", "lean-threads", "processes", "lean-processes", "dask", "lean-dask", "ray", "lean-ray")


def finding(experiment: str, arm: str, symbol: str = "ok", **more: Any) -> dict[str, Any]:
    words = {"words": f"{symbol} under {arm}", "remedy": "" if symbol == "ok" else "Mend it."}
    return {"experiment": experiment, "arm": arm, "symbol": symbol, "details": {}, "seconds": 1.5, **words, **more}


def findings(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    listed = [
        {"id": name, "group": "g", "title": f"What if {name}", "code": f"benchmarks/{name}.py", "arms": ["ray"]}
        for name in ("killed", "stopped", "never-tried")
    ]
    return {
        "schema": 1,
        "name": "faults",
        "title": "What happens when things go wrong",
        "finished_at": "2026-01-01T00:00:00+00:00",
        "environment": {"cores": 2, "versions": {"prefect": "3.8.8"}},
        "experiments": listed,
        "arms": list(ARMS),
        "findings": list(found),
        **more,
    }


MIXED = findings(
    finding("killed", "dask", "bad", details={"executions": 4, "state": "Running"}),
    finding("killed", "threads"),
    finding("killed", "ray", "bad", words="lost"),
    finding("killed", "processes", "warn"),
    finding("stopped", "dask", "unknown"),
    finding("stopped", "threads"),
)


def write(folder: Path, data: Any, name: str = "faults") -> Path:
    path = folder / f"{name}.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_the_matrix_has_a_sign_and_words_for_each_cell(tmp_path):
    found = behaviour.read(write(tmp_path, MIXED))
    table = behaviour.matrix(found)

    assert [column.title for column in table.columns] == ["Experiment", "threads", "processes", "dask", "ray"]
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["What if killed", "✓ ok under threads", "! warn under processes", "✗ bad under dask", "✗ lost"],
        ["What if stopped", "✓ ok under threads", "-", "? unknown under dask", "not run"],
    ]
    assert table.rows[0][0].detail == "killed\nbenchmarks/killed.py"
    assert behaviour.matrix(found, "../").rows[0][0].link == "../benchmarks/killed.py"


def test_what_to_do_is_said_once_for_those_that_share_it(tmp_path):
    table = behaviour.remedies(behaviour.read(write(tmp_path, MIXED)))

    assert table is not None
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["What if killed", "processes", "! warn under processes", "Mend it."],
        ["What if killed", "dask and ray", "✗ bad under dask / ✗ lost", "Mend it."],
        ["What if stopped", "dask", "? unknown under dask", "Mend it."],
    ]
    assert behaviour.remedies(behaviour.read(write(tmp_path, findings(finding("killed", "dask"))))) is None


def test_the_facts_are_there_to_be_looked_up(tmp_path):
    rows = behaviour.measured(behaviour.read(write(tmp_path, MIXED))).rows
    assert ["What if killed", "dask", "executions: 4; state: Running", "1.50 s"] in [
        [e.text for e in row] for row in rows
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "a JSON object is needed"),
        ({"schema": 2}, "schema version 2"),
        (findings(schema="\x1b[31m"), "schema version"),
        ({"schema": 1}, "no '"),
        (findings(name="../x"), "name ../x"),
        (findings(environment=[]), "environment must be an object"),
        (findings(finding("killed", "dask", "great")), "symbol great"),
        (findings(finding("unheard-of", "dask")), "a finding of unheard-of"),
        (findings(finding("killed", "dask", words=7)), "7 where text is needed"),
        (findings(finding("killed", "dask", seconds="long")), "long where a number is needed"),
        (findings(finding("killed", "dask", details=[1])), "attribute"),
        (findings(finding("killed", "dask", symbol=["ok"])), "unhashable"),
        (findings(experiments={}), "lists of findings"),
        (findings("x"), "string"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_file_of_findings_is_one_clear_line(tmp_path, data, message, capsys):
    path = write(tmp_path, data)
    with pytest.raises(RecordError) as raised:
        behaviour.read(path)
    said = str(raised.value)
    assert message in said
    assert str(path) in said
    assert said.isprintable()
    with pytest.raises(SystemExit) as ended:
        lab.main(["report", str(tmp_path)])
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_folder_of_findings_alone_has_a_report_of_them(tmp_path, capsys):
    write(tmp_path, MIXED)
    write(tmp_path, findings(finding("killed", "ray"), name="equivalence", title="Same?"), "equivalence")
    lab.main(["report", str(tmp_path)])

    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    for shown in (page, text):
        assert "What happens when things go wrong" in shown
        assert "Same?" in shown
        assert "3.8.8" in shown
        assert "✗ bad under dask" in shown
        assert "Mend it." in shown
    assert "✓ 2 as one would wish, ! 1 to be known first, ✗ 2" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("no_charts")
def test_findings_stand_beside_the_times_of_a_run(tmp_path):
    records = synthetic.records(synthetic.SMOKE, blocks=2, latencies=5)
    folder = synthetic.write(tmp_path / "run", records, synthetic.plan(records))
    without = reports.render(folder).html.read_text()
    write(folder, MIXED)
    rendered = reports.render(folder)
    page, text = rendered.html.read_text(), rendered.markdown.read_text()

    assert "faults-matrix" not in without
    assert 'id="faults-matrix"' in page
    assert page.index('id="arms"') < page.index('id="faults-matrix"') < page.index('id="cells-title"')
    assert text.index("## The arms") < text.index("## What happens when things go wrong") < text.index("## Every cell")
    # What cannot be read does not take the report away, and is said.
    write(folder, "{")
    rendered = reports.render(folder)
    assert any("faults.json is not JSON" in warning for warning in rendered.warnings)
    assert "faults-matrix" not in rendered.html.read_text()


def test_hostile_findings_are_shown_as_text(tmp_path):
    hostile = finding("killed", HOSTILE, "bad", words=HOSTILE, remedy=HOSTILE, details={HOSTILE: HOSTILE})
    write(tmp_path, findings(hostile, title=HOSTILE, arms=[HOSTILE], environment={HOSTILE: HOSTILE, "versions": 3}))
    rendered = reports.render(tmp_path)
    page, text = rendered.html.read_text(), rendered.markdown.read_text()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in text
    assert "[x](http" not in text
    assert not {"\x1b", "\u202e"} & set(page + text)
    out = Console(file=io.StringIO(), width=100)
    terminal.show_behaviour(behaviour.read(tmp_path / "faults.json"), out)
    assert "\x1b" not in out.file.getvalue()
    assert "[bold]" in out.file.getvalue()


def test_eight_runners_fit_a_terminal_of_100_columns(tmp_path):
    found = [finding(name, arm, "bad") for name in ("killed", "stopped") for arm in ARMS]
    out = Console(file=io.StringIO(), width=100)
    terminal.show_behaviour(behaviour.read(write(tmp_path, findings(*found))), out)
    lines = out.file.getvalue().splitlines()

    assert max(map(len, lines)) <= 100
    (row,) = (line for line in lines if line.strip().startswith("What if killed ") and "✗" in line)
    assert row.count("✗") == 8
    assert any("lean-dask: bad under lean-dask" in line for line in lines)


def test_a_run_that_is_not_over_is_said_to_be(tmp_path):
    assert "not finished" in behaviour.read(write(tmp_path, {**MIXED, "finished_at": None})).headline()
    assert "not finished" not in behaviour.read(write(tmp_path, MIXED)).headline()


def test_a_page_of_the_repository_links_the_code(tmp_path):
    lines = markdown.section(behaviour.read(write(tmp_path, MIXED)), "../")
    assert any("[What if killed](../benchmarks/killed.py)<br><sub>killed</sub>" in line for line in lines)
