"""A flow run that is stopped from outside, on a cluster of its own and on one that others use."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

from runner_lab.benchmarks.experiments.flow_runs import NEVER, state, states
from runner_lab.benchmarks.experiments.frame.experiment import WORKERS, Experiment, Facts, Scene, clustered, concurrent
from runner_lab.benchmarks.experiments.own_process import NOT_BEGUN, own_process
from runner_lab.flows.experiments.noted import marks, notes
from runner_lab.records.findings import Judgement, Symbol
from runner_lab.reports.words import units
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import RunnerSpec

SUITE = "faults"

TASKS = 4
STAY_S = 30.0
_START_LIMIT_S = 90.0
_QUIET_LIMIT_S = 60.0
_STILL_S = 1.5
_FINAL = ("Completed", "Failed", "Crashed", "Cancelled", "Cached")


def stopped(scene: Scene, sent: signal.Signals, external: bool) -> None:
    place = {"address": scene.cluster.address} if external and scene.cluster else {}
    with own_process(scene, "stays", {"tasks": TASKS, "seconds": STAY_S}, place) as flow:
        ready = flow.reaches(
            lambda: len(marks(scene.folder, "stay")) >= WORKERS and "task_run_ids" in notes(scene.folder),
            _START_LIMIT_S,
        )
        scene.note(began=ready)
        if not ready:
            return
        begun_before = len(marks(scene.folder, "stay"))
        flow.family()
        sent_s, sent_at = time.monotonic(), time.time()
        if sent == signal.SIGINT:
            # A terminal sends it to all of the foreground.
            os.killpg(flow.process.pid, sent)
        else:
            flow.process.send_signal(sent)
        code = flow.ended(_QUIET_LIMIT_S)
        scene.note(exit_code=code, exit_s=round(time.monotonic() - sent_s, 1))
        last_within(
            lambda: not flow.family() and time.time() - _last_tick(scene.folder) >= _STILL_S,
            _QUIET_LIMIT_S - (time.monotonic() - sent_s),
        )
        left = flow.family()
        quiet_s = max(_last_tick(scene.folder) - sent_at, 0.0)
        scene.note(
            orphans=len(left),
            last_sign_of_a_body_s=round(quiet_s, 1),
            quiet_s=None if left else round(max(quiet_s, time.monotonic() - sent_s - _STILL_S), 1),
            bodies_begun_before=begun_before,
            bodies_begun_after=len(marks(scene.folder, "stay")) - begun_before,
            bodies_run_to_their_end=len(marks(scene.folder, "stayed")),
        )
    found = notes(scene.folder)
    task_runs = {str(number): run_id for number, run_id in enumerate(found["task_run_ids"])}
    told = states(scene.api_url, "task_runs", task_runs, 45.0)
    scene.note(
        server_flow_state=state(scene.api_url, "flow_runs", found["flow_run_id"], 5.0),
        server_task_states=dict(Counter(told.values())),
    )


def _last_tick(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("tick-*")), default=0.0)


def judge_stopped(arm: RunnerSpec, facts: Facts) -> Judgement:
    if not facts["began"]:
        return NOT_BEGUN
    tasks = units.counted(facts["server_task_states"])
    quiet = "never quiet" if facts["quiet_s"] is None else f"quiet after {facts['quiet_s']:.0f} s"
    left = f"{facts['orphans']} processes left" if facts["orphans"] else "nothing left"
    words = f"{quiet}, {left}; flow {facts['server_flow_state']}, tasks: {tasks}"
    wrong, known = [], []
    if facts["exit_code"] is None:
        wrong.append("send SIGKILL when it does not end")
    if facts["orphans"]:
        wrong.append("end what is left by its process group or container")
    if facts["bodies_begun_after"]:
        words += f"; {facts['bodies_begun_after']} more bodies begun"
        wrong.append("cancel waiting tasks on the cluster by its own tools, or take the lean runner")
    if facts["server_flow_state"] not in _FINAL:
        wrong.append("set the state of the flow run by an automation, or by hand: the API says Running for ever")
    if any(name not in (*_FINAL, "NotReady", "Pending", NEVER) for name in facts["server_task_states"]):
        known.append("do not take a task run that is Running in the API for one that runs")
    if facts["bodies_run_to_their_end"]:
        words += f"; {facts['bodies_run_to_their_end']} bodies ran to their end"
        known.append("expect running bodies to go on to their end")
    symbol: Symbol = "bad" if wrong else "warn" if known else "ok"
    return Judgement(symbol, words, units.sentence([*wrong, *known]))


def _experiment(sent: signal.Signals, external: bool) -> Experiment:
    how = "Ctrl-C" if sent == signal.SIGINT else "SIGTERM, as for a cancelled flow run"
    return Experiment(
        f"{'ctrl-c' if sent == signal.SIGINT else 'cancelled'}-{'external' if external else 'own'}",
        "stopped",
        f"{how}, {'on an attached cluster' if external else 'on workers that the runner started'}",
        partial(stopped, sent=sent, external=external),
        judge_stopped,
        limit_s=300,
        spoils=external,
        engines=clustered if external else concurrent,
    )


EXPERIMENTS = tuple(
    _experiment(sent, external) for sent in (signal.SIGINT, signal.SIGTERM) for external in (False, True)
)
