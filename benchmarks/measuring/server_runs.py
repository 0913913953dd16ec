"""What the server has of flow runs and task runs: each question put again while the server is busy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import httpx

from runner_lab.benchmarks.session.plan import CellError
from runner_lab.runners.counted import UNCOUNTED
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import one_line

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
"""Types of the states in which a run ends."""
POLL_S = 0.2
_BUSY = (429, 502, 503, 504)
"""Answers of a server, or of what stands before it, that is to be asked again; 503 is that of a locked database."""
_ANSWER_S = 60.0
_PAGE = 200


class UnansweredError(CellError):
    """The server did not answer a question; the message is one line that says which, and why."""


class ServerRuns:
    """Questions to one server. Where it counts what it is asked, these are not counted.

    Args:
        limit_s: how long a question is put again while the server is busy or not to be reached. An answer that is under
            way then may still take a minute.

    Raises:
        UnansweredError: each question may, where there is no answer within `limit_s`, or one that is an error.
    """

    def __init__(self, api_url: str, limit_s: float) -> None:
        self._client = httpx.Client(base_url=api_url, timeout=_ANSWER_S, headers={UNCOUNTED: "1"})
        self._limit_s = limit_s

    def __enter__(self) -> ServerRuns:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.close()

    def count(
        self, flow_run_ids: Sequence[str] | None = None, states: Sequence[str] = (), name: str | None = None
    ) -> int:
        """Task runs of these flow runs or of all: every one, or those in states of these types, or of this name."""
        wanted = {"type": {"any_": list(states)}} if states else {"name": {"any_": [name]}} if name else None
        body: dict[str, Any] = {"task_runs": {"state": wanted}} if wanted else {}
        if flow_run_ids is not None:
            body["flow_runs"] = {"id": {"any_": list(flow_run_ids)}}
        return int(self._ask("POST", "/task_runs/count", json=body))

    def run(self, kind: Literal["flow_runs", "task_runs"], run_id: str) -> dict[str, Any]:
        """What the server has of a run; nothing where it has no such run."""
        return self._ask("GET", f"/{kind}/{run_id}") or {}

    def states(self, task_run_id: str) -> list[dict[str, Any]]:
        """All that a task run has been in, in their order."""
        return self._ask("GET", "/task_run_states/", params={"task_run_id": task_run_id}) or []

    def family(self, flow_run_id: str) -> list[str]:
        """The flow run and all that it started, down to the last sub-flow."""
        family, parents = [flow_run_id], [flow_run_id]
        while parents:
            wanted = {"flow_runs": {"parent_flow_run_id": {"any_": parents}}, "sort": "ID_DESC"}
            parents = [run["id"] for run in self._all("/flow_runs/filter", wanted)]
            family += parents
        return family

    def first_failure(self, flow_run_ids: Sequence[str]) -> str | None:
        """Of the task run of these flow runs that failed first: its name and why; None where none did."""
        wanted = {
            "flow_runs": {"id": {"any_": list(flow_run_ids)}},
            "task_runs": {"state": {"type": {"any_": ["FAILED", "CRASHED"]}}},
            "sort": "EXPECTED_START_TIME_ASC",
            "limit": 1,
        }
        found = self._ask("POST", "/task_runs/filter", json=wanted)
        return f"{found[0]['name']}: {found[0]['state']['message']}" if found else None

    def logs(self, flow_run_id: str) -> Iterator[str]:
        """The log lines of a flow run and its tasks."""
        wanted = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}}
        return (entry["message"] for entry in self._all("/logs/filter", wanted))

    def _all(self, path: str, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._ask("POST", path, json={**wanted, "limit": _PAGE, "offset": offset})
            yield from page
            offset += len(page)
            if len(page) < _PAGE:
                return

    def _ask(self, method: Literal["GET", "POST"], path: str, **content: Any) -> Any:
        """The answer; None where what is asked for by a GET is not there."""
        reason = ""

        def ready() -> httpx.Response | None:
            nonlocal reason
            try:
                answer = self._client.request(method, path, **content)
            except httpx.TransportError as error:
                reason = one_line(error)
                return None
            reason = f"status {answer.status_code}"
            return None if answer.status_code in _BUSY else answer

        answer = last_within(ready, self._limit_s, POLL_S, enough=lambda found: found is not None)
        if answer is None:
            raise UnansweredError(f"the server did not answer {path} within {self._limit_s:g} s: {reason}")
        if answer.status_code == 404 and method == "GET":
            return None
        if not answer.is_success:
            raise UnansweredError(f"the server did not answer {path}: {reason}")
        return answer.json()
