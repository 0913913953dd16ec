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
from runner_lab.reports.pages import findings_page, findings_tables, markdown, terminal
from tests.reports import synthetic

HOSTILE = "<script>alert(1)</script> | [x](http://example.com) \x1b[31m\u202e\ud800 [bold]"
ARMS = ("threads", "lean-threads", "processes", "lean-processes", "dask", "lean-dask", "ray", "lean-ray")


def finding(experiment: str, arm: str, symbol: str = "ok", **more: Any) -> dict[str, Any]:
    words = {"words": f"{symbol} under {arm}", "remedy": "" if symbol == "ok" else "Mend it."}
    return {"experiment": experiment, "arm": arm, "symbol": symbol, "facts": {}, "seconds": 1.5, **words, **more}


def findings(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    listed = [
        {"id": name, "group": "g", "title": f"What if {name}", "code": f"benchmarks/{name}.py", "arms": ["ray"]}
        for name in ("killed", "stopped", "never-tried")
    ]
    return {
        "schema": 2,
        "name": "faults",
        "title": "What happens when things go wrong",
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-01T00:10:00+00:00",
        "environment": {"cores": 2, "versions": {"prefect": "3.8.8"}},
        "experiments": listed,
        "arms": list(ARMS),
        "findings": list(found),
        **more,
    }


MIXED = findings(
    finding("killed", "dask", "bad", facts={"executions": 4, "state": "Running"}),
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
    found = findings_tables.read(write(tmp_path, MIXED))
    table = findings_tables.matrix(found)

    assert [column.title for column in table.columns] == ["Experiment", "threads", "processes", "dask", "ray"]
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["What if killed", "✓ ok under threads", "! warn under processes", "✗ bad under dask", "✗ lost"],
        ["What if stopped", "✓ ok under threads", "-", "? unknown under dask", "not run"],
    ]
    assert table.rows[0][0].detail == "killed\nbenchmarks/killed.py"
    assert findings_tables.matrix(found, "../").rows[0][0].link == "../benchmarks/killed.py"


def test_what_to_do_is_said_once_for_those_that_share_it(tmp_path):
    table = findings_tables.remedies(findings_tables.read(write(tmp_path, MIXED)))

    assert table is not None
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["What if killed", "processes", "! warn under processes", "Mend it."],
        ["What if killed", "dask and ray", "✗ bad under dask / ✗ lost", "Mend it."],
        ["What if stopped", "dask", "? unknown under dask", "Mend it."],
    ]
    assert findings_tables.remedies(findings_tables.read(write(tmp_path, findings(finding("killed", "dask"))))) is None


def test_the_facts_are_there_to_be_looked_up(tmp_path):
    rows = findings_tables.measured(findings_tables.read(write(tmp_path, MIXED))).rows
    assert ["What if killed", "dask", "executions: 4; state: Running", "1.50 s"] in [
        [e.text for e in row] for row in rows
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "a JSON object is needed"),
        ({"schema": 3}, "schema version 3"),
        ({"findings": []}, "schema version None"),
        (findings(schema="\x1b[31m"), "schema version"),
        ({"schema": 1}, "name: Field required"),
        (findings(name="../x"), "name: String should match pattern"),
        (findings(environment=[]), "environment: Input should be a valid dictionary"),
        (findings(finding("killed", "dask", "great")), "findings.0.symbol: Input should be"),
        (findings(finding("unheard-of", "dask")), "a finding of unheard-of"),
        (findings(finding("killed", "dask", words=7)), "findings.0.words: Input should be a valid string"),
        (findings(finding("killed", "dask", seconds="long")), "findings.0.seconds: Input should be a valid number"),
        (findings(finding("killed", "dask", seconds=float("nan"))), "findings.0.seconds: "),
        (findings(finding("killed", "dask", facts=[1])), "findings.0.facts: Input should be a valid dictionary"),
        (findings(finding("killed", "dask", facts={"\x1b": {1: 2}}, symbol=3)), "findings.0.symbol"),
        (findings(finding("killed", "dask", symbol=["ok"])), "findings.0.symbol"),
        (findings(experiments={}), "experiments: Input should be a valid"),
        (findings("x"), "findings.0: Input should be"),  # type: ignore[arg-type]
        (findings(*[finding("killed", "dask")] * 10_001), "findings: "),
    ],
)
def test_what_is_no_file_of_findings_is_one_clear_line(tmp_path, data, message, capsys):
    path = write(tmp_path, data)
    with pytest.raises(RecordError) as raised:
        findings_tables.read(path)
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

    page, text, details = ((tmp_path / name).read_text() for name in ("report.html", "report.md", "details.md"))
    assert "✗ bad under dask" in text
    assert len(text.splitlines()) <= 120
    for shown in (page, details):
        assert "What happens when things go wrong" in shown
        assert "Same?" in shown
        assert "3.8.8" in shown
        assert "✗ bad under dask" in shown
        assert "Mend it." in shown
    assert "✓ 2 fine, ! 1 with a catch, ✗ 2" in " ".join(capsys.readouterr().out.split())


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
    assert page.index('id="verdict"') < page.index('id="faults-matrix"') < page.index('id="measurements-fold"')
    assert text.index("## Verdict") < text.index("## What happens when things go wrong")
    assert "✗ bad under dask" in (folder / "details.md").read_text()
    # What cannot be read does not take the report away, and is said.
    write(folder, "{")
    rendered = reports.render(folder)
    assert any("faults.json is not JSON" in warning for warning in rendered.warnings)
    assert "faults-matrix" not in rendered.html.read_text()


