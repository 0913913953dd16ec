"""Questions to a server that is busy, away or late: one that answers as each test says, on a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from runner_lab.benchmarks.experiments.flow_runs import NEVER, states
from runner_lab.benchmarks.measuring import quiescence
from runner_lab.benchmarks.measuring.server_runs import ServerRuns, UnansweredError
from runner_lab.benchmarks.session.plan import CellError
from runner_lab.runners.isolation import waiting

URL = "http://lab/api"


class Clock:
    """Time passes while somebody sleeps, and while a request is under way."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for module in (quiescence, waiting):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def served(monkeypatch, clock) -> Callable[[Callable[[httpx.Request], Any]], None]:
    """Have the server give what a function says of a request: a status, an exception, or what is put into JSON."""
    client = httpx.Client

    def serve(answer: Callable[[httpx.Request], Any]) -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            said = answer(request)
            if isinstance(said, Exception):
                raise said
            return httpx.Response(said) if isinstance(said, HTTPStatus) else httpx.Response(200, json=said)

        transport = httpx.MockTransport(handle)
        monkeypatch.setattr(httpx, "Client", lambda **options: client(transport=transport, **options))

    return serve


def in_turn(answers: Iterable[Any]) -> Callable[[httpx.Request], Any]:
    left: Iterator[Any] = iter(answers)
    return lambda request: next(left)


BUSY = HTTPStatus.SERVICE_UNAVAILABLE


def test_a_busy_server_is_asked_again_until_it_answers(served):
    away, slow = httpx.ConnectError("refused"), httpx.ReadTimeout("timed out")
    served(in_turn([BUSY, away, 6, slow, 7, BUSY, 7]))

    found = quiescence.wait_recorded(URL, "run", 7, limit_s=60.0)

    assert (found.final, found.completed) == (7, 7)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(BUSY, "status 503"), (httpx.ConnectError("refused"), "refused"), (httpx.ReadTimeout(""), "ReadTimeout")],
)
def test_a_server_that_does_not_answer_in_time_is_an_error_of_the_cell(served, clock, answer, reason):
    served(lambda request: answer)

    with pytest.raises(CellError, match=rf"^the server did not answer /task_runs/count within 60 s: {reason}$"):
        quiescence.wait_recorded(URL, "run", 7, limit_s=60.0)
    assert 60.0 <= clock.now_s - 1000.0 < 62.0


def test_what_no_waiting_mends_is_not_asked_again(served, clock):
    served(lambda request: HTTPStatus.UNPROCESSABLE_ENTITY)

    with pytest.raises(UnansweredError, match="status 422"), ServerRuns(URL, 60.0) as runs:
        runs.count()
    assert clock.now_s == 1000.0


def test_the_lag_counts_from_the_return_of_the_flow(served, clock):
    served(lambda request: 3)

    assert quiescence.wait_recorded(URL, "run", 3, 60.0, since_s=990.0).lag_s == 10.0
    assert quiescence.wait_recorded(URL, "run", 3, 60.0).lag_s == 0.0


def test_a_users_flow_is_settled_with_its_sub_flows(served, clock):
    """The flow run `a` has a sub-flow `b`; each has two task runs, and one of `b` waits for ever."""

    def answer(request: httpx.Request) -> Any:
        if request.method == "GET":
            return {"state": {"type": "COMPLETED", "message": "all\n well"}}
        asked = json.loads(request.content)
        if request.url.path.endswith("/flow_runs/filter"):
            return [{"id": "b"}] if asked["flow_runs"]["parent_flow_run_id"]["any_"] == ["a"] else []
        state = asked.get("task_runs", {}).get("state")
        runs = 2 * len(asked["flow_runs"]["id"]["any_"])
        if state is None:
            return runs
        if state.get("name"):
            return int(state["name"]["any_"] == ["NotReady"])
        return runs - 1 if "COMPLETED" in state["type"]["any_"] else 0

    served(answer)

    found = quiescence.wait_settled(URL, "a", 4, 60.0, since_s=997.0)

    assert found.states == {"Completed": 3, "NotReady": 1}
    assert (found.subflow_tasks, found.ended, found.lag_s) == (2, 4, 3.0)
    assert (found.flow_state, found.flow_message) == ("Completed", "all well")


def test_a_server_is_still_when_nothing_has_come_or_ended_for_two_seconds(served, clock):
    counts = iter([(5, 1), (5, 2), (6, 2), (6, 3)])
    now = (6, 3)

    def answer(request: httpx.Request) -> int:
        nonlocal now
        ended = "task_runs" in json.loads(request.content)
        now = now if ended else next(counts, (6, 3))
        return now[ended]

    served(answer)
    quiescence.wait_still(URL, 60.0)

    assert clock.now_s - 1000.0 == pytest.approx(3 * 0.5 + 2.0)


def test_a_server_that_never_comes_to_rest_is_not_waited_for_without_end(served, clock):
    numbers = iter(range(10_000))
    served(lambda request: next(numbers))

    quiescence.wait_still(URL, 60.0)

    assert 60.0 < clock.now_s - 1000.0 < 62.0


def test_states_are_asked_for_until_all_are_final_and_a_run_that_is_unknown_is_none(served, clock):
    running, done = {"state": {"name": "Running", "type": "RUNNING"}}, {"state": {"name": "Failed", "type": "FAILED"}}
    served(in_turn([running, done]))
    assert states(URL, "task_runs", {"one": "id"}) == {"one": "Failed"}

    served(lambda request: HTTPStatus.NOT_FOUND)
    assert states(URL, "task_runs", {"one": "id"}, limit_s=5.0) == {"one": NEVER}


def test_all_pages_of_a_filter_are_read(served):
    lines = [{"message": f"line {n}"} for n in range(450)]

    def page(request: httpx.Request) -> Any:
        asked = json.loads(request.content)
        return lines[asked["offset"] : asked["offset"] + asked["limit"]]

    served(page)
    with ServerRuns(URL, 60.0) as runs:
        assert list(runs.logs("run")) == [line["message"] for line in lines]
