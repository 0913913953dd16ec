"""A flow in a process of its own, which an experiment may stop, kill, or give an environment of its own."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.experiment import WORKERS, Scene
from runner_lab.flows.experiments.noted import note
from runner_lab.records.findings import Judgement
from runner_lab.runners import catalog
from runner_lab.runners.isolation.supervised import Supervised, module, supervised

NOT_BEGUN = Judgement("unknown", "its tasks did not begin in time", "Try again on a machine that is less busy.")


@contextmanager
def own_process(
    scene: Scene,
    flow: str,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Supervised]:
    """Run a flow of `flows.experiments.outlasting` under the arm; end what is left of it afterwards.

    Args:
        options: of the runner's class; without an address it starts what it needs.
        variables: the whole environment, if not this process's.
    """
    # The path of a socket of Ray's has at most 107 bytes: the experiment's own folder lies too deep.
    place = tempfile.mkdtemp(prefix="own-", dir=scene.folder.parents[1])
    asked = {
        "arm": scene.arm.name,
        "flow": flow,
        "folder": str(scene.folder),
        "place": place,
        "parameters": dict(parameters),
        "options": dict(options or {}),
    }
    with supervised(module(__name__, json.dumps(asked)), variables=variables) as process:
        yield process


def main(request: str) -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and all that this starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = json.loads(request)
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
