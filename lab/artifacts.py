"""A run as Prefect artifacts, on the page of the flow run that publishes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import get_run_context
from prefect.settings import PREFECT_API_URL, temporary_settings

from runner_lab.reports.analysis import summary
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.pages import brief
from runner_lab.runners.server import ServerError, check_url, without_password


@dataclass(frozen=True)
class Published:
    """Where it can be seen. `flow_run`: its page, None where the server tells no address of its dashboard."""

    flow_run: str | None
    keys: tuple[str, ...]


def publish(run_dir: Path, api_url: str | None = None, report_url: str | None = None) -> Published:
    """Publish a run in a flow run of its own, since Prefect is about to refuse artifacts outside of one.

    Args:
        run_dir: the run's folder.
        api_url: the server; by default the one that Prefect's settings name.
        report_url: where the report can be opened.

    Raises:
        RecordError: the folder holds no run.
        ServerError: no server is named, or none answers; one line.
    """
    found = summary.summarise(run_dir)

    @flow(name="publish-run", flow_run_name="publish-{run}", persist_result=False)
    def publish_run(run: str, report_url: str | None) -> Published:
        keys = create(found, report_url or f"{run_dir.absolute()}/report.html", report_url)
        return Published(_page(), keys)

    with _server(api_url):
        return publish_run(found.run.run_id, report_url)


def create(found: Summary, report: str, report_url: str | None, news: Sequence[str] = ()) -> tuple[str, ...]:
    """Create the artifacts in the flow run that is under way, and return their keys.

    A key is the same for every run of a profile, so that the dashboard shows them as versions of one another.

    Args:
        found: the run.
        report: where the report is, as the text says it.
        report_url: where it can be opened; without one there is no link.
        news: what changed since the run before.
    """
    key = key_of("verdict", found)
    text = brief.text(found, report, news)
    create_markdown_artifact(text, key=key, description=f"What run {found.run.run_id} says.")
    table = key_of("arms", found)
    create_table_artifact(brief.rows(found), key=table, description=f"Every arm of run {found.run.run_id}.")
    keys = [key, table]
    if report_url:
        keys.append(key_of("report", found))
        create_link_artifact(
            report_url, link_text=f"Report of {found.run.run_id}", key=keys[-1], description="Charts and tables."
        )
    return tuple(keys)


def key_of(what: str, found: Summary) -> str:
    """`runner-lab-WHAT-PROFILE`, of the letters that Prefect takes."""
    name = found.flow.name if found.flow else found.run.profile or ""
    return re.sub(r"[^a-z0-9]+", "-", f"runner-lab-{what}-{name}".lower()).strip("-")


class ProgressArtifact:
    """A progress artifact of the flow run that is under way, from 0 to 100 %.

    Args:
        key: of the artifact.
        description: what is going on.
    """

    def __init__(self, key: str, description: str) -> None:
        self._shown = 0
        self._artifact: Any = create_progress_artifact(0.0, key=key, description=description)

    def at(self, share: float) -> None:
        """Show `share` of 1, where it is another whole per cent than before: each is a request to the server."""
        percent = int(min(max(share, 0.0), 1.0) * 100)
        if percent != self._shown:
            self._shown = percent
            update_progress_artifact(self._artifact, float(percent))


@contextmanager
def _server(api_url: str | None) -> Iterator[None]:
    """The server that Prefect talks to, seen to answer.

    Raises:
        ServerError: none is named, or it does not answer.
    """
    url = api_url or PREFECT_API_URL.value()
    if not url:
        raise ServerError("no Prefect server to publish to: set PREFECT_API_URL or give --api-url http://HOST:PORT/api")
    check_url(url)
    with temporary_settings({PREFECT_API_URL: url.rstrip("/")}):
        with get_client(sync_client=True) as client:
            reason = client.api_healthcheck()
        if reason is not None:
            raise ServerError(f"no Prefect server at {without_password(url)}: {reason}; does it run, with /api?")
        yield


def _page() -> str | None:
    from prefect.utilities.urls import url_for

    context: Any = get_run_context()
    return url_for(context.flow_run)
