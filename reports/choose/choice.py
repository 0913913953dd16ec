"""Which arm for a given piece of work: ranked by predicted time, with the reason and what would change the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner_lab.records.cell_id import DRAWN
from runner_lab.reports.analysis import batching
from runner_lab.reports.analysis.batching import Batched
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.choose import ranking
from runner_lab.reports.choose.alternatives import Batch, Change, batch_of, changes_of, half_used_from
from runner_lab.reports.choose.asking import MEASURE
from runner_lab.reports.choose.distance import Distance, distance_of
from runner_lab.reports.choose.ranking import BEYOND, Request, place, simplicity, time_s
from runner_lab.reports.model import costs
from runner_lab.reports.model.costs import CPU_KINDS, Bottleneck
from runner_lab.reports.model.model import ArmModel
from runner_lab.reports.words import units

VAGUE = 4.0
"""Upper over lower end of an interval from which a prediction is called worthless."""


@dataclass(frozen=True)
class Ranked:
    """An arm's prediction: time with the 90 % interval of one run, core-seconds, memory, and what decides the time.

    slots: bodies at a time: those asked for, else the fewest with which the arm is as fast as with any number.
    memory_bytes: of driver and workers, `slot_bytes` for each slot.
    slot_bytes: what one more slot takes, where a slot is a process.
    recorded_s: seconds until Prefect's server would have taken every task run down, where it was seen to fall behind.
    efficiency: the bodies' own time on all workers over the predicted time; `None` for empty tasks.
    caveat: what no stopwatch shows, in one sentence.
    has_slots: their number is to be chosen, unlike that of direct calls and of an event loop.
    """

    arm: str
    engine: str
    slots: int
    seconds: float
    low: float
    high: float
    cpu_s: float | None
    memory_bytes: float | None
    recorded_s: float | None
    efficiency: float | None
    bottleneck: Bottleneck
    leads: bool
    slot_bytes: float | None = None
    caveat: str = ""
    has_slots: bool = True


@dataclass(frozen=True)
class Answer:
    """`ranked` has the named arm first, then the others by time.

    measured_workers: the numbers of workers that the run has measured, ascending.
    measured_batch:   what batches of like items gained in the run, under the arm that batching is advised for, else the
                      named one.
    """

    request: Request
    run_id: str
    ranked: tuple[Ranked, ...]
    measured_workers: tuple[int, ...]
    batch: Batch | None
    measured_batch: Batched | None
    half_s: float | None
    """Duration of a task from which the named arm spends at least half of its time on the bodies."""
    changes: tuple[Change, ...]
    cautions: tuple[str, ...]
    distance: Distance | None = None
    without_async: Ranked | None = None
    """The arm to name where tasks are no async functions, if the named one needs them to be."""

    @property
    def leaders(self) -> tuple[Ranked, ...]:
        return tuple(arm for arm in self.ranked if arm.leads)


class CannotChoose(ValueError):
    """The run has no arm to choose from; one line for the user."""


def choose(summary: Summary, request: Request) -> Answer:
    """Rank the run's arms for a request.

    Raises:
        CannotChoose: the run's cells carry no model of any arm, or no cold start where one is asked for.
    """
    models = _placed(summary, request)
    if not models:
        raise CannotChoose(
            f"run {summary.run.run_id} cannot answer: it needs two widths of empty tasks"
            + (" and the startup suite" if request.cold else "")
            + f"; measure them with: {MEASURE}"
        )
    named = ranking.named(models, request)
    ranked = rank(summary, request)
    batch = batch_of(models, request)
    batching_arm = next((m for m in models if batch and m.arm.label == batch.arm), named)
    return Answer(
        request=request,
        run_id=summary.run.run_id,
        ranked=ranked,
        measured_workers=_measured_workers(models),
        batch=batch,
        measured_batch=batching.nearest(summary, batching_arm.arm.name, request.kind, request.seconds),
        half_s=half_used_from(named, request),
        changes=tuple(changes_of(models, request, named)),
        cautions=(*_vague(ranked), *_cautions(summary, request, models)),
        without_async=without_async(summary, request, ranked),
        distance=distance_of(candidates(summary, request.cold, request.kind), request),
    )


def rank(summary: Summary, request: Request) -> tuple[Ranked, ...]:
    """The arms that can be predicted, the named one first, the others by time; nothing where there is none."""
    models = _placed(summary, request)
    if not models:
        return ()
    leading = ranking.leaders(models, request)
    order = [leading[0], *sorted((m for m in models if m is not leading[0]), key=lambda m: time_s(m, request))]
    return tuple(_ranked(m, request, summary, m in leading) for m in order)


def without_async(summary: Summary, request: Request, ranked: Sequence[Ranked]) -> Ranked | None:
    """The arm to name where tasks are no async functions, if the one that is named needs them to be."""
    models = _placed(summary, request)
    loops = {found.arm.label for found in models if found.costs.event_loop}
    others = [found for found in models if not found.costs.event_loop]
    if not ranked or ranked[0].arm not in loops or not others:
        return None
    label = ranking.named(others, request).arm.label
    return next(arm for arm in ranked if arm.arm == label)


def candidates(summary: Summary, cold: bool, kind: str = "none") -> list[ArmModel]:
    """The arms that can be predicted, simplest first.

    No event loop for work that computes: it is made for waiting, and one body would stop all others.
    """
    models = [
        m
        for m in summary.model.arms
        if (not cold or m.costs.cold_s is not None) and not (m.costs.event_loop and kind in CPU_KINDS)
    ]
    return sorted(models, key=lambda m: simplicity(m.arm))


def _placed(summary: Summary, request: Request) -> list[ArmModel]:
    """The candidates, as far from Prefect's API as the request has it."""
    return [found.away(request.api_latency_s) for found in candidates(summary, request.cold, request.kind)]


