"""What a session measures under each arm: its own graphs, or (`benchmarks.compare`) a flow of the user's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from runner_lab.benchmarks.measuring import lab_graphs
from runner_lab.benchmarks.measuring.measure import Site
from runner_lab.benchmarks.profiles import Profile
from runner_lab.benchmarks.session import options
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.benchmarks.session.options import Options
from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.benchmarks.session.stages import Limits, Say, Stages
from runner_lab.records.record import Record
from runner_lab.runners.catalog import Catalog
from runner_lab.runners.server import Server
from runner_lab.runners.spec import RunnerSpec


class CellSites(Protocol):
    """Brings up what cells are measured on, one after another, and keeps it up as long as cells share it."""

    def ready(self, cell: PlannedCell) -> AbstractContextManager[Site]:
        """The site for `cell`, up and warm.

        Raises:
            CellError: it does not come up.
        """

    def drop(self) -> None:
        """Stop what the last cell was measured on, which may be in any state."""

    def close(self) -> None:
        """Stop what is up; never raises for what does not stop."""


class SessionWorkload(Protocol):
    """`program` is what the run's command line begins with."""

    program: str

    def profile(self, asked: Options, resumed: str | None, scratch: Path) -> Profile:
        """What is measured; called once, in the lab's environment.

        Args:
            resumed: the profile of the run that is resumed, by its name.
            scratch: folder for files.

        Raises:
            UsageError: it cannot be.
        """

    def arms(self, asked: Options, profile: Profile) -> list[str]:
        """Names of the arms of a new run.

        Raises:
            UsageError: none is named.
        """

    def check_arm(self, arm: RunnerSpec) -> None:
        """
        Raises:
            ArmError: it cannot be measured under this arm.
        """

    def catalog(self, catalog: Catalog) -> Catalog:
        """`catalog` with the arms that only this workload has; called once it has its profile."""

    def repeats(self, arm: RunnerSpec, catalog: Catalog) -> bool:
        """Whether an arm would be another one's runner once more, and so is not measured."""

    def label(self, profile: Profile) -> str:
        """What a new run's folder is called, after its time."""

    def stages(
        self, catalog: Catalog, server: Server, places: ApiPlaces, scratch: Path, limits: Limits, say: Say
    ) -> CellSites:
        """What brings up what each cell is measured on.

        Args:
            places: where Prefect's API is; what a process starts finds it where its own environment says.
            scratch: folder for files, with a short path.
            say: told of what does not stop.
        """

    def measure(self, cell: PlannedCell, site: Site, blank: Record) -> Record:
        """One pass; `blank` with what came of it.

        Raises:
            CellError: its figures mean nothing.
        """


class LabGraphs:
    """The suites of a profile."""

    program = "pytest"

    def profile(self, asked: Options, resumed: str | None, scratch: Path) -> Profile:
        return options.profile(asked, resumed)

    def arms(self, asked: Options, profile: Profile) -> list[str]:
        return options.names(asked.runners, profile)

    def check_arm(self, arm: RunnerSpec) -> None:
        """All of them."""

    def catalog(self, catalog: Catalog) -> Catalog:
        return catalog

    def repeats(self, arm: RunnerSpec, catalog: Catalog) -> bool:
        return False

    def label(self, profile: Profile) -> str:
        return profile.name

    def stages(
        self, catalog: Catalog, server: Server, places: ApiPlaces, scratch: Path, limits: Limits, say: Say
    ) -> CellSites:
        return Stages(catalog, server, places, scratch, limits, lab_graphs.warm_up, say)

    def measure(self, cell: PlannedCell, site: Site, blank: Record) -> Record:
        return lab_graphs.measure_graph(cell, site, blank)
