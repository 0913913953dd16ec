"""One run of the lab: from the options of the command line to records on disk."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
import time
from collections.abc import Container, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from runner_lab.benchmarks.measuring import environment, lab_graphs, measure, quiescence
from runner_lab.benchmarks.measuring.remote_cluster import check_slots, refuse_another_host
from runner_lab.benchmarks.measuring.server_runs import UnansweredError
from runner_lab.benchmarks.profiles import Profile, Suite, Thrift
from runner_lab.benchmarks.session import forecast
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.benchmarks.session.drawn import Draws, draws
from runner_lab.benchmarks.session.interrupts import Interrupts
from runner_lab.benchmarks.session.options import Options, UsageError, blocks, check, round_trip_s, server_settings
from runner_lab.benchmarks.session.plan import CellError, Drawn, PlannedCell, Search, Stage, Wide, applies, order
from runner_lab.benchmarks.session.progress import Progress
from runner_lab.benchmarks.session.run_folder import RunFolder, new_folder, now
from runner_lab.benchmarks.session.search import durations
from runner_lab.benchmarks.session.stages import Limits, Say, Stages
from runner_lab.benchmarks.session.thrift import spared
from runner_lab.benchmarks.session.workload import CellSites, SessionWorkload
from runner_lab.records.cell_id import CellId
from runner_lab.records.graph import AnyGraph, GraphSpec
from runner_lab.records.record import Record
from runner_lab.records.run_plan import LeftOut, RunPlan
from runner_lab.runners import catalog as catalogs
from runner_lab.runners.catalog import Catalog
from runner_lab.runners.far_api import far_url, refuse_https
from runner_lab.runners.isolation.environment import environment as lab_environment
from runner_lab.runners.isolation.environment import free_port, isolated, no_main_module
from runner_lab.runners.isolation.guard import guarded, new_scratch
from runner_lab.runners.server import Server, ServerError, existing_server, lab_server, without_password
from runner_lab.runners.spec import RunnerSpec

_REST_LIMIT_S = 60.0
"""For the server after a cell that failed; on one that others use as well it never comes to rest."""


class Session:
    """A run: planned in `__init__`, started by `start`, fed cell by cell, closed by `close`.

    Its environment is set from the first moment: to plan it may take the import of a user's runner, and so of Prefect.

    Raises:
        UsageError, ArmError, ConfigError, RecordError: the options make no run.
    """

    def __init__(self, workload: SessionWorkload, options: Options, say: Say = lambda line: None) -> None:
        self._workload = workload
        self.options = options
        self._say = say
        self._stack = ExitStack()
        self._stages: CellSites | None = None
        self._folder: RunFolder | None = None
        self._began_s = time.monotonic()
        self.progress = Progress(())
        check(options)
        self._earlier = RunFolder.resume(options.resume) if options.resume else None
        asked_s = round_trip_s("--lab-api-latency", options.api_latency)
        self._api_latency_s = self._earlier.plan.api_latency_s if self._earlier else asked_s
        self._scratch = new_scratch()
        self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        try:
            self._isolate(options)
            self._plan(options)
        except BaseException:
            self.release()
            raise

    def _isolate(self, options: Options) -> None:
        self._port = free_port()
        self._relay_port = free_port()
        api_url = (options.api_url or f"http://127.0.0.1:{self._port}/api").rstrip("/")
        if self._api_latency_s:
            refuse_https(api_url)
            api_url = far_url(api_url, self._relay_port)
        self._stack.enter_context(isolated(lab_environment(self._scratch / "home", api_url)))

    def _plan(self, options: Options) -> None:
        earlier = self._earlier
        if options.out:
            RunFolder.refuse_taken(options.out)
        self.profile: Profile = self._workload.profile(
            options, earlier.plan.profile if earlier else None, self._scratch
        )
        if earlier and earlier.plan.baseline != self.profile.baseline:
            raise UsageError(
                f"--lab-resume {options.resume}: its arms are compared with {earlier.plan.baseline}, and this lab "
                f"compares with {self.profile.baseline}: start a new run"
            )
        self.catalog: Catalog = self._workload.catalog(catalogs.load(options.config or catalogs.default_config()))
        self.workers = earlier.plan.workers if earlier else options.workers or environment.usual_workers()
        self.blocks = blocks(options, earlier.plan.blocks if earlier else self.profile.blocks)
        self._without: list[str] = []
        if earlier:
            names = list(earlier.plan.arms)
        else:
            names = list(self._workload.arms(options, self.profile))
            if options.runners is None:
                names, self._without = self.catalog.default(names)
        if self.profile.suitable_slots:
            # Elsewhere suites resize arms, and cells of one arm in different slots belong together.
            self.catalog = self.catalog.resized(names)
        self.arms: list[RunnerSpec] = self._arms(names, earlier.plan if earlier else None)
        self.catalog.refuse_missing(self.arms)
        for arm in self.arms:
            self._workload.check_arm(arm)
        self._positions: dict[CellId, int] = {}

    def _arms(self, names: Sequence[str], earlier: RunPlan | None) -> list[RunnerSpec]:
        """The arms with their worker slots: those of the run that is resumed, or as many as were asked for, or suit."""
        each = self.profile.suitable_slots and not self.options.workers
        arms = self.catalog.select(names, None if each and not earlier else self.workers, environment.cores())
        if earlier and earlier.slots:
            arms = [arm if arm.as_declared else arm.with_workers(earlier.slots[arm.name]) for arm in arms]
        return [arm for arm in arms if not self._workload.repeats(arm, self.catalog)]

    @property
    def folder(self) -> RunFolder:
        """The run's, from `start` on."""
        assert self._folder is not None
        return self._folder

    @property
    def path(self) -> Path | None:
        """The folder's, None before `start`."""
        return self._folder.path if self._folder else None

    @property
    def records(self) -> Sequence[Record]:
        """What is measured so far, with what the run had that is resumed; nothing before `start`."""
        return [*self._folder.records.values()] if self._folder else []

    def cells(self, suite: Suite) -> list[PlannedCell]:
        """All cells of one suite, unordered."""
        if suite.drawn:
            return self._drawn_cells(suite)
        blocks = min(self.blocks, self.profile.first_blocks.get(suite.name, self.blocks))
        make = Search if suite.search else Wide if suite.wide else PlannedCell
        return [
            make(suite.name, graph, arm, block, self._stage(arm, suite), suite.cold, self.profile.baseline)
            for graph in self.profile.graphs(suite.name)
            for base in self.arms
            if suite.takes(base) and self._applies(suite, graph, base, suite.cold)
            for arm in self._sizes(base, suite)
            for block in range(blocks)
        ]

    def _drawn_cells(self, suite: Suite) -> list[PlannedCell]:
        """As far from Prefect's API as the run is, or as is asked for."""
        count, seed = self.profile.draws
        if far_s := round_trip_s("--lab-draws-latency", self.options.draws_latency):
            suite = replace(suite, api_latency_s=far_s)
        # Other work for each distance: what a cell is known by does not have it.
        found = draws(count, f"{seed} at {far_s}" if far_s else seed, self.workers)
        return [
            Drawn(
                suite.name,
                draw.graph,
                arm,
                block,
                self._stage(arm, suite),
                draw.cold,
                slots=None if draw.free else self.workers,
            )
            for draw in found
            for arm in self.arms
            if suite.takes(arm) and self._applies(suite, draw.graph, arm, draw.cold)
            for block in range(2)
        ]

    def order(self, cells: Iterable[PlannedCell]) -> list[PlannedCell]:
        """The cells in the order of the run; on a resumed run, those it had selected."""
        selected = set(self._earlier.plan.cells) if self._earlier else set()
        # By arm, since not every suite has all of them: which one comes first is the profile's to say.
        place = {arm.name: i for i, arm in enumerate(self.arms)}
        by_arm = sorted(cells, key=lambda cell: place[cell.arm.name])
        # Drawn work that is asked for now is new to the run.
        new = self.options.draws is not None
        ordered = order(
            cell
            for cell in by_arm
            if not selected or (new and isinstance(cell, Drawn)) or cell.id.of_any_block() in selected
        )
        counts: dict[int, int] = {}
        for cell in ordered:
            self._positions[cell.id] = counts.setdefault(cell.block, 0)
            counts[cell.block] += 1
        self.progress = Progress(ordered, self._will_be_spared, self._repeats_s)
        return ordered

    def start(self) -> None:
        """Make the run's folder, start the server, see that every arm can start.

        Raises:
            ArmError, ServerError, RecordError: before anything is measured.
        """
        for line in self._without:
            self._say(f"warning: {line}")
        self._began_s = time.monotonic()
        scratch = self._stack.enter_context(guarded(self._scratch))
        self._interrupts = self._stack.enter_context(Interrupts())
        self._stack.enter_context(no_main_module())
        for arm in self.arms:
            self.catalog.check(arm)
            if (address := self._attached(arm)) and (self._api_latency_s or not self.options.api_url):
                refuse_another_host(arm.name, address, relayed=bool(self._api_latency_s))
        given = bool(self.options.workers or self._earlier)
        resizable = [arm for arm in self.arms if not arm.as_declared]
        for warning in check_slots(resizable, self.catalog, self.workers, given, scratch):
            self._say(f"warning: {warning}")
        self._server = self._start_server(scratch / "home")
        places = ApiPlaces(self._server.api_url, scratch, self._stack, {self._api_latency_s: self._relay_port})
        places.url(self._api_latency_s)
        self._folder = self._earlier or RunFolder.create(*self._new_folder())
        self._before = tuple(self.folder.records)
        self._draws = Draws(self.folder.path)
        before = self._earlier.plan.cells if self._earlier else ()
        planned = (cell.of_any_block() for cell in self._positions)
        cells = tuple(dict.fromkeys([*before, *planned]))
        self.folder.save(planned_cells=self._planned(), blocks=self.blocks, cells=cells)
        for warning in self.folder.warnings:
            self._say(f"warning: {warning}")
        self._environment = environment.describe(self._server, self.profile.name, self._api_latency_s)
        limits = Limits(cell_s=self._cell_timeout_s)
        self._first_flow(Stages(self.catalog, self._server, places, scratch, limits, lab_graphs.warm_up, self._say))
        self._stages = self._workload.stages(self.catalog, self._server, places, scratch, limits, self._say)

    def _first_flow(self, stages: Stages) -> None:
        """Run one: the first flow of a process pays for imports and caches.

        Raises:
            ServerError: it failed.
        """
        direct = self.catalog.arms["sequential"]
        stage = Stage(direct.name, 1, self._api_latency_s)
        try:
            with stages.ready(PlannedCell("startup", GraphSpec(width=1), direct, 0, stage)):
                # The warm-up that comes with it is the flow.
                pass
        except Exception as error:
            raise ServerError(
                f"a first flow failed on {self._server.api_url}: {measure.error_line(error)}; `runner-lab doctor` says "
                "whether these versions go together"
            ) from error
        finally:
            stages.close()

    def left_out(self, cell: PlannedCell) -> str | None:
        """Why `cell` is not to be measured, in words; then the run goes on without it.

        One that is too long is missing from the run, which tells; one that is spared is not.
        """
        if cell.id in self.folder.records:
            return None
        records = [*self.folder.records.values()]
        if isinstance(cell, Drawn):
            if reason := self._draws.spared(cell, records):
                self._spare(cell)
            return reason
        if isinstance(cell, Wide) and (reason := forecast.too_long(cell, records, self._cell_timeout_s)):
            self.progress.left_out(cell)
            left_out = (*self.folder.plan.left_out, LeftOut(cell.id, reason))
            self.folder.save(planned_cells=self._planned(), left_out=left_out)
            return reason
        if (reason := self._thrifty(cell)) is not None:
            self._spare(cell)
        return reason

    def _thrifty(self, cell: PlannedCell) -> str | None:
        """Why a run with a limit would not measure `cell`, by what is known now; None where it would."""
        thrift = self._thrift
        if thrift is None or isinstance(cell, Drawn) or cell.id in self._known():
            return None
        shares_gil = self.catalog.traits(cell.arm).slots_share_gil is True
        expected_s = partial(self.progress.expected_s, cell)
        return spared(cell, self.records, thrift, time.monotonic() - self._began_s, expected_s, shares_gil)

    def _will_be_spared(self, cell: PlannedCell) -> bool:
        """As far as is known: what there is to say of drawn work is known when the rest is measured."""
        if isinstance(cell, Drawn):
            return self.progress.only_drawn and not self._draws.expected(cell, self.records)
        return self._thrifty(cell) is not None

    def _known(self) -> Container[CellId]:
        return self._folder.records if self._folder else ()

    @property
    def _thrift(self) -> Thrift | None:
        """None where every cell is measured: the profile has no limit, or the user has set the repeats."""
        return None if self.blocks != self.profile.blocks or self.options.blocks is not None else self.profile.thrift

    def _repeats_s(self) -> float:
        return self._thrift.end_s - (time.monotonic() - self._began_s) if self._thrift else math.inf

    def _spare(self, cell: PlannedCell) -> None:
        self.progress.left_out(cell)
        self.folder.save(planned_cells=self._planned())

    def _planned(self) -> int:
        """Measurements of the run: those planned here, and those that it had before of other cells."""
        return self.progress.total + sum(id not in self._positions for id in self._before)

    def measure(self, cell: PlannedCell) -> list[Record]:
        """The records of `cell`: measured now, and on disk, or those of the run that is resumed.

        One, but of a search as many as it takes, all of them in its place in the block.
        """
        position = self._positions[cell.id]
        if isinstance(cell, Search):
            known = self.folder.records.values()
            records = durations(cell, known, lambda step: self._measured(step, position), self.blocks)
        elif isinstance(cell, Drawn):
            decided = self._draws.at(cell)
            self._positions[decided.id] = position
            records = [self._measured(decided, position)]
        else:
            records = [self._measured(cell, position)]
        self.progress.done(cell, records)
        if isinstance(cell, Search):
            self._positions |= {record.id: position for record in records}
            self.folder.save(planned_cells=self._planned())
        return records

    def prepare(self, cell: PlannedCell) -> str | None:
        """Bring up what `cell` is measured on and warm it up; why that failed, in one line."""
        stages = self._started()
        try:
            with stages.ready(cell):
                return None
        except Exception as error:
            self._come_to_rest(stages)
            return str(error) if isinstance(error, CellError) else measure.error_line(error)

    def _measured(self, cell: PlannedCell, position: int) -> Record:
        self._interrupts.raise_lost()
        record = self.folder.records.get(cell.id)
        if record is None:
            stages = self._started()
            blank = measure.blank_record(cell, self.folder.plan.run_id, self._environment)
            record = measure.measure(cell, position, stages.ready, blank, self._workload.measure)
            self.folder.add(record)
            if record.status == "error":
                self._come_to_rest(stages)
        return record

    def _started(self) -> CellSites:
        assert self._stages is not None
        return self._stages

    def _come_to_rest(self, stages: CellSites) -> None:
        """Leave nothing of a cell that failed to the next: tasks may still run in its cluster, or be on their way."""
        stages.drop()
        # Of a server that does not answer the next cell will tell.
        with suppress(UnansweredError):
            quiescence.wait_still(self._server.api_url, _REST_LIMIT_S)

    def close(self, interrupted: bool) -> None:
        """Stop everything; what was measured stays."""
        try:
            if self._stages is not None:
                self._stages.close()
                quiescence.send_rest()
        finally:
            try:
                self.release()
            finally:
                if self._stages is not None:
                    self.folder.finish(interrupted or self.progress.left > 0)

    def release(self) -> None:
        """Server, guard and environment; a second call does no harm."""
        self._stack.close()

    def _stage(self, arm: RunnerSpec, suite: Suite) -> Stage:
        shared = arm.bare or self.catalog.engine(arm).shares(arm)
        latency_s = self._api_latency_s if suite.api_latency_s is None else suite.api_latency_s
        return Stage(arm.engine if shared else arm.name, arm.workers, latency_s)

    def _applies(self, suite: Suite, graph: AnyGraph, arm: RunnerSpec, cold: bool) -> bool:
        if suite.api_latency_s and (self.options.api_url or "").startswith("https"):
            return False
        return applies(graph, arm, cold, bool(self._attached(arm)), suite.api_latency_s is not None)

    def _attached(self, arm: RunnerSpec) -> str | None:
        return self.catalog.engine(arm).attached(arm, self.catalog.settings(arm))

    def _sizes(self, arm: RunnerSpec, suite: Suite) -> list[RunnerSpec]:
        """The arm with the suite's numbers of workers: the run's own, or for one that is `resized` 1, 2, 4, ... up to
        the cores and once beyond.

        Nothing where the number is not the lab's to set.
        """
        if not suite.resized and suite.slots is None:
            return [arm]
        engine = self.catalog.engine(arm)
        if not engine.resizable(arm, self.catalog.settings(arm)):
            return []
        if suite.slots is not None:
            return [arm.with_workers(suite.slots)] if engine.reach == "process" else []
        powers = [2**i for i in range(20) if 2**i <= 2 * environment.cores()]
        return [arm.with_workers(n) for n in sorted({arm.workers, *powers})]

    @property
    def _cell_timeout_s(self) -> float:
        given = self.options.cell_timeout_s
        return self.profile.cell_timeout_s if given is None else given

    def _start_server(self, home: Path) -> Server:
        if self.options.api_url:
            return existing_server(self.options.api_url)
        said = 0.0

        def waiting(waited_s: float) -> None:
            nonlocal said
            if waited_s - said >= 5:
                said = waited_s
                self._say(f"starting the lab's Prefect server, {waited_s:.0f} s so far (13 s is usual)")

        self._say("starting the lab's Prefect server")
        return self._stack.enter_context(
            lab_server(
                home,
                self.options.database_url,
                self._port,
                waiting,
                settings=server_settings(self.options.server_settings),
                counted=self.profile.counted,
            )
        )

    def _new_folder(self) -> tuple[Path, RunPlan]:
        path = self.options.out or new_folder(self._workload.label(self.profile))
        plan = RunPlan(
            run_id=path.resolve().name,
            profile=self.profile.name,
            arms=tuple(arm.name for arm in self.arms),
            blocks=self.blocks,
            workers=self.workers,
            baseline=self.profile.baseline,
            command=without_password(self.options.command or shlex.join([self._workload.program, *sys.argv[1:]])),
            started_at=now(),
            api_latency_s=self._api_latency_s,
            traits={arm.name: self.catalog.traits(arm) for arm in self.arms},
            slots={arm.name: arm.workers for arm in self.arms} if self.profile.suitable_slots else {},
        )
        return path, plan
