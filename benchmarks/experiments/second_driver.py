"""A second process that is a flow's driver, on the same cluster: what it finds in a cache, the first has put there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.experiment import WORKERS
from runner_lab.benchmarks.measuring import quiescence
from runner_lab.flows.experiments.calls import CachedCall
from runner_lab.runners import catalog
from runner_lab.runners.engine import ClusterSettings
from runner_lab.runners.isolation.supervised import module, supervised

LIMIT_S = 300.0
"""For the process to import Prefect, attach, run and end; nothing is judged by it."""


class SecondDriverError(RuntimeError):
    """The second process did not end, or not well; the message is one line."""


def drive(
    arm: str,
    address: str | None,
    plan: Sequence[CachedCall],
    ledger: Path,
    folder: Path,
    variables: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Run `flows.experiments.equivalence.visits` under the arm, in a process of its own.

    Args:
        address: of the arm's cluster; None where a runner makes what it needs.
        folder: existing, for the files of this one call.
        variables: environment variables that are other than here.

    Returns:
        What the flow saw of each call, with the process id of the driver as `driver`.

    Raises:
        SecondDriverError: it failed, or took longer than `LIMIT_S`.
    """
    asked = folder / "second-driver.json"
    asked.write_text(json.dumps({"plan": [asdict(visit) for visit in plan], "ledger": str(ledger)}))
    log = folder / "second-driver.log"
    log.unlink(missing_ok=True)
    with supervised(
        module(__name__, arm, address or "", str(asked)), log, {**os.environ, **(variables or {})}
    ) as driver:
        code = driver.ended(LIMIT_S)
    if code is None:
        raise SecondDriverError(f"the second driver did not end within {LIMIT_S:.0f} s")
    if code:
        said = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
        raise SecondDriverError(f"the second driver failed: {said[-1]}")
    seen: list[dict[str, Any]] = json.loads(_answer(asked).read_text())
    return seen


def _answer(asked: Path) -> Path:
    return asked.with_suffix(".answer.json")


def main(arm: str, address: str, asked: str) -> None:
    found = catalog.load()
    (spec,) = found.select([arm], WORKERS)

    from runner_lab.flows.experiments.equivalence import visits

    told = json.loads(Path(asked).read_text())
    engine = found.engine(spec)
    scratch = Path(asked).parent
    flow: Any = visits
    with ExitStack() as stack:
        stack.callback(quiescence.send_rest)
        if not spec.direct:
            settings = ClusterSettings(address=address or None)
            cluster = stack.enter_context(engine.cluster(WORKERS, settings, scratch)) if address else None
            flow = visits.with_options(task_runner=engine.task_runner(spec, cluster, scratch))
        seen = flow([CachedCall(**visit) for visit in told["plan"]], told["ledger"], spec.direct)
    _answer(Path(asked)).write_text(json.dumps([{**asdict(one), "driver": os.getpid()} for one in seen]))


if __name__ == "__main__":
    main(*sys.argv[1:])
