"""The tutorial's flows, one by one, on a real server. Their output is compared in test_tutorial.py."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from runner_lab.runners.isolation.waiting import last_within

FOLDER = Path(__file__).parents[2] / "flows"
LIMIT_S = 300.0
FLOWS = ("hello_flow", "hello_tasks", "retrying_task", "cached_task", "parallel_tasks", "choose_runner")


def test_plain_python_needs_no_prefect():
    from runner_lab.flows.hello_world import hello_world

    assert hello_world() == "hello world"


def test_every_file_stands_alone(tmp_path, users_environment):
    alone = (
        "import runpy, sys; sys.modules.update(runner_lab=None, flows=None); list(map(runpy.run_path, sys.argv[1:]))"
    )
    files = [str(FOLDER / f"{name}.py") for name in ("hello_world", *FLOWS)]

    subprocess.run([sys.executable, "-c", alone, *files], cwd=tmp_path, env=users_environment, check=True)


@pytest.mark.parametrize("name", FLOWS)
def test_every_file_has_a_flow_of_its_name_that_can_be_deployed(name, monkeypatch):
    from prefect.flows import load_flow_from_entrypoint

    monkeypatch.chdir(FOLDER.parent)

    assert load_flow_from_entrypoint(f"flows/{name}.py:{name}").name == name.replace("_", "-")


def test_the_service_is_not_ready_and_then_is():
    from runner_lab.flows.retrying_task import unready_service

    with unready_service(failures=1) as url:
        with pytest.raises(HTTPError, match="503"):
            urlopen(url)
        with urlopen(url) as answer:
            assert answer.read() == b"hello world"


def test_choose_runner_without_a_server_is_one_line(capsys):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from runner_lab.flows import choose_runner

    with temporary_settings(restore_defaults={PREFECT_API_URL}), pytest.raises(SystemExit) as ended:
        choose_runner.main()

    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("choose_runner: PREFECT_API_URL is not set")
    assert said.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("lab_server")
class TestOnAServer:
    def test_plain_functions_are_no_task_runs_and_tasks_are(self):
        from runner_lab.flows.hello_flow import hello_flow
        from runner_lab.flows.hello_tasks import hello_tasks

        assert sorted(task_runs(hello_flow, expected=0)) == []
        assert sorted(task_runs(hello_tasks, expected=3)) == ["create_hello", "create_world", "greet"]

    def test_the_attempts_are_visible_in_the_task_run(self):
        from runner_lab.flows.retrying_task import retrying_task

        assert task_runs(retrying_task, expected=1, failures=2) == {"fetch_greeting": 3}

    def test_a_service_that_stays_unready_fails_the_flow(self, monkeypatch):
        from runner_lab.flows import retrying_task

        patient = retrying_task.fetch_greeting
        monkeypatch.setattr(retrying_task, "fetch_greeting", patient.with_options(retries=1, retry_delay_seconds=0))

        with pytest.raises(HTTPError, match="503"):
            retrying_task.retrying_task(failures=2)

    def test_a_result_is_kept_for_its_input_and_refresh_makes_a_new_one(self):
        from runner_lab.flows.cached_task import cached_task

        name, other = uuid.uuid4().hex, uuid.uuid4().hex

        states = [cached_task(name), cached_task(name), cached_task(other), cached_task(name, refresh=True)]

        assert states == ["Completed", "Cached", "Completed", "Completed"]

    def test_a_result_expires(self):
        from runner_lab.flows.cached_task import create_greeting

        brief = create_greeting.with_options(cache_expiration=timedelta(seconds=0.1))
        name = uuid.uuid4().hex

        first = brief(name, return_state=True)
        time.sleep(0.2)
        second = brief(name, return_state=True)

        assert create_greeting.cache_expiration == timedelta(minutes=1)
        assert [first.name, second.name] == ["Completed", "Completed"]

    def test_submitted_and_mapped_tasks_run_at_the_same_time(self, monkeypatch, capfd):
        from runner_lab.flows import parallel_tasks

        # Each task waits until all others are in it as well; called directly, one alone would wait for ever.
        together = threading.Barrier(len(parallel_tasks.NAMES))
        caller = threading.get_ident()
        waited = []

        def meet(seconds: float) -> None:
            if threading.get_ident() != caller:
                together.wait(LIMIT_S)
                waited.append(seconds)

        monkeypatch.setattr(parallel_tasks, "sleep", meet)
        ways = parallel_tasks.parallel_tasks()

        assert len(waited) == 2 * len(parallel_tasks.NAMES)
        assert {tuple(timed.greetings) for timed in ways.values()} == {
            tuple(f"hello {name}" for name in parallel_tasks.NAMES)
        }
        assert list(ways) == ["direct calls", ".submit", ".map"]


def task_runs(flow, expected: int, **parameters: object) -> dict[str, int]:
    """The attempts of each task run that the server has of a run of `flow`, by the task's name."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    state = flow(**parameters, return_state=True)
    assert state.is_completed()
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        # The server works a flow's events off after it has returned.
        runs = last_within(
            lambda: client.read_task_runs(flow_run_filter=of_run),
            LIMIT_S,
            enough=lambda runs: len(runs) == expected and all(run.state and run.state.is_final() for run in runs),
        )
    return {run.name.rpartition("-")[0]: run.run_count for run in runs}
