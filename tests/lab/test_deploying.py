"""docs/deploying.md from its first command to its last, against a real server and a real process worker."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation import guard, waiting

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lab_server")]

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0
DEPLOYMENT = "hello-flow/hello-flow-deployment"


def from_docs(begin: str) -> str:
    """The one command of the page that begins so, without `uv run`."""
    page = (ROOT / "docs" / "deploying.md").read_text()
    found = set(re.findall(rf"^\$ uv run ({re.escape(begin)}.*)$", page, re.MULTILINE))
    assert len(found) == 1, f"{begin!r} is on the page as {found}"
    return found.pop()


@pytest.fixture(scope="module")
def prefect() -> Iterator[Callable[..., tuple[int, str]]]:
    """Prefect's command line, in this process, which has Prefect imported already: its exit code and output."""
    from prefect.cli import app

    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        patched.setenv("COLUMNS", "400")

        def run(command: str, *more: str) -> tuple[int, str]:
            program, *arguments = shlex.split(command)
            assert program == "prefect"
            said = io.StringIO()
            patched.setattr(sys, "argv", ["prefect", *arguments, *more])
            code: Any = None
            with redirect_stdout(said), redirect_stderr(said):
                try:
                    app()
                except SystemExit as ended:
                    code = ended.code
            return int(code or 0), said.getvalue()

        yield run


def client():
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


def wait_for(condition: Callable[[], Any], process: psutil.Popen | None = None) -> None:
    def over() -> bool:
        return process is not None and process.poll() is not None

    waiting.wait_for("what the test waits for", lambda: condition() or over(), LIMIT_S)
    assert not over()


def status(name: str = DEPLOYMENT) -> str:
    with client() as api:
        return str(api.read_deployment_by_name(name).status.value)


def flow_runs(name: str) -> list[Any]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    with client() as api:
        deployment = api.read_deployment_by_name(name)
        return api.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])))


@pytest.fixture(scope="module")
def deployed(prefect) -> str:
    """What the server says of the deployment while no worker is up."""
    for begin in ("prefect work-pool create my-pool", "prefect --no-prompt deploy -n hello"):
        code, said = prefect(from_docs(begin))
        assert code == 0, said
    return status()


@pytest.fixture(scope="module")
def worker(deployed, lab_server, scratch) -> Iterator[subprocess.Popen[bytes]]:
    """A process worker in a home of its own, as the page starts it, which asks for runs more often."""
    home = scratch / "worker"
    home.mkdir()
    variables = {
        **isolation.without_foreign(os.environ),
        **isolation.environment(home, lab_server.api_url),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "TMPDIR": str(home),
    }
    words = shlex.split(from_docs("prefect worker start"))
    with open(home / "worker.log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *words], env=variables, cwd=ROOT, stdout=log, stderr=log)
    yield process
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    guard.end(family, grace_s=10.0)
    process.wait()


def test_without_a_worker_the_deployment_is_not_ready(deployed):
    from prefect.client.schemas.objects import DeploymentStatus

    assert deployed == DeploymentStatus.NOT_READY.value
    with client() as api:
        described = api.read_deployment_by_name(DEPLOYMENT)
    (schedule,) = described.schedules
    assert (schedule.active, schedule.schedule.interval.total_seconds()) == (False, 60.0)
    assert (described.work_pool_name, described.entrypoint) == ("my-pool", "flows/hello_flow.py:hello_flow")


def test_with_a_worker_it_is_ready(worker):
    wait_for(lambda: status() == "READY", worker)


def test_a_run_by_hand_ends_completed(worker, prefect):
    code, said = prefect(from_docs(f"prefect deployment run {DEPLOYMENT}"))

    assert code == 0, said
    assert [run.state_name for run in flow_runs(DEPLOYMENT)] == ["Completed"]
    assert not any(run.auto_scheduled for run in flow_runs(DEPLOYMENT))


def test_runs_appear_by_themselves_only_where_the_schedule_is_active(worker, prefect, tmp_path):
    described = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (first, *_) = described["deployments"]
    second = copy.deepcopy(first)
    second["name"] = "idle"
    # Not shorter: a run is two processes that import Prefect, and those of a shorter interval would only pile up.
    first["schedules"] = [{"interval": 20, "active": True}]
    second["schedules"] = [{"interval": 20, "active": False}]
    described["deployments"] = [first, second]
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(described))

    def completed() -> list[Any]:
        return [run for run in flow_runs(DEPLOYMENT) if run.auto_scheduled and run.state_name == "Completed"]

    for name in ("idle", first["name"]):
        code, said = prefect(f"prefect --no-prompt deploy -n {name}", "--prefect-file", str(tmp_path / "prefect.yaml"))
        assert code == 0, said
    wait_for(completed, worker)
    assert flow_runs("hello-flow/idle") == []

    # Switched off as the page says: what was scheduled and has not begun is gone as well.
    code, said = prefect(from_docs("prefect --no-prompt deploy -n hello"))
    assert code == 0, said
    assert [run.state_name for run in flow_runs(DEPLOYMENT) if run.state_name == "Scheduled"] == []


