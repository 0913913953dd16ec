"""What does not answer: the cluster that a runner is told of, or the Prefect server for good."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from prefect import task

LIMIT_S = 200.0


@task
def one() -> int:
    return 1


@contextmanager
def address(silent: bool) -> Iterator[str]:
    """Where nobody listens, or what listens accepts and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen(16)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_cluster_that_does_not_answer_is_one_error(engine, silent):
    import prefect_lean

    with address(silent) as place:
        cluster = f"tcp://{place}" if engine == "dask" else place
        runner: Any = {"dask": "LeanDaskTaskRunner", "ray": "LeanRayTaskRunner"}[engine]
        unanswered = getattr(prefect_lean, runner)(address=cluster, connect_timeout_s=1)
        # Dask's connects when it has to, Ray's when it is entered.
        with pytest.raises(ConnectionError) as refused, unanswered:
            unanswered.submit(one, {})
    said = str(refused.value)
    assert f"{runner}: no cluster has answered at {cluster} within 1 s" in said
    assert "connect_timeout_s" in said


def test_time_to_connect_goes_with_the_runner():
    from prefect_lean import LeanDaskTaskRunner

    runner = LeanDaskTaskRunner(address="tcp://127.0.0.1:1", connect_timeout_s=7)
    assert runner.duplicate().connect_timeout_s == 7
    assert runner._arguments()["connect_timeout_s"] == 7


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s + 1

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Clock, list[Any]]:
    """Prefect's client, whose answers are those of a list, on a clock of its own."""
    import prefect.client.base
    from prefect_lean.internals import patience

    clock, answers = Clock(), []
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(prefect.client.base, "time", clock)
    monkeypatch.setattr(patience, "absence", patience._Absence())

    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found, json={})

    client = prefect.client.base.PrefectHttpxSyncClient(
        base_url="http://api", transport=httpx.MockTransport(answer), raise_on_all_errors=False
    )
    client._has_connected = True
    patience._limit(client)
    return client, clock, answers


def test_server_that_is_gone_is_waited_for_once(client, monkeypatch):
    from prefect_lean.internals.patience import WAIT, ServerGone

    http, clock, answers = client
    monkeypatch.setenv(WAIT, "40")
    answers.append(httpx.ConnectError("refused"))
    with pytest.raises(ServerGone, match=rf"has not answered for 40 s \({WAIT}\)"):
        http.get("/")
    assert 40 <= clock.now_s < 50
    # What else is to be told at the end of a flow does not wait again.
    with pytest.raises(ServerGone):
        http.get("/")
    assert clock.now_s < 50


def test_log_lines_wait_no_longer_than_the_flow(client, monkeypatch, capsys):
    """As many batches as there are: Prefect's own worker waits for a minute at each."""
    import asyncio

    from prefect.logging.handlers import APILogWorker
    from prefect_lean.internals import patience

    _, clock, _ = client
    monkeypatch.setenv(patience.WAIT, "40")
    # Put back at the end.
    monkeypatch.setattr(APILogWorker, "_handle_batch", APILogWorker._handle_batch)
    patience.log_lines_wait_no_longer()
    wrapped = APILogWorker._handle_batch
    patience.log_lines_wait_no_longer()
    assert APILogWorker._handle_batch is wrapped

    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)

    monkeypatch.setattr(patience.asyncio, "sleep", sleep)
    monkeypatch.setattr("anyio.sleep", sleep)

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async def ten_batches() -> None:
        import prefect.client.base

        http = prefect.client.base.PrefectHttpxAsyncClient(
            base_url="http://api", transport=httpx.MockTransport(refuse), raise_on_all_errors=False
        )
        http._has_connected = True
        worker = object.__new__(APILogWorker)
        worker._client = type("Client", (), {"_client": http, "request": http.request})()
        for _ in range(10):
            await worker._handle_batch([b"{}"])

    asyncio.run(ten_batches())
    assert 40 <= clock.now_s < 50
    assert capsys.readouterr().err.count("has not answered for 40 s") == 10


def test_server_that_comes_back_is_waited_for_anew(client, monkeypatch):
    from prefect_lean.internals.patience import WAIT

    http, clock, answers = client
    monkeypatch.setenv(WAIT, "40")
    for _ in range(2):
        answers[:] = [*[httpx.ConnectError("refused")] * 6, 200]
        assert http.get("/").status_code == 200
    # For as long as Prefect would, and one that answers late has its tries as before.
    assert clock.now_s > 40
    answers[:] = [*[httpx.ReadTimeout("late")] * 2, 503, 200]
    assert http.get("/").status_code == 200


def test_server_that_was_never_there_is_an_error_at_once(client):
    http, clock, answers = client
    http._has_connected = False
    answers.append(httpx.ConnectError("refused"))
    with pytest.raises(httpx.ConnectError):
        http.get("/")
    assert clock.now_s == 0


SCRIPT = """
import sys, time
from pathlib import Path

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
import prefect_lean

folder = Path(sys.argv[1])


@task
def step(number):
    return number


def recorded(client, task_run_id):
    try:
        return client.read_task_run(task_run_id)
    except ObjectNotFound:
        return None


@flow
def goes_on():
    first = step.submit(0)
    first.result()
    with get_client(sync_client=True) as client:
        while not recorded(client, first.task_run_id):
            time.sleep(0.1)
    (folder / "begun").touch()
    while not (folder / "gone").exists():
        time.sleep(0.1)
    return sum(future.result() for future in [step.submit(number) for number in range(5)])


if __name__ == "__main__":
    goes_on.with_options(task_runner=prefect_lean.LeanThreadPoolTaskRunner(max_workers=2))()
"""


@pytest.mark.slow
def test_server_that_is_gone_for_good(scratch, tmp_path, until):
    """The flow ends within the limit, by one error that says so, and names what is not recorded."""
    from runner_lab.runners.isolation.environment import free_port
    from runner_lab.runners.server import lab_server

    script, port = tmp_path / "goes_on.py", free_port()
    script.write_text(SCRIPT)
    environ = os.environ | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_LEAN_WAIT_S": "12"}
    with lab_server(scratch / "gone", port=port, limit_s=LIMIT_S):
        run = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)], env=environ, stderr=subprocess.PIPE, text=True
        )
        until(lambda: (tmp_path / "begun").exists() or run.poll() is not None)
    (tmp_path / "gone").touch()
    _, said = run.communicate(timeout=LIMIT_S)
    assert run.returncode not in (0, None)
    assert "ServerGone: The Prefect server has not answered for 12 s (PREFECT_LEAN_WAIT_S)" in said
    assert re.search(r"Not known to be recorded: task runs [0-9a-f-]{36}", said), said[-3000:]
