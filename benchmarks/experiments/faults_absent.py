"""What is not there: the cluster, the server, the API URL."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from functools import partial

import psutil

from runner_lab.benchmarks.experiments.flow_runs import state
from runner_lab.benchmarks.experiments.frame.experiment import WORKERS, Experiment, Facts, Scene, clustered
from runner_lab.benchmarks.experiments.own_process import NOT_BEGUN, own_process
from runner_lab.benchmarks.measuring.quiescence import wait_recorded
from runner_lab.flows.experiments.noted import ENOUGH, marks, notes
from runner_lab.records.findings import Judgement
from runner_lab.runners.isolation.environment import environment, free_port, without_foreign
from runner_lab.runners.isolation.supervised import Supervised
from runner_lab.runners.server import Server, lab_server
from runner_lab.runners.spec import RunnerSpec

SUITE = "faults"

_UNANSWERED_S = 100.0
_SERVER_LIMIT_S = 400.0
_LONGEST_S = 240.0
_SMALL = 4


def no_cluster(scene: Scene, silent: bool) -> None:
    """An address where nobody listens, or where what listens says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen(16)
        port = listener.getsockname()[1]
        address = scene.engine.address("127.0.0.1", port)
        if not silent:
            listener.close()
        with own_process(scene, "small", {"tasks": 2}, {"address": address}) as flow:
            code = flow.ended(_UNANSWERED_S)
    found = notes(scene.folder)
    scene.note(exit_code=code, raised=found.get("raised"), message=found.get("message"), flow_s=found.get("flow_s"))


def judge_no_cluster(arm: RunnerSpec, facts: Facts) -> Judgement:
    if facts["exit_code"] is None or facts["flow_s"] is None:
        return Judgement(
            "bad",
            f"no error within {_UNANSWERED_S:.0f} s",
            "See that the cluster answers before the flow starts, and give the flow a timeout_seconds.",
        )
    return Judgement("ok", f"{facts['raised']} after {facts['flow_s']:.0f} s")