def test_hostile_findings_are_shown_as_text(tmp_path):
    hostile = finding("killed", HOSTILE, "bad", words=HOSTILE, remedy=HOSTILE, facts={HOSTILE: HOSTILE})
    write(tmp_path, findings(hostile, title=HOSTILE, arms=[HOSTILE], environment={HOSTILE: HOSTILE, "versions": 3}))
    rendered = reports.render(tmp_path)
    page = rendered.html.read_text()
    text = rendered.markdown.read_text() + (tmp_path / "details.md").read_text()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in text
    assert "[x](http" not in text
    assert not {"\x1b", "\u202e", "\ud800"} & set(page + text)
    out = Console(file=io.StringIO(), width=100)
    terminal.show_findings(findings_tables.read(tmp_path / "faults.json"), out)
    assert "\x1b" not in out.file.getvalue()
    assert "[bold]" in out.file.getvalue()


def test_eight_runners_fit_a_terminal_of_100_columns(tmp_path):
    found = [finding(name, arm, "bad") for name in ("killed", "stopped") for arm in ARMS]
    out = Console(file=io.StringIO(), width=100)
    terminal.show_findings(findings_tables.read(write(tmp_path, findings(*found))), out)
    lines = out.file.getvalue().splitlines()

    assert max(map(len, lines)) <= 100
    (row,) = (line for line in lines if line.strip().startswith("What if killed ") and "✗" in line)
    assert row.count("✗") == 8
    assert any("lean-dask: bad under lean-dask" in line for line in lines)


def test_a_run_that_is_not_over_is_said_to_be(tmp_path):
    interrupted = findings_tables.read(write(tmp_path, {**MIXED, "finished_at": None}))
    assert "not finished" in findings_tables.headline(interrupted)
    assert "not finished" not in findings_tables.headline(findings_tables.read(write(tmp_path, MIXED)))


def test_findings_of_the_version_before_are_read(tmp_path):
    told = {"executions": 4, "state": "Running"}
    old = {"experiment": "killed", "group": "g", "title": "What if killed", "code": "benchmarks/killed.py"}
    old |= {"arm": "dask", "symbol": "bad", "words": "w", "remedy": "r", "details": told, "seconds": 1.5, "end": "done"}
    found = findings_tables.read(write(tmp_path, {**findings(old), "schema": 1}))

    assert [[entry.text for entry in row] for row in findings_tables.measured(found).rows] == [
        ["What if killed", "dask", "executions: 4; state: Running", "1.50 s"]
    ]
    # An experiment that did not say which runners it is for was for all.
    listed = [{name: one[name] for name in ("id", "group", "title", "code")} for one in MIXED["experiments"]]
    found = findings_tables.read(write(tmp_path, {**MIXED, "schema": 1, "experiments": listed}, "hosts"))
    assert "not run" in [entry.text for entry in findings_tables.matrix(found).rows[1]]


@pytest.mark.parametrize("name", ["faults", "equivalence", "placement", "hosts"])
def test_each_command_has_its_page(tmp_path, name):
    write(tmp_path, {**MIXED, "name": name}, name)
    rendered = reports.render(tmp_path)

    assert f'id="{name}-matrix"' in rendered.html.read_text()
    assert "| What if killed<br>" in rendered.markdown.read_text()
    assert not (tmp_path / "charts").exists()


def test_what_there_is_to_know_of_an_experiment_is_a_table_of_its_own(tmp_path):
    listed = [{**MIXED["experiments"][0], "about": {"Needs": "a worker there"}}, *MIXED["experiments"][1:]]
    found = findings_tables.read(write(tmp_path, {**MIXED, "experiments": listed}))
    table = findings_tables.about(found)

    assert table is not None
    assert [[entry.text for entry in row] for row in table.rows] == [["What if killed", "a worker there"]]
    assert "a worker there" in reports.render(tmp_path).html.read_text()
    assert findings_tables.about(findings_tables.read(write(tmp_path, MIXED))) is None


def test_a_page_of_the_repository_links_the_code(tmp_path):
    lines = markdown.section(findings_tables.read(write(tmp_path, MIXED)), "../")
    assert any("[What if killed](../benchmarks/killed.py)<br><sub>killed</sub>" in line for line in lines)


def test_a_page_of_the_documentation_gets_the_matrix_and_the_facts_between_its_markers(tmp_path):
    page = tmp_path / "faults.md"
    markers = ["<!-- matrix: begin -->", "old", "<!-- matrix: end -->"]
    page.write_text("\n".join(["# Faults", *markers, "Read on.", *(m.replace("matrix", "facts") for m in markers)]))
    findings_page.put(page, findings_tables.read(write(tmp_path, MIXED)))

    text = page.read_text()
    assert text.startswith("# Faults\n<!-- matrix: begin -->\n\n2 experiments under 4 runners: ✓ 2 fine")
    assert "old" not in text
    assert "| dask | 0 | 0 | 1 | 1 |" in text
    assert "| [What if killed](../benchmarks/killed.py)<br><sub>killed</sub> | ✓ ok under threads |" in text
    assert "<summary>What was measured: 6 findings</summary>" in text
    assert "Measured with prefect 3.8.8, 2026-01-01." in text
    assert "\nRead on.\n" in text


def test_a_page_without_a_place_for_it_is_told_before_anything_is_measured(tmp_path, capsys):
    page = tmp_path / "faults.md"
    page.write_text("<!-- matrix: begin -->\n<!-- matrix: end -->\n")
    for name, said in ((page, "put the lines <!-- facts: begin -->"), (tmp_path / "gone.md", "cannot read")):
        with pytest.raises(SystemExit) as ended:
            lab.main(["faults", "--page", str(name), "--out", str(tmp_path / "found")])
        assert ended.value.code == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "found").exists()
