"""Run a flow of the user's once, as its author wrote it, and write down what its tasks did."""

from __future__ import annotations

from pathlib import Path

from runner_lab.benchmarks.advise import reading
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
from runner_lab.records.record import YOURS, Record
from runner_lab.runners.catalog import Catalog
from runner_lab.runners.server import Server


class ProfiledFlow(UserFlow):
    """The workload of a profile: the flow under its own runner, one pass, every task run noted."""

    def __init__(self, asked: FlowRequest) -> None:
        super().__init__(asked)
        self._entries: Path | None = None

    @property
    def entries(self) -> Path:
        """Folder for what the flow's processes note, from the start of the session on and until its end."""
        assert self._entries is not None
        return self._entries

    def arms(self, asked: Options, profile: Profile) -> list[str]:
        return [YOURS]

    def label(self, profile: Profile) -> str:
        return super().label(profile).replace("compare-", "advise-", 1)

    def stages(
        self, catalog: Catalog, server: Server, places: ApiPlaces, scratch: Path, limits: Limits, say: Say
    ) -> Drivers:
        self._entries = scratch / "profile"
        self._entries.mkdir()
        return Drivers(self.loaded, catalog, server, scratch, limits, _cold, say, self._entries)


def _cold(cell: PlannedCell, site: FlowSite) -> None:
    """No pass to warm up: the flow runs once."""


class ProfileError(ValueError):
    """The flow did not run to its end; one line for the user."""


def profile(session: Session, flow: ProfiledFlow) -> FlowProfile:
    """Run the flow, and read what was noted; the profile is saved in the run's folder, and the session is over.

    Args:
        session: planned with `flow`, and started.

    Raises:
        ProfileError: the flow failed, or was stopped.
        NoProfileError: it left no trace.
        KeyboardInterrupt: Ctrl-C.
    """
    cells = compare.plan(session, flow)
    sampler = Sampler(flow.entries)
    found: list[FlowProfile] = []

    def read(record: Record) -> None:
        sampler.stop()
        if record.status != "ok" or record.value_s is None:
            raise ProfileError(f"the flow cannot be profiled: {record.error}")
        found.append(reading.read(flow.entries, _described(session, flow, record)))

    sampler.start()
    try:
        if compare.run(session, flow, cells, read):
            raise KeyboardInterrupt
    finally:
        sampler.stop()
    found[0].save(session.folder.path)
    return found[0]


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
