"""The lab's side of the processes in which a user's flow runs: one for each arm, ended at the limit of a pass."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.compare import driver
from runner_lab.benchmarks.compare.user_flow import LoadedFlow
from runner_lab.benchmarks.compare.user_runs import FlowFailedError, FlowSite, Passed
from runner_lab.benchmarks.measuring.measure import error_line
from runner_lab.benchmarks.session.plan import CellError, PlannedCell
from runner_lab.benchmarks.session.stages import Limits, Say
from runner_lab.records.record import FlowRun
from runner_lab.runners.catalog import Catalog
from runner_lab.runners.engine import ClusterSettings, Engine
from runner_lab.runners.isolation.supervised import Supervised, module
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.server import Server
from runner_lab.runners.spec import RunnerSpec

_POLL_S = 0.05
_START_LIMIT_S = 900.0
"""For the process to import Prefect and to start its cluster; nothing is judged by it."""
_REPLY_LIMIT_S = 120.0
"""For what follows the flow's return: its result is pickled."""
_END_LIMIT_S = 40.0


@dataclass(frozen=True)
class Order:
    """What the process is to run.

    path: where it finds modules (`sys.path`).
    module, flow: the flow's, by which it is imported there.
    profile: folder for the entries of its profile; None where none is taken.
    """

    path: list[str]
    module: str
    flow: str
    parameters: dict[str, Any]
    arm: RunnerSpec
    engine: Engine
    settings: ClusterSettings
    server: Server
    limits: Limits
    profile: str | None = None


class DriverProcess:
    """One process, with the cluster that its arm runs on.

    Args:
        home: a folder of its own that does not exist yet, with a short path.

    Raises:
        CellError: it does not come up.
    """

    def __init__(self, order: Order, home: Path) -> None:
        self._limit_s = order.limits.cell_s
        self._home = home
        self._passes = 0
        home.mkdir()
        order_file = home / "order"
        order_file.write_bytes(pickle.dumps(order))
        self._process = Supervised(module(driver.__name__, str(order_file), str(home)), asked=True)
        self._busy = True
        try:
            self._come_up()
        except BaseException:
            self.kill()
            raise

    def _come_up(self) -> None:
        ready, refused = self._home / driver.READY, self._home / driver.REFUSED
        last_within(lambda: ready.exists() or refused.exists() or self._process.over(), _START_LIMIT_S, _POLL_S)
        if refused.exists():
            raise CellError(refused.read_text()[:300])
        if not ready.exists():
            raise CellError(self._end("before it could run the flow"))
        self._busy = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, measured: bool, judged: bool) -> Passed:
        """One pass of the flow.

        Raises:
            FlowFailedError: it took longer than its limit and was stopped, or the process ended.
        """
        self._passes += 1
        self._busy = True
        begun, returned, reply = (
            self._home / f"{name}-{self._passes}" for name in (driver.BEGUN, driver.RETURNED, driver.REPLY)
        )
        self._process.ask({"number": self._passes, "measured": measured, "judged": judged})
        over = self._process.over
        last_within(lambda: begun.exists() or over(), _START_LIMIT_S, _POLL_S)
        if not last_within(lambda: returned.exists() or over(), self._limit_s, _POLL_S):
            self.kill()
            raise FlowFailedError(
                f"TimeoutError: not done after {self._limit_s:g} s (--cell-timeout), and stopped", FlowRun({})
            )
        last_within(lambda: reply.exists() or over(), _REPLY_LIMIT_S, _POLL_S)
        if not reply.exists():
            raise FlowFailedError(self._end("while it ran the flow"), FlowRun({}))
        passed: Passed = pickle.loads(reply.read_bytes())
        reply.unlink()
        self._busy = False
        return passed

    def _end(self, when: str) -> str:
        if not self._process.over():
            return f"the flow's process did not answer {when}"
        return f"the flow's process ended {when}: {self._process.how_it_ended()}"

    def close(self) -> None:
        """End it when its cluster has stopped; at once while the flow runs."""
        if not self._busy and not self._process.over():
            self._process.ask_no_more()
            self._process.ended(_END_LIMIT_S)
        self.kill()

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        self._process.end_with_guard(self._home)