def _ranked(found: ArmModel, request: Request, summary: Summary, leads: bool) -> Ranked:
    work, slots, here = request.workload(), place(found, request).slots, found.on(request.cores)
    predicted = here.predict(work, request.cold, slots)
    limit = found.costs.server_tasks_per_s
    driver_bytes, workers_bytes, slot_bytes = memory(found, summary)
    return Ranked(
        arm=found.arm.label,
        engine=found.arm.engine,
        slots=slots,
        has_slots=found.arm.has_slots,
        seconds=predicted.seconds,
        low=predicted.low,
        high=predicted.high,
        cpu_s=costs.cpu_seconds(found.costs, work) if found.cores else None,
        memory_bytes=None
        if driver_bytes is None
        else driver_bytes + (workers_bytes if slot_bytes is None else slot_bytes * slots) + work.payload_bytes,
        recorded_s=work.tasks / limit if limit and work.tasks / limit > predicted.seconds else None,
        efficiency=min(here.ideal_s(work, slots) / predicted.seconds, 1.0) if work.body_s else None,
        bottleneck=costs.bottleneck(found.costs, work, slots, here.cores),
        leads=leads,
        slot_bytes=slot_bytes,
        caveat=units.printable(found.arm.traits.caveat, 200),
    )


def memory(found: ArmModel, summary: Summary) -> tuple[float | None, float, float | None]:
    """The highest that the run saw without a payload, bytes: of the driver, of all workers, and of each slot that is a
    process."""
    cells = (c for c in summary.cells if c.arm == found.arm.name and not c.resized and not c.graph.payload_bytes)
    # Who draws work has the run's answers in its process as well.
    own = [c.peak_rss_bytes for c in cells if c.suite != DRAWN]
    driver = max((rss.driver for rss in own if rss.driver is not None), default=None)
    workers = max((rss.workers for rss in own if rss.workers is not None), default=0.0)
    return driver, workers, workers / found.costs.measured_slots if found.costs.starts_slots else None


