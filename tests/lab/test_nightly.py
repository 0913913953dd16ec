"""The lab as a flow: what it measured is compared with the run before."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.reports import synthetic
from tests.reports.test_difference import slowed

ROOT = Path(__file__).parents[2]
TRUTHS = (synthetic.THREADS, synthetic.CONTROL, synthetic.DASK)


@pytest.fixture
def measured(monkeypatch):
    """Runs of known truth in the place of measured ones; Dask's times are multiplied by what is asked for."""
    from lab import nightly

    asked = {"factor": 1.0, "seed": 0}

    def write(profile: str, out: Path) -> Path:
        asked["seed"] += 1
        lines = synthetic.records(TRUTHS, blocks=7, seed=asked["seed"])
        return synthetic.write(out, slowed(lines, "dask", asked["factor"]))

    monkeypatch.setattr(nightly, "measure", write)
    return asked


def test_a_run_that_fails_is_one_line_with_its_last_word(tmp_path):
    from lab import nightly

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
@pytest.mark.usefixtures("lab_server")
def test_each_run_is_compared_with_the_one_before(measured, tmp_path):
    from lab.nightly import nightly_comparison

    first = nightly_comparison(results=str(tmp_path))
    same = nightly_comparison(results=str(tmp_path))
    measured["factor"] = 2.0
    slower = nightly_comparison(results=str(tmp_path))
    again = nightly_comparison(results=str(tmp_path))

    assert (first, same, again) == ([], [], [])
    assert slower
    assert all("dask" in cell for cell in slower)
    assert len(list(tmp_path.iterdir())) == 4