class Drivers:
    """The sites of a comparison's cells: a process for each arm, started when its first cell comes.

    It is kept for the whole run where it holds no cluster; a cluster is up while its arm is measured, and no longer.

    Args:
        warm: one pass under an arm that is not measured: no cell pays for imports and first connections.
        say: told of what does not stop.
        resized: gives an arm the slots that it is to have when its process starts.
        profile: folder that has one for each arm, for the entries of a profile; None where none is taken.
    """

    def __init__(
        self,
        user: LoadedFlow,
        catalog: Catalog,
        server: Server,
        scratch: Path,
        limits: Limits,
        warm: Callable[[PlannedCell, FlowSite], None],
        say: Say = lambda line: None,
        profile: Path | None = None,
        resized: Callable[[RunnerSpec], RunnerSpec] = lambda arm: arm,
    ) -> None:
        self._user = user
        self._resized = resized
        self._profile = profile
        self._catalog = catalog
        self._server = server
        self._scratch = scratch
        self._limits = limits
        self._warm_up = warm
        self._say = say
        self._up: dict[str, DriverProcess] = {}
        self._with_cluster: tuple[str, int] | None = None
        self._started = 0
        self._last: str | None = None

    @contextmanager
    def ready(self, cell: PlannedCell) -> Iterator[FlowSite]:
        """The site for `cell`: its arm's process up, and warm.

        Raises:
            CellError: it does not come up, or the flow fails.
        """
        arm, engine = cell.arm.name, self._catalog.engine(cell.arm)
        self._last = arm
        if self._with_cluster and self._with_cluster != (arm, cell.block):
            self._close(self._with_cluster[0])
        try:
            fresh = arm not in self._up
            if fresh:
                self._start(cell)
            site = FlowSite(
                self._server,
                engine,
                None,
                self._scratch,
                self._limits.cell_s,
                self._limits.quiet_s,
                self._up[arm],
            )
            if fresh:
                self._warm_up(cell, site)
            yield site
        except BaseException:
            # What went wrong may have left it in any state: the next cell gets a new one.
            self.drop()
            raise

    def _start(self, cell: PlannedCell) -> None:
        arm, engine = self._resized(cell.arm), self._catalog.engine(cell.arm)
        self._started += 1
        order = Order(
            path=[*sys.path],
            module=self._user.module,
            flow=self._user.name,
            parameters=self._user.parameters,
            # The options of a declared runner may be anything, and its maker has them.
            arm=replace(arm, options=_address(arm)) if arm.as_declared else arm,
            engine=engine,
            settings=self._catalog.settings(arm),
            server=self._server,
            limits=self._limits,
            profile=None if self._profile is None else str(self._profile / arm.name),
        )
        self._up[arm.name] = DriverProcess(order, self._scratch / f"f{self._started}")
        if engine.shares(arm):
            self._with_cluster = (arm.name, cell.block)

    def drop(self) -> None:
        """End the process of the last cell at once."""
        if self._last in self._up:
            self._end(self._last, lambda process: process.kill())

    def close(self) -> None:
        """End all processes; what does not stop is told, and left to the guard."""
        for arm in list(self._up):
            self._close(arm)

    def _close(self, arm: str) -> None:
        if arm in self._up:
            self._end(arm, lambda process: process.close())

    def _end(self, arm: str, how: Callable[[DriverProcess], None]) -> None:
        if self._with_cluster and self._with_cluster[0] == arm:
            self._with_cluster = None
        try:
            how(self._up.pop(arm))
        except Exception as error:
            self._say(f"warning: the process of {arm} did not stop as it should: {error_line(error)}")


def _address(arm: RunnerSpec) -> dict[str, Any]:
    return {"address": arm.options["address"]} if isinstance(arm.options.get("address"), str) else {}
