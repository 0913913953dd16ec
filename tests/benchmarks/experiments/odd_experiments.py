"""Experiments that hang, die, fail, cannot be set up and end well, for the frame."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene, SetUp
from runner_lab.records.findings import Judgement
from runner_lab.runners.engine import Cluster
from runner_lab.runners.spec import RunnerSpec


def well(scene: Scene) -> None:
    scene.note(pid=os.getpid(), told=scene.settings["told"])


def die(scene: Scene) -> None:
    scene.note(pid=os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def fail(scene: Scene) -> None:
    scene.note(pid=os.getpid())
    raise RuntimeError("no such thing\nat all")


def hang(scene: Scene) -> None:
    """Hang, with a child that ignores what it is asked."""
    ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    scene.note(pid=os.getpid(), child=subprocess.Popen([sys.executable, "-c", ignores]).pid)
    threading.Event().wait()


def left_behind(facts: Facts) -> Judgement:
    return Judgement("warn", f"left {facts['child']} behind", "Look.")


def judged(arm: RunnerSpec, facts: Facts) -> Judgement:
    return Judgement("ok", f"{arm.name} was told {facts['told']}")


def experiment(name: str, measure: object, **more: object) -> Experiment:
    return Experiment(name, "frame", f"To {name}", measure, judged, **more)  # type: ignore[arg-type]


@contextmanager
def no_set_up(arm: RunnerSpec, scratch: Path, settings: Mapping[str, Any]) -> Iterator[Cluster | None]:
    with open(settings["tried"], "a") as tried:
        tried.write("once\n")
    raise OSError("no cluster\nfor you")
    yield None


NOTHING = SetUp(no_set_up, lambda arm: "nothing")

EXPERIMENTS = (
    experiment("well", well),
    experiment("die", die),
    experiment("fail", fail),
    experiment("fork", hang, limit_s=1.0, hangs=left_behind),
    experiment("spoil", well, spoils=True),
    experiment("spoil-by-what-it-saw", well, spoils=lambda facts: facts["told"] == 7),
    experiment("without", well, set_up=NOTHING),
    experiment("without-too", well, set_up=NOTHING),
)
