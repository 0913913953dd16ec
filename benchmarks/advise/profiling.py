"""Run a flow of the user's once, as its author wrote it, and write down what its tasks did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner_lab.benchmarks.advise import passes, reading
from runner_lab.benchmarks.advise.sampler import Sampler
from runner_lab.benchmarks.compare import compare
from runner_lab.benchmarks.compare.compare import FlowRequest, UserFlow
from runner_lab.benchmarks.compare.driver_process import Drivers
from runner_lab.benchmarks.compare.user_runs import FlowSite
from runner_lab.benchmarks.measuring import environment
from runner_lab.benchmarks.profiles import Profile
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.benchmarks.session.options import Options
from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.benchmarks.session.session import Session
from runner_lab.benchmarks.session.stages import Limits, Say
from runner_lab.records.flow_profile import FlowProfile
from runner_lab.records.record import BASELINE, CONTROL, YOURS, Record
from runner_lab.runners.catalog import Catalog
from runner_lab.runners.server import Server
from runner_lab.runners.spec import RunnerSpec

UNCROWDED = (BASELINE, CONTROL)
"""Names of the passes after the first, with fewer threads each."""
_HINDERED = 0.3
"""Share of the tasks' time that they wait for the GIL or a core from which there is a second pass."""
_LEAST_CPU_S = 0.5
_LONGEST = 1.5
"""Another pass is to take at most so many times as long as the first, if its tasks wait as long as is known by then."""


class ProfiledFlow(UserFlow):
    """The workload of a profile: the flow under its own runner, one pass, every task run noted.

    Tasks in one process make each other slower, and may wait for a service that they share. Where they do there is a
    second pass, under fewer threads: it tells what a task computes and waits by itself. The longer they waited in the
    first, the more threads the second has. If waits are shorter in it, there is a third pass with fewer threads.

    Args:
        once: never take another pass.
    """

    def __init__(self, asked: FlowRequest, once: bool = False) -> None:
        super().__init__(asked)
        self._entries: Path | None = None
        self._once = once
        self.few = 0
        """Threads of the newest pass after the first."""

    def entries(self, arm: str) -> Path:
        """Folder for what the flow's processes note under an arm, from the start of the session on until its end."""
        assert self._entries is not None
        return self._entries / arm

    def arms(self, asked: Options, profile: Profile) -> list[str]:
        return [YOURS] if self._once else [YOURS, *UNCROWDED]

    def label(self, profile: Profile) -> str:
        return super().label(profile).replace("compare-", "advise-", 1)

    def stages(
        self, catalog: Catalog, server: Server, places: ApiPlaces, scratch: Path, limits: Limits, say: Say
    ) -> Drivers:
        self._entries = scratch / "profile"
        for arm in (YOURS, *UNCROWDED):
            self.entries(arm).mkdir(parents=True)

        def resized(arm: RunnerSpec) -> RunnerSpec:
            return arm if arm.name == YOURS else replace(catalog.arms[BASELINE].with_workers(self.few), name=arm.name)

        return Drivers(self.loaded, catalog, server, scratch, limits, _cold, say, self._entries, resized)


def _cold(cell: PlannedCell, site: FlowSite) -> None:
    """No pass to warm up: the flow runs once."""


class ProfileError(ValueError):
    """The flow did not run to its end; one line for the user."""


def profile(session: Session, flow: ProfiledFlow, cells: Sequence[PlannedCell]) -> FlowProfile:
    """Run the flow, and read what was noted; the profile is saved in the run's folder, and the session is over.

    Args:
        session: planned with `flow`, and started.

    Raises:
        ProfileError: the flow failed, or was stopped.
        NoProfileError: it left no trace.
        KeyboardInterrupt: Ctrl-C.
    """
    in_process = session.catalog.engine(session.catalog.arms[YOURS]).reach == "process"
    samplers = [Sampler(flow.entries(YOURS))]
    found: list[FlowProfile] = []

    def read(record: Record) -> None:
        samplers[-1].stop()
        if record.status == "ok" and record.value_s is not None:
            one = reading.read(flow.entries(record.arm), _described(session, flow, record))
            found.append(passes.uncrowded(found[0], one, flow.few) if found else one)
        elif not found:
            raise ProfileError(f"the flow cannot be profiled: {record.error}")
        else:
            raise _EnoughError
        if not in_process or len(samplers) == len(cells) or not (few := fewer_threads(found)):
            raise _EnoughError
        flow.few = few
        samplers.append(Sampler(flow.entries(cells[len(samplers)].arm.name)))
        samplers[-1].start()

    samplers[0].start()
    try:
        if compare.run(session, flow, cells, read):
            raise KeyboardInterrupt
    except _EnoughError:
        session.folder.save(planned_cells=len(samplers), interrupted=False)
    finally:
        samplers[-1].stop()
    found[-1].save(session.folder.path)
    return found[-1]


class _EnoughError(Exception):
    """No further pass is needed."""


def fewer_threads(found: Sequence[FlowProfile]) -> int:
    """Threads for another pass, where the tasks hindered each other; 0 where none is worth its time.

    Args:
        found: the first pass, of tasks in one process, and what it is with each further one.
    """
    first, newest = found[0], found[-1]
    if len(found) > 1 and not newest.crowding:
        return 0
    submitted = list(first.submitted)
    lasted_s = sum(run.end_s - run.start_s for run in submitted)
    hindered_s = sum(run.queued_s for run in submitted)
    cpu_s = sum(run.cpu_s for run in submitted)
    if hindered_s < _HINDERED * lasted_s or cpu_s < _LEAST_CPU_S:
        return 0
    if any(step.kind in ("submit", "wait") for run in first.runs for step in run.steps):
        # Tasks that wait for tasks of their own could hold all of few threads.
        return 0
    few = max(first.cores, math.ceil(_alone_s(newest, first.cores) / (_LONGEST * first.wall_s)))
    many = min((one.few for one in newest.crowding.values()), default=lasted_s / max(first.fn_s, 1e-9))
    return few if few < 0.5 * many else 0


def _alone_s(profile: FlowProfile, slots: int) -> float:
    """What all tasks take, each beside `slots` - 1 others, as far as the profile tells that."""
    waits = {task: crowding.at(slots)[1] for task, crowding in profile.crowding.items()}
    return sum(run.alone_s + run.wait_s * (waits.get(run.task, 1.0) - 1) for run in profile.runs)


def _described(session: Session, flow: ProfiledFlow, record: Record) -> reading.Described:
    yours, usage = session.catalog.arms[YOURS], record.usage
    peaks = [] if usage is None else [usage.driver_rss_bytes, usage.workers_rss_bytes]
    return reading.Described(
        name=flow.spec.name,
        runner=flow.spec.own_runner or "ThreadPoolTaskRunner",
        engine=yours.engine,
        slots=yours.workers,
        cores=environment.cores(),
        wall_s=record.value_s or 0.0,
        peak_bytes=sum(peak or 0.0 for peak in peaks) or None,
    )
