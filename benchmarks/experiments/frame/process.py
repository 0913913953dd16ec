"""A process that makes one experiment after another, and may hang or die without harm to the rest.

To import Prefect and to start a cluster takes long, so the process and its set-up serve all experiments that share it
until one of them hangs, fails, kills it or spoils it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Scene
from runner_lab.benchmarks.experiments.frame.facts_file import FactsFile, read
from runner_lab.benchmarks.measuring import quiescence
from runner_lab.benchmarks.measuring.measure import error_line
from runner_lab.records.findings import End
from runner_lab.runners.engine import Cluster
from runner_lab.runners.isolation import guard
from runner_lab.runners.isolation.supervised import Supervised, module, requests, without_mark
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import RunnerSpec

_POLL_S = 0.05
_START_LIMIT_S = 900.0
"""For the process to import Prefect and to start its set-up; nothing is judged by it."""
_END_LIMIT_S = 40.0
_FACTS = "facts.json"
"""In the folder of an experiment: there as soon as it begins."""
_END = "end.json"
"""There when it has ended."""


@dataclass(frozen=True)
class ExperimentEnd:
    """What became of one experiment.

    end: `done`; `failed`, with the error of the experiment itself; `hangs`, stopped at its limit; `dies`, its process
        ended, with how in `error`; `not set up`, with the error of its set-up.
    facts: all that was noted until then.
    """

    end: End
    facts: Mapping[str, Any]
    seconds: float
    error: str = ""


class ExperimentProcess:
    """The process, started at the first experiment and anew after one that may have spoilt it.

    Args:
        name: of its folders; short.
        scratch: an existing folder with a short path.
        log: what the process and its workers print is appended there.
        settings: passed on to the experiments; JSON-able.
    """

    def __init__(self, name: str, scratch: Path, log: Path, settings: Mapping[str, Any]) -> None:
        self._name = name
        self._scratch = scratch
        self._log = log
        self._settings = json.dumps(dict(settings))
        self._process: Supervised | None = None
        self._home = scratch
        self._started = 0
        self._not_set_up: ExperimentEnd | None = None

    def measure(self, experiment: Experiment, arm: RunnerSpec) -> ExperimentEnd:
        """Make one experiment under an arm. Never raises for what the experiment does.

        What cannot be set up once is not tried again: it may take minutes to fail.
        """
        if self._not_set_up:
            return self._not_set_up
        process = self._running()
        folder = self._scratch / f"{self._name}-{self._started}-{arm.name}-{experiment.id}"
        folder.mkdir()
        process.ask({"module": experiment.module, "id": experiment.id, "arm": asdict(arm), "folder": str(folder)})
        outcome = _await(process, folder, experiment.limit_s)
        if outcome.end in ("hangs", "dies"):
            self._kill()
        elif outcome.end != "done" or experiment.leaves_it_spoilt(outcome.facts):
            # What raised in the middle may have left its tasks in the cluster.
            self.close()
        if outcome.end == "not set up":
            self._not_set_up = outcome
        return outcome

    def close(self) -> None:
        """End the process, its set-up, and whatever they left."""
        if (process := self._process) is None:
            return
        process.ask_no_more()
        process.ended(_END_LIMIT_S)
        self._kill()

    def _running(self) -> Supervised:
        if self._process is None:
            self._started += 1
            self._home = self._scratch / f"{self._name}-{self._started}"
            self._home.mkdir()
            self._process = Supervised(module(__name__, self._settings, str(self._home)), self._log, asked=True)
        return self._process

    def _kill(self) -> None:
        if (process := self._process) is None:
            return
        self._process = None
        process.end_with_guard(self._home)


def _await(process: Supervised, folder: Path, limit_s: float) -> ExperimentEnd:
    facts_file, end_file = folder / _FACTS, folder / _END
    asked_s = time.monotonic()
    begun = last_within(lambda: facts_file.exists() or end_file.exists() or process.over(), _START_LIMIT_S, _POLL_S)
    begun_s = time.monotonic() if begun else asked_s
    if begun:
        last_within(lambda: end_file.exists() or process.over(), limit_s, _POLL_S)
    # In this order: what it wrote last it wrote before it ended.
    over, end, facts = process.over(), read(end_file), read(facts_file)
    seconds = round(time.monotonic() - begun_s, 2)
    if end:
        return ExperimentEnd(end["end"], facts, end["seconds"], end["error"])
    if not over:
        return ExperimentEnd("hangs", facts, seconds)
    return ExperimentEnd("dies", facts, seconds, process.how_it_ended())


def main(settings: str, home: str) -> None:
    """Make the experiments that come in by standard input, a line of JSON each, until it ends."""
    asked = requests()
    without_mark()
    told = json.loads(settings)
    with ExitStack() as stack:
        scratch = stack.enter_context(guard.guarded(Path(home)))

        import prefect  # noqa: F401

        stack.callback(quiescence.send_rest)
        started: list[Cluster | None] = []
        for request in asked:
            experiment = _experiment(request["module"], request["id"])
            arm = RunnerSpec(**request["arm"])
            folder = Path(request["folder"])
            # Outside the limit: it may take long, and is not what is judged.
            if not started:
                try:
                    started.append(stack.enter_context(experiment.set_up.start(arm, scratch, told)))
                except Exception as error:
                    traceback.print_exc()
                    _end(folder, "not set up", error_line(error), 0.0)
                    return
            _make(experiment, arm, folder, told, started[0])


def _experiment(module_name: str, id: str) -> Experiment:
    listed: tuple[Experiment, ...] = import_module(module_name).EXPERIMENTS
    return next(experiment for experiment in listed if experiment.id == id)


def _make(
    experiment: Experiment, arm: RunnerSpec, folder: Path, settings: Mapping[str, Any], cluster: Cluster | None
) -> None:
    work = folder / "work"
    work.mkdir()
    facts = FactsFile(folder / _FACTS)
    facts.note({})
    end: End = "done"
    error = ""
    begun_s = time.monotonic()
    try:
        experiment.measure(Scene(arm, work, os.environ["PREFECT_API_URL"], settings, cluster, facts.note))
    except Exception as raised:
        end, error = "failed", error_line(raised)
        traceback.print_exc()
    _end(folder, end, error, round(time.monotonic() - begun_s, 2))


def _end(folder: Path, end: End, error: str, seconds: float) -> None:
    FactsFile(folder / _END).note({"end": end, "error": error, "seconds": seconds})


if __name__ == "__main__":
    main(*sys.argv[1:])
