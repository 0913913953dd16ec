"""The lab as a flow: what it measured is kept, published and compared with the runs before.

The flow, its server, its process that measures and its progress are real; that process copies a run of known truth into
place, record by record, where the lab's own would take ten minutes for each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner_lab.reports.history import history
from tests.chromium import chromium
from tests.reports import synthetic
from tests.reports.history.test_difference import slowed

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0
TRUTHS = (synthetic.THREADS, synthetic.CONTROL, synthetic.DASK)
CELLS = [("overhead", synthetic.graph(width)) for width in (4, 16, 48)]
NIGHTS = (1.0, 2.0, 1.0, 2.0, 2.0, 2.0)
"""What Dask's times are multiplied by, night after night."""

MEASURES = """
import pathlib, sys, time
prepared, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True)
(out / "run.json").write_bytes((prepared / "run.json").read_bytes())
lines = (prepared / "records.jsonl").read_text().splitlines(keepends=True)
with open(out / "records.jsonl", "w") as records:
    for number, line in enumerate(lines, start=1):
        records.write(line)
        records.flush()
        if number % (len(lines) // 5) == 0:
            print(f"{number} cells", flush=True)
            # However slow the flow is to look, it finds the run under way once.
            until = time.monotonic() + 60
            while not (prepared / "seen").exists() and time.monotonic() < until:
                time.sleep(0.05)
"""


@dataclass(frozen=True)
class Nights:
    """Runs of the flow: their final states, the shares that were shown, and the folder of their runs."""

    states: list[Any]
    shown: list[float]
    results: Path

    def artifacts(self, night: int) -> dict[str, Any]:
        """What those of a night's flow run hold, by the word in their keys."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        of_run = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[self.states[night].state_details.flow_run_id])
        )
        with get_client(sync_client=True) as api:
            found = api.read_artifacts(artifact_filter=of_run)
        return {artifact.key.split("-")[2]: artifact.data for artifact in found if artifact.key}


@pytest.fixture(scope="module")
def nights(lab_server, tmp_path_factory) -> Iterator[Nights]:
    from runner_lab.lab import artifacts, nightly

    folder = tmp_path_factory.mktemp("nights")
    found = Nights([], [], folder / "results" / "nightly")
    really = artifacts.update_progress_artifact

    def shown(artifact: Any, share: float) -> None:
        found.shown.append(share)
        (folder / f"prepared-{len(found.states)}" / "seen").touch()
        really(artifact, share)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(artifacts, "update_progress_artifact", shown)
        for night, factor in enumerate(NIGHTS):
            lines = slowed(synthetic.records(TRUTHS, CELLS, blocks=5, seed=night, drift=0.0), "dask", factor)
            told = synthetic.plan(lines, run_id=f"night-{night}", started_at=f"2026-11-{night + 1:02d}T03:00:00+00:00")
            prepared = synthetic.write(folder / f"prepared-{night}", lines, told)
            command = [sys.executable, "-c", MEASURES, str(prepared)]
            patched.setattr(nightly, "command", lambda profile, out, command=command: [*command, str(out)])
            found.states.append(
                nightly.nightly_comparison(
                    results=str(found.results), report_base="http://lab.example/nightly/", return_state=True
                )
            )
        yield found


def test_a_run_that_fails_is_one_line_with_its_last_word(tmp_path, monkeypatch):
    from runner_lab.lab import artifacts, nightly

    monkeypatch.setattr(artifacts, "create_progress_artifact", lambda *args, **named: None)
    with pytest.raises(nightly.RunError, match=r"ended with exit code 2: .*no-such-profile") as failed:
        nightly.measure.fn("no-such-profile", tmp_path / "run")

    assert "\n" not in str(failed.value)
    assert not (tmp_path / "run").exists()


def test_it_is_deployed_and_its_schedule_is_not_active(monkeypatch):
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(ROOT)
    (described,) = (
        deployment
        for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
        if deployment["name"] == "nightly-comparison"
    )
    found = load_flow_from_entrypoint(described["entrypoint"])

    assert found.name == "nightly-comparison"
    assert found.validate_parameters(described["parameters"])
    assert [schedule["active"] for schedule in described["schedules"]] == [False]


@pytest.mark.slow
class TestNights:
    def test_only_a_slowdown_in_two_nights_running_fails_and_only_once(self, nights):
        assert [state.name for state in nights.states] == [*["Completed"] * 4, "Failed", "Completed"]

    def test_a_slowdown_in_one_night_is_returned_and_published(self, nights):
        slower = nights.states[1].result()

        assert {cell.rpartition("/")[2] for cell in slower} == {"dask"}
        assert nights.states[0].result() == nights.states[2].result() == nights.states[5].result() == []
        assert "Slower than in the run before: " in nights.artifacts(1)["verdict"]
        assert "Slower" not in nights.artifacts(2)["verdict"]

    def test_the_message_of_the_failure_names_the_cells(self, nights):
        message = nights.states[4].message

        assert "slower in two runs in a row than in night-2: " in message
        assert re.search(r"overhead/plain-w48/dask (1\.8|1\.9|2\.)", message)
        assert "/threads" not in message
        assert "\n" not in message

    def test_a_failed_night_is_published_and_kept_all_the_same(self, nights):
        assert nights.artifacts(4).keys() == {"progress", "verdict", "arms", "report"}
        kept = history.read(nights.results.parent / history.FILE_NAME)
        assert [run.run_id for run in kept] == [f"night-{night}" for night in range(len(NIGHTS))]
        assert [run.folder.partition("/")[0] for run in kept] == ["nightly"] * len(NIGHTS)

    def test_progress_goes_up_to_the_end_of_each_night(self, nights):
        assert nights.artifacts(0)["progress"] == 100
        first = nights.shown[: nights.shown.index(100) + 1]
        assert first == sorted(first)
        assert any(0 < share < 100 for share in nights.shown)
        assert nights.shown.count(100) == len(NIGHTS)

    def test_the_link_leads_to_the_report(self, nights):
        run = min(path.name for path in nights.results.iterdir())

        assert f"(http://lab.example/nightly/{run}/report.html)" in nights.artifacts(0)["report"]

    def test_artifacts_are_on_the_page_of_the_flow_run(self, nights, lab_server, tmp_path):
        run = nights.states[4].state_details.flow_run_id
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 1100})
            page.set_default_timeout(LIMIT_S * 1000)
            page.goto(f"{lab_server.api_url.removesuffix('/api')}/runs/flow-run/{run}")
            tab = page.get_by_role("tab", name="Artifacts").or_(page.get_by_text("Artifacts", exact=True).last)
            tab.last.click()
            for key in ("verdict", "arms", "report", "progress"):
                page.get_by_text(f"runner-lab-{key}-quick").first.wait_for()
            page.screenshot(path=tmp_path / "flow-run.png", full_page=True)
            page.get_by_text("runner-lab-verdict-quick").first.click()
            page.get_by_role("heading", name="Which Prefect task runner?").wait_for()
            page.get_by_text("Slower in two runs in a row").first.wait_for()
            page.screenshot(path=tmp_path / "verdict.png", full_page=True)