def server_ends(scene: Scene, returns: bool) -> None:
    """A server of the experiment's own is stopped in mid-run; another one takes its place and data, or none does."""
    home, port = scene.folder / "home", free_port()
    variables = {**os.environ, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(lab_server(home, port=port, limit_s=_SERVER_LIMIT_S))
        flow = stack.enter_context(own_process(scene, "goes_on", {"longest_s": _LONGEST_S}, variables=variables))
        if not flow.reaches(lambda: len(marks(scene.folder, "step")) >= 2 * WORKERS, 90.0):
            scene.note(began=False)
            return
        scene.note(began=True)
        first.close()
        gone_s = time.monotonic()
        if returns:
            server = stack.enter_context(lab_server(home, port=port, limit_s=_SERVER_LIMIT_S))
            scene.note(away_s=round(time.monotonic() - gone_s, 1))
            _ends(scene, flow, gone_s)
            _recorded(scene, server)
        else:
            time.sleep(10.0)
            _ends(scene, flow, gone_s)


def _ends(scene: Scene, flow: Supervised, gone_s: float) -> None:
    """Let the flow go on for a moment, then end, and note how it did."""
    time.sleep(3.0)
    scene.note(bodies_without_server=sum(one.at_s > gone_s for one in marks(scene.folder, "step")))
    (scene.folder / ENOUGH).touch()
    told_s = time.monotonic()
    code = flow.ended(120.0)
    found = notes(scene.folder)
    scene.note(
        exit_code=code,
        ended_s=round(time.monotonic() - told_s, 1),
        raised=found.get("raised", "nothing: it still runs"),
        bodies=len(marks(scene.folder, "step")),
        done=found.get("done", 0),
    )


def _recorded(scene: Scene, server: Server) -> None:
    flow_run_id = notes(scene.folder)["flow_run_id"]
    bodies = len(marks(scene.folder, "step"))
    recorded = wait_recorded(server.api_url, flow_run_id, bodies, 60.0)
    scene.note(recorded=recorded.final, server_flow_state=state(server.api_url, "flow_runs", flow_run_id, 5.0))


def judge_returns(arm: RunnerSpec, facts: Facts) -> Judgement:
    if not facts["began"]:
        return NOT_BEGUN
    words = (
        f"{_how(facts)}, {facts['server_flow_state']} in the API; {facts['recorded']}/{facts['bodies']} task runs "
        f"recorded; away {facts['away_s']:.0f} s"
    )
    if facts["raised"] is not None or facts["server_flow_state"] != "Completed":
        return Judgement("bad", words, "Give the flow retries=, and persist results so that they are not made again.")
    if facts["recorded"] < facts["bodies"]:
        return Judgement("warn", words, "Do not count on the API's list of task runs over an outage of the server.")
    return Judgement("ok", words)


def judge_gone(arm: RunnerSpec, facts: Facts) -> Judgement:
    if not facts["began"]:
        return NOT_BEGUN
    words = (
        f"{_how(facts)} {facts['ended_s']:.0f} s after its last task; {facts['bodies_without_server']} bodies meanwhile"
    )
    if facts["exit_code"] is None:
        return Judgement("bad", words, "Run it under something that ends it: a Prefect worker, a container's limit.")
    return Judgement(
        "warn", words, "Nothing is recorded of it: alert on a server that is away, and make the flow safe to repeat."
    )


def _how(facts: Facts) -> str:
    if facts["exit_code"] is None:
        return "flow has not ended"
    return "flow completes" if facts["raised"] is None else f"flow ends by {facts['raised']}"


def no_api_url(scene: Scene) -> None:
    """Count the Prefect servers that a small flow starts where none is named."""
    home = scene.folder / "home"
    variables = {**without_foreign(os.environ), **environment(home)}
    # Prefect's defaults, but for the time that a server may take on a machine that starts several.
    variables["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "true"
    variables["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
    servers: set[int] = set()
    with own_process(scene, "small", {"tasks": _SMALL}, variables=variables) as flow:

        def over() -> bool:
            servers.update(process.pid for process in flow.family() if _serves(process))
            return flow.over()

        ended = flow.reaches(over, 150.0)
    found = notes(scene.folder)
    scene.note(servers=len(servers), ended=ended, completed=found.get("completed", 0), tasks=_SMALL)
    scene.note(flow_s=found.get("flow_s"), raised=found.get("raised"))


def _serves(process: psutil.Process) -> bool:
    try:
        return any("prefect.server.api.server:create_app" in part for part in process.cmdline())
    except psutil.Error:
        return False


def judge_no_api_url(arm: RunnerSpec, facts: Facts) -> Judgement:
    servers = f"{facts['servers']} Prefect server{'s' * (facts['servers'] != 1)} started"
    took = f"{facts['flow_s']:.0f} s" if facts["flow_s"] is not None else "not over after 150 s"
    words = f"{servers} for {facts['tasks']} tasks, {facts['completed']} completed, {took}"
    remedy = "Start one server, and set PREFECT_API_URL for the flow and for every worker."
    if facts["completed"] < facts["tasks"]:
        return Judgement("bad", words, remedy)
    return Judgement("warn" if facts["servers"] > 1 else "ok", words, remedy if facts["servers"] > 1 else "")


def _address(silent: bool) -> Experiment:
    return Experiment(
        "address-silent" if silent else "address-refused",
        "absent",
        f"A cluster address {'that accepts and never answers' if silent else 'where nothing listens'}",
        partial(no_cluster, silent=silent),
        judge_no_cluster,
        limit_s=200,
        engines=clustered,
    )


def _server(returns: bool) -> Experiment:
    return Experiment(
        "server-returns" if returns else "server-gone",
        "absent",
        f"The server is stopped in mid-run, {'and started again' if returns else 'for good'}",
        partial(server_ends, returns=returns),
        judge_returns if returns else judge_gone,
        limit_s=1200,
    )


EXPERIMENTS = (
    _address(silent=False),
    _address(silent=True),
    _server(returns=True),
    _server(returns=False),
    Experiment("no-api-url", "absent", "No API URL is set", no_api_url, judge_no_api_url, limit_s=240),
)
