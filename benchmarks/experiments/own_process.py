"""A flow in a process of its own, which an experiment may stop, kill, or give an environment of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from runner_lab.benchmarks.experiments.experiment import WORKERS, Scene
from runner_lab.flows.experiments.noted import note
from runner_lab.runners import catalog
from runner_lab.runners.isolation import guard

_END_LIMIT_S = 15.0


class OwnProcess:
    """The process, and all that it has started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._family = {psutil.Process(process.pid)}

    def family(self) -> list[psutil.Process]:
        """The living ones of all that were seen so far, its own process among them."""
        for known in list(self._family):
            with suppress(psutil.Error):
                self._family.update(known.children(recursive=True))
        return [process for process in self._family if _alive(process)]

    def until(self, reached: Callable[[], Any], limit_s: float) -> bool:
        """Whether it came to that before the process ended or the time was over."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.family()
            if reached():
                return True
            if self.process.poll() is not None:
                return bool(reached())
            time.sleep(0.1)
        return False

    def ended(self, limit_s: float) -> int | None:
        """Its exit code, None if it still runs after `limit_s`."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def own_process(
    scene: Scene,
    flow: str,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[OwnProcess]:
    """Run a flow of `flows.experiments.outlasting` under the arm; end what is left of it afterwards.

    Args:
        options: of the runner's class; without an address it starts what it needs.
        variables: the whole environment, if not this process's.
    """
    # The path of a socket of Ray's has at most 107 bytes: the experiment's own folder lies too deep.
    place = tempfile.mkdtemp(prefix="own-", dir=scene.folder.parents[1])
    given = {
        "arm": scene.arm.name,
        "flow": flow,
        "folder": str(scene.folder),
        "place": place,
        "parameters": dict(parameters),
        "options": dict(options or {}),
    }
    command = [sys.executable, "-m", "runner_lab.benchmarks.experiments.own_process", json.dumps(given)]
    # A session of its own, as a terminal would give it one: Ctrl-C goes to all of it.
    process = subprocess.Popen(command, env=variables and dict(variables), start_new_session=True)
    own = OwnProcess(process)
    try:
        yield own
    finally:
        guard.end(own.family())
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_LIMIT_S)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def main(given: str) -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and all that this starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = json.loads(given)
    arms = catalog.load()
    (spec,) = arms.select([asked["arm"]], WORKERS)
    spec = replace(spec, options={**spec.options, **asked["options"]})
    from runner_lab.flows.experiments import outlasting

    flow = getattr(outlasting, asked["flow"])
    begun_s = time.monotonic()
    try:
        runner = arms.engine(spec).task_runner(spec, None, Path(asked["place"]))
        flow.with_options(task_runner=runner)(asked["folder"], **asked["parameters"])
        note(asked["folder"], raised=None)
    except BaseException as error:
        note(asked["folder"], raised=type(error).__name__, message=" ".join(str(error).split())[:200])
        raise
    finally:
        note(asked["folder"], flow_s=round(time.monotonic() - begun_s, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
