"""A process for one arm, which makes one experiment after another, and may hang or die without harm to the rest.

To import Prefect and to start a cluster takes long, so the process and its cluster serve all experiments of the arm
until one of them hangs, fails, kills it or spoils it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import psutil

from runner_lab.benchmarks.experiments.experiment import WORKERS, Experiment, Scene, Suite
from runner_lab.benchmarks.measuring import quiescence
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster, ClusterSettings
from runner_lab.runners.isolation import guard
from runner_lab.runners.isolation.environment import MARK

_POLL_S = 0.05
_START_LIMIT_S = 600.0
"""For the process to import Prefect and to start a cluster; nothing is judged by it."""
_END_LIMIT_S = 40.0
_ANSWER = "answer.json"

End = Literal["done", "failed", "hangs", "dies"]


@dataclass(frozen=True)
class Outcome:
    """What became of one experiment.

    end: `done`; `failed`, with the error of the experiment itself; `hangs`, stopped at its limit; `dies`, its process
        ended, with how in `error`.
    facts: all that was noted until then.
    """

    end: End
    facts: Mapping[str, Any]
    seconds: float
    error: str = ""


class ArmProcess:
    """The process, started at the first experiment and anew after one that may have spoilt it.

    Args:
        suite: whose experiments it makes.
        arm: name of the arm.
        scratch: an existing folder with a short path.
        log: what the process and its workers print is appended there.
        settings: passed on to the experiments; JSON-able.
    """

    def __init__(self, suite: Suite, arm: str, scratch: Path, log: Path, settings: Mapping[str, Any]) -> None:
        module = "runner_lab.benchmarks.experiments.arm_process"
        self._command = [sys.executable, "-m", module, suite.module, arm, json.dumps(dict(settings))]
        self._arm = arm
        self._scratch = scratch
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._home = scratch
        self._started = 0

    def measure(self, experiment: Experiment) -> Outcome:
        """Make one experiment. Never raises for what the experiment does."""
        process = self._running()
        folder = self._scratch / f"{self._arm}-{self._started}-{experiment.id}"
        folder.mkdir()
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{experiment.id}\t{folder}\n".encode())
            process.stdin.flush()
        outcome = _await(process, folder, experiment.limit_s)
        if outcome.end in ("hangs", "dies"):
            self._kill()
        elif experiment.spoils or outcome.end == "failed":
            # What raised in the middle may have left its tasks in the cluster.
            self.close()
        return outcome

    def close(self) -> None:
        """End the process, its cluster, and whatever they left."""
        if (process := self._process) is None:
            return
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_LIMIT_S)
        self._kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._started += 1
            self._home = self._scratch / f"{self._arm}-{self._started}"
            self._home.mkdir()
            with open(self._log, "ab") as log:
                # A session of its own: Ctrl-C is the lab's, which then ends this process.
                self._process = subprocess.Popen(
                    [*self._command, str(self._home)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        return self._process

    def _kill(self) -> None:
        if (process := self._process) is None:
            return
        self._process = None
        with suppress(psutil.NoSuchProcess):
            guard.end([psutil.Process(process.pid)], grace_s=0.0)
        process.wait()
        # Its guard ends what it started, and removes its folder last.
        deadline = time.monotonic() + _END_LIMIT_S
        while self._home.exists() and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def _await(process: subprocess.Popen[bytes], folder: Path, limit_s: float) -> Outcome:
    asked_s = time.monotonic()
    begun_s: float | None = None
    while True:
        ended = process.poll()
        answer = _read(folder)
        now_s = time.monotonic()
        if begun_s is None and answer:
            begun_s = now_s
        seconds = round(now_s - (begun_s or asked_s), 2)
        facts = answer.get("facts", {})
        if answer.get("done"):
            error = answer.get("error") or ""
            return Outcome("failed" if error else "done", facts, answer["seconds"], error)
        if ended is not None:
            how = f"killed by signal {-ended}" if ended < 0 else f"exit code {ended}"
            return Outcome("dies", facts, seconds, how)
        if seconds > (_START_LIMIT_S if begun_s is None else limit_s):
            return Outcome("hangs", facts, seconds)
        time.sleep(_POLL_S)


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / _ANSWER).read_text())
    except FileNotFoundError:
        return {}


def main(module: str, arm: str, settings: str, home: str) -> None:
    """Make the experiments whose ids and folders come in by standard input, until it ends."""
    # Nobody that this process starts shall hold its input.
    asked = os.fdopen(os.dup(0), "r")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # The guard of the lab must end this process and leave its guard, so that what this one started is ended as well.
    os.environ.pop(MARK, None)
    suite: Suite = import_module(module).SUITE
    experiments = {experiment.id: experiment for experiment in suite.experiments}
    with ExitStack() as stack:
        scratch = stack.enter_context(guard.guarded(Path(home)))
        found = catalog.load()
        (spec,) = found.select([arm], WORKERS)
        engine = found.engine(spec)
        started: list[Cluster] = []

        def cluster() -> Cluster | None:
            if engine.shares(spec) and not started:
                started.append(stack.enter_context(engine.cluster(WORKERS, ClusterSettings(), scratch)))
                _warm(engine.task_runner(spec, started[0], scratch), scratch)
            return started[0] if started else None

        import prefect  # noqa: F401

        stack.callback(quiescence.send_rest)
        for line in asked:
            name, _, folder = line.rstrip("\n").partition("\t")
            _make(experiments[name], Answer(Path(folder)), spec, json.loads(settings), cluster)


def _warm(task_runner: Any, scratch: Path) -> None:
    """Have every worker import Prefect, which else would pass for what an experiment shows."""
    from runner_lab.flows.graph.fanout import fanout

    ledger = scratch / "warm"
    ledger.mkdir()
    graph = GraphSpec(width=2 * WORKERS, work=Work("sleep", 0.2))
    fanout.with_options(task_runner=task_runner)(graph, str(ledger))


class Answer:
    """The file in which an experiment leaves its facts, whole at any moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._facts: dict[str, Any] = {}
        self._ends: dict[str, Any] = {}
        self._lock = threading.Lock()

    def note(self, facts: Mapping[str, Any]) -> None:
        """Of any thread."""
        with self._lock:
            self._facts.update(facts)
            self._write()

    def end(self, error: str | None, seconds: float) -> None:
        with self._lock:
            self._ends = {"done": True, "error": error, "seconds": seconds}
            self._write()

    def _write(self) -> None:
        partial = self.folder / f"{_ANSWER}.partial"
        partial.write_text(json.dumps({"facts": self._facts, **self._ends}, default=str))
        partial.replace(self.folder / _ANSWER)


def _make(experiment: Experiment, answer: Answer, spec: Any, settings: dict[str, Any], cluster: Any) -> None:
    folder = answer.folder / "work"
    folder.mkdir()
    scene = Scene(spec, folder, os.environ["PREFECT_API_URL"], settings, cluster, answer.note)
    error = None
    begun_s = time.monotonic()
    try:
        # Outside the limit: a cluster takes long to start, and is not what is judged.
        cluster()
        answer.note({})
        begun_s = time.monotonic()
        experiment.measure(scene)
    except Exception as raised:
        error = f"{type(raised).__name__}: {' '.join(str(raised).split())}"[:300]
        traceback.print_exc()
    answer.end(error, round(time.monotonic() - begun_s, 2))


if __name__ == "__main__":
    main(*sys.argv[1:])