def _vague(ranked: Sequence[Ranked]) -> list[str]:
    wide = max(arm.high / arm.low for arm in ranked if arm.leads)
    if wide < VAGUE:
        return []
    return [
        f"This run tells little: an interval spans a factor of {min(wide, 1000):.0f}. Measure on an idle machine with "
        f"{MEASURE.replace('quick', 'full')}."
    ]


def _cautions(summary: Summary, request: Request, models: Sequence[ArmModel]) -> list[str]:
    work = request.workload()
    tasks = max(m.reach.tasks for m in models)
    body_s = max(m.reach.body_s for m in models)
    payload_bytes = max(m.reach.payload_bytes for m in models)
    lines = [*_workers(request, models), *_distance(request, summary)]
    beyond = [
        f"{told} (measured up to {limit})"
        for over, told, limit in (
            (work.tasks > BEYOND * tasks, units.plural(work.tasks, "task"), f"{tasks}"),
            (work.body_s > BEYOND * body_s > 0, units.exactly(work.body_s), units.exactly(body_s)),
            (
                work.payload_bytes > BEYOND * payload_bytes > 0,
                f"{units.size(work.payload_bytes)} of payload",
                units.size(payload_bytes),
            ),
        )
        if over
    ]
    if beyond:
        lines.append(f"The model extrapolates: {units.listed(beyond)}.")
    if work.kind != "none" and all(work.kind not in m.reach.kinds for m in models):
        gil = " Slots are assumed to share a GIL if they share a process." if work.kind == "spin" else ""
        lines.append(f"The run measured no {work.kind} tasks: their cost is taken from the others.{gil}")
    if work.payload_bytes and all(m.costs.payload_s is None for m in models):
        lines.append("The run measured no payload: moving it is assumed to cost nothing.")
    if summary.model.skipped:
        lines.append(f"Not measured enough for a prediction: {units.listed(summary.model.skipped)}.")
    missing = [m.arm.label for m in summary.model.arms if request.cold and m.costs.cold_s is None]
    if missing:
        lines.append(f"No cold start was measured for {units.listed(missing)}.")
    if summary.run.partial:
        lines.append(f"From a PARTIAL run: {summary.run.partial}.")
    if summary.paired_blocks == 1:
        lines.append("Measured once, in one block: the intervals come from the model's errors alone.")
    error = summary.model.median_error
    lines.append(
        "No cell could be left out to test the model."
        if error is None
        else f"On cells left out of the fit the model was {units.percent(error)} off (median of "
        f"{len(summary.model.held_out)})."
    )
    return lines


def _workers(request: Request, models: Sequence[ArmModel]) -> list[str]:
    measured = _measured_workers(models)
    if request.workers is None or not measured or request.workers in measured:
        return []
    if request.workers > measured[-1]:
        return [
            f"{request.workers} workers are more than the {measured[-1]} that were measured: the model extrapolates, "
            f"and assumes that the machine has {_cores_of(request, models)}."
        ]
    counts = units.listed([str(count) for count in measured])
    return [f"{units.plural(request.workers, 'worker')}, predicted by the model: {counts} were measured."]


def _distance(request: Request, summary: Summary) -> list[str]:
    """Whether the run cannot tell the effect of the distance that is asked about."""
    asked_s = request.api_latency_s
    unknown = [
        found.arm.label
        for found in summary.model.arms
        if asked_s not in (None, found.costs.api_latency_s) and found.costs.api_trips is None
    ]
    if asked_s is None or not unknown:
        return []
    return [
        f"The run has not measured what a distant API does to {units.listed(unknown)}: measure with "
        f"--lab-api-latency {units.exactly(asked_s).replace(' ', '')}, or the full profile."
    ]


def _measured_workers(models: Sequence[ArmModel]) -> tuple[int, ...]:
    """Of the arms that have a choice of them."""
    return tuple(sorted({n for m in models if m.arm.has_slots for n in m.reach.worker_counts}))


def _cores_of(request: Request, models: Sequence[ArmModel]) -> str:
    cores = request.cores or next((m.cores for m in models if m.cores), None)
    return "as many cores as it had" if cores is None else units.plural(cores, "core")
