"""A suite whose experiments hang, die, fail and end well, for the frame of experiments on behaviour."""

from __future__ import annotations

import os
import signal
import threading
import time

from benchmarks.experiment import Experiment, Facts, Judgement, Scene, Suite
from runners.spec import RunnerSpec


def well(scene: Scene) -> None:
    scene.note(pid=os.getpid(), told=scene.settings["told"])


def hang(scene: Scene) -> None:
    scene.note(pid=os.getpid())
    threading.Event().wait()


def die(scene: Scene) -> None:
    scene.note(pid=os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def fail(scene: Scene) -> None:
    scene.note(pid=os.getpid())
    raise RuntimeError("no such thing\nat all")


def forked(scene: Scene) -> None:
    """Leave a child behind that ignores what it is asked, and hang."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    scene.note(child=pid)
    threading.Event().wait()


def judged(arm: RunnerSpec, facts: Facts) -> Judgement:
    return Judgement("ok", f"{arm.name} was told {facts['told']}")


def experiment(name: str, measure: object, **more: object) -> Experiment:
    return Experiment(name, "frame", f"To {name}", measure, judged, **more)  # type: ignore[arg-type]


SUITE = Suite(
    "behaving",
    __name__,
    "How they behave",
    (
        experiment("well", well),
        experiment("hang", hang, limit_s=1.0),
        experiment("die", die),
        experiment("fail", fail),
        experiment("fork", forked, limit_s=1.0, hangs=Judgement("warn", "left behind", "Look.")),
        experiment("spoil", well, spoils=True),
        experiment("dask-only", well, engines=("dask",)),
    ),
)
