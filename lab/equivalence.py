"""The command `equivalence`: whether caching and retries behave alike."""

from __future__ import annotations

from runner_lab.lab.console import AsJson
from runner_lab.lab.experiments import Only, Out, Page, Runners, make


def equivalence(
    *, only: Only = None, runners: Runners = None, out: Out = None, page: Page = None, as_json: AsJson = False
) -> None:
    """Test caching and retries under every runner: a table of what differs.

    What ran is counted outside Prefect. Each experiment has a time limit. Ctrl-C keeps the findings.

    Example: runner-lab equivalence --only same-key --runners threads,dask
    """
    from runner_lab.benchmarks.experiments.suites import EQUIVALENCE

    make(EQUIVALENCE, only, runners, out, as_json, page=page)
