"""What a session measures under each arm: its own graphs, or (`benchmarks.compare`) a flow of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from runner_lab.benchmarks.measuring import lab_graphs
from runner_lab.benchmarks.measuring.measure import Site
from runner_lab.benchmarks.profiles import Profile
from runner_lab.benchmarks.session import options
from runner_lab.benchmarks.session.options import Options
from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.records.record import Record
from runner_lab.runners.spec import RunnerSpec


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

    def label(self, profile: Profile) -> str:
        """What a new run's folder is called, after its time."""

    def warm_up(self, cell: PlannedCell, site: Site) -> None:
        """One pass that is not measured: no cell pays for what the first use of a worker costs."""

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

    def label(self, profile: Profile) -> str:
        return profile.name

    def warm_up(self, cell: PlannedCell, site: Site) -> None:
        lab_graphs.warm_up(cell, site)

    def measure(self, cell: PlannedCell, site: Site, blank: Record) -> Record:
        return lab_graphs.measure_graph(cell, site, blank)