@pytest.mark.parametrize(
    ("entrypoint", "reason"),
    [
        ("flows/no_such_file.py:hello_flow", "no_such_file.py"),
        ("flows/hello_flow.py:no_such_flow", "no_such_flow"),
        ("flows/hello_world.py:hello_world", "hello_world"),
    ],
)
def test_a_bad_entrypoint_is_refused_with_its_name(deployed, prefect, tmp_path, entrypoint, reason):
    from prefect.exceptions import ObjectNotFound

    described = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    described["deployments"][0] |= {"name": "bad", "entrypoint": entrypoint}
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(described))

    code, said = prefect("prefect --no-prompt deploy -n bad", "--prefect-file", str(tmp_path / "prefect.yaml"))

    assert code == 1
    assert reason in said
    with client() as api, pytest.raises(ObjectNotFound):
        api.read_deployment_by_name("hello-flow/bad")


def test_a_pool_that_does_not_exist_is_refused_with_its_name(deployed, prefect):
    code, said = prefect("prefect --no-prompt deploy -n hello-flow-deployment --pool no-such-pool")

    assert code == 1
    assert "'no-such-pool' which does not exist" in " ".join(said.split())


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
class TestPoolTemplates:
    """Docker and Kubernetes are not run; what the server checks of a template, it checks."""

    def test_the_server_takes_it_as_it_is(self, kind, prefect):
        code, said = prefect(from_docs(f"prefect work-pool create {kind}-pool"))

        assert code == 0, said
        with client() as api:
            pool = api.read_work_pool(f"{kind}-pool")
        assert pool.type == kind
        assert pool.base_job_template == template(kind)

    def test_the_server_refuses_a_variable_of_another_type(self, kind):
        from prefect.client.schemas.actions import WorkPoolCreate
        from prefect.exceptions import PrefectHTTPStatusError

        wrong = template(kind)
        wrong["variables"]["properties"]["env"]["default"] = "no mapping"

        with client() as api, pytest.raises(PrefectHTTPStatusError) as refused:
            api.create_work_pool(WorkPoolCreate(name=f"wrong-{kind}", type=kind, base_job_template=wrong))
        assert "no mapping" in refused.value.response.text

    def test_the_server_refuses_a_variable_that_is_not_declared(self, kind):
        from prefect.client.schemas.actions import WorkPoolCreate
        from prefect.exceptions import PrefectHTTPStatusError

        wrong = template(kind)
        del wrong["variables"]["properties"]["image"]

        with client() as api, pytest.raises(PrefectHTTPStatusError) as refused:
            api.create_work_pool(WorkPoolCreate(name=f"wrong-{kind}", type=kind, base_job_template=wrong))
        assert "undeclared variable(s): image" in refused.value.response.text

    def test_it_has_what_prefects_own_template_has(self, kind):
        from prefect.server.api.collections_data import views

        collections = json.loads((Path(views.__path__[0]) / "aggregate-worker-metadata.json").read_text())
        own = collections[f"prefect-{kind}"][kind]["default_base_job_configuration"]

        assert template(kind)["job_configuration"] == own["job_configuration"]
        assert template(kind)["variables"]["properties"].keys() == own["variables"]["properties"].keys()


def template(kind: str) -> dict[str, Any]:
    return json.loads((ROOT / "deploy" / f"{kind}-pool.json").read_text())
