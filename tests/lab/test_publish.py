"""`runner-lab publish`: a run on a real server, and one line where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from runner_lab.reports.analysis.summary import summarise
from runner_lab.runners.isolation.environment import free_port
from tests.reports import synthetic
from tests.reports.test_commands import typed

TRUTHS = (synthetic.THREADS, synthetic.CONTROL, synthetic.DASK)
CELLS = [("overhead", synthetic.graph(width)) for width in (4, 16)]


@pytest.fixture
def run(tmp_path):
    records = synthetic.records(TRUTHS, CELLS, blocks=3)
    return synthetic.write(tmp_path / "results" / "one", records, synthetic.plan(records, run_id="one"))


@pytest.mark.slow
def test_a_run_is_published_in_a_flow_run_of_its_own(run, lab_server, capsys):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    code, out, _ = typed(
        capsys,
        "publish",
        str(run),
        "--api-url",
        f"{lab_server.api_url}/",
        "--report-url",
        "http://lab.example/one",
        "--json",
    )
    said = json.loads(out)
    flow_run_id = said["flow_run"].rpartition("/")[2]
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as api:
        found = {artifact.key: artifact for artifact in api.read_artifacts(artifact_filter=of_run) if artifact.key}
        flow_run = api.read_flow_run(flow_run_id)

    assert code == 0
    assert (flow_run.name, flow_run.state_name) == ("publish-one", "Completed")
    assert set(said["keys"]) == found.keys() == {f"runner-lab-{what}-quick" for what in ("verdict", "arms", "report")}
    assert "# Which Prefect task runner?" in found["runner-lab-verdict-quick"].data
    rows = json.loads(found["runner-lab-arms-quick"].data)
    assert [row["Arm"].split()[0] for row in rows] == ["threads", "control", "dask"]
    marginal = summarise(run).rows[2].marginal
    assert float(rows[2]["ms a task"]) == pytest.approx(marginal.per_task_s.value * 1e3, rel=0.01)
    assert "(http://lab.example/one)" in found["runner-lab-report-quick"].data


def test_without_a_url_there_is_no_link(run, monkeypatch):
    from runner_lab.lab import artifacts

    made = {}
    for kind in ("markdown", "table", "link"):
        monkeypatch.setattr(
            artifacts, f"create_{kind}_artifact", lambda *args, kind=kind, **named: made.update({kind: (args, named)})
        )

    assert artifacts.create(summarise(run), f"{run}/report.html", None) == (
        "runner-lab-verdict-quick",
        "runner-lab-arms-quick",
    )
    assert made.keys() == {"markdown", "table"}
    assert f"Report: `{run}/report.html`" in made["markdown"][0][0]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://127.0.0.1:PORT/api", "no Prefect server at http://127.0.0.1:PORT/api: "),
        ("http://me:secret@127.0.0.1:PORT/api", "no Prefect server at http://me:***@127.0.0.1:PORT/api: "),
        ("nonsense", "API URL 'nonsense' is not valid"),
    ],
)
def test_a_server_that_does_not_answer_is_one_line(run, capsys, url, complaint):
    port = str(free_port())

    code, out, err = typed(capsys, "publish", str(run), "--api-url", url.replace("PORT", port))

    assert (code, out) == (2, "")
    assert err.startswith(f"runner-lab: {complaint.replace('PORT', port)}")
    assert err.count("\n") == 1
    assert "secret" not in err


@pytest.mark.slow
def test_with_no_server_named_it_is_one_line_and_none_is_started(run, users_environment):
    done = subprocess.run(
        [sys.executable, "-m", "runner_lab", "publish", str(run)],
        env=users_environment | {"PYTHONPATH": os.getcwd()},
        cwd=run,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "runner-lab: no Prefect server to publish to: set PREFECT_API_URL or give --api-url http://HOST:PORT/api"
    ]


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    code, _, err = typed(capsys, "publish", str(tmp_path))

    assert code == 2
    assert err.startswith(f"runner-lab: {tmp_path} holds no run (records.jsonl is missing)")
