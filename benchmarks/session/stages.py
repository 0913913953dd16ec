"""Clusters come and go with the stages of a block: started before its warm cells, warmed once an arm, stopped after."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner_lab.benchmarks.measuring.measure import Site, error_line
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.benchmarks.session.plan import CellError, PlannedCell, Stage
from runner_lab.runners.catalog import Catalog
from runner_lab.runners.engine import Cluster
from runner_lab.runners.server import Server

Say = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """Seconds: one pass of a cell, and how long the server may record nothing more of it before it counts as done."""

    cell_s: float = 300.0
    quiet_s: float = 60.0


class Stages:
    """At most one stage's cluster is up at a time.

    Args:
        places: where Prefect's API is for the cells of a stage.
        warm: one pass under an arm, so that no cell pays for what the first use of a worker costs.
        say: told of a cluster that does not stop.
    """

    def __init__(
        self,
        catalog: Catalog,
        server: Server,
        places: ApiPlaces,
        scratch: Path,
        limits: Limits,
        warm: Callable[[PlannedCell, Site], None],
        say: Say = lambda line: None,
    ) -> None:
        self._catalog = catalog
        self._server = server
        self._places = places
        self._scratch = scratch
        self._limits = limits
        self._warm_up = warm
        self._say = say
        self._stack = ExitStack()
        self._stage: tuple[Stage, int] | None = None
        self._cluster: Cluster | None = None
        self._warm: set[str] = set()
        self._failed: dict[tuple[Stage, int], str] = {}

    @contextmanager
    def ready(self, cell: PlannedCell) -> Iterator[Site]:
        """The site for `cell`: its stage's cluster up and its arm warm, or nothing up where it is cold.

        Raises:
            CellError: the stage's cluster did not start, now or for an earlier cell of this stage and block.
        """
        if cell.cold:
            self.close()
            self._catalog.engine(cell.arm).cool()
            with self._places.at(cell.stage.api_latency_s):
                yield self._site(cell, None)
            return
        self._enter(cell)
        try:
            site = self._site(cell, self._cluster)
            self._warm_once(cell, site)
            yield site
        except BaseException:
            # What went wrong may have left the cluster in any state: the next cell gets a new one.
            self.close()
            raise

    def drop(self) -> None:
        """Stop what the last cell was measured on: all that is up."""
        self.close()

    def close(self) -> None:
        """Stop what is up. What of it does not stop is told, and left to the guard: it is not the next cell's fault."""
        self._stage, self._cluster, self._warm = None, None, set()
        stack, self._stack = self._stack, ExitStack()
        try:
            stack.close()
        except Exception as error:
            self._say(f"warning: a cluster did not stop as it should: {error_line(error)}")

    def _site(self, cell: PlannedCell, cluster: Cluster | None) -> Site:
        return Site(
            server=self._server,
            engine=self._catalog.engine(cell.arm),
            cluster=cluster,
            scratch=self._scratch,
            limit_s=self._limits.cell_s,
            quiet_limit_s=self._limits.quiet_s,
        )

    def _enter(self, cell: PlannedCell) -> None:
        stage = (cell.stage, cell.block)
        if stage in self._failed:
            raise CellError(self._failed[stage])
        if stage == self._stage:
            return
        self.close()
        # Before its cluster, whose processes are told where the API is when they start.
        self._stack.enter_context(self._places.at(cell.stage.api_latency_s))
        engine, settings = self._catalog.engine(cell.arm), self._catalog.settings(cell.arm)
        if engine.shares_cluster and not engine.shares(cell.arm):
            self._stage, self._cluster = stage, engine.own_cluster(cell.arm)
            return
        folder = Path(tempfile.mkdtemp(prefix="s", dir=self._scratch))
        try:
            self._cluster = self._stack.enter_context(engine.cluster(cell.arm.workers, settings, folder))
        except Exception as error:
            self._failed[stage] = f"the {engine.name} cluster did not start: {error_line(error)}"
            raise CellError(self._failed[stage]) from error
        self._stage = stage

    def _warm_once(self, cell: PlannedCell, site: Site) -> None:
        """Once while its cluster is up. A pool that is new in every flow run has nothing to keep warm."""
        if cell.arm.name in self._warm or site.engine.warm_for == "flow run":
            return
        self._warm_up(cell, site)
        self._warm.add(cell.arm.name)
