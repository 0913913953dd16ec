"""The search for METG: which durations are measured, decided by what the run has measured so far.

It needs no memory but the records, so that a run that was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runner_lab.benchmarks.session.plan import PlannedCell, Search
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record
from runner_lab.reports.analysis.metg import Sample, next_duration

SHORTEST_S, LONGEST_S = 1e-3, 2.0
STEPS_A_RUN = 16
"""What a search with the usual noise never needs; see `docs/method.md`."""
FEWEST_A_BLOCK = 4


def steps_a_block(blocks: int) -> int:
    """Cells that a search may measure in one block."""
    return max(FEWEST_A_BLOCK, -(-STEPS_A_RUN // blocks))


def durations(
    search: Search, records: Iterable[Record], measure: Callable[[PlannedCell], Record], blocks: int
) -> list[Record]:
    """Measure one block's part of a search.

    It ends for this block when METG is known, when the next duration has been measured in this block already, when a
    cell fails, or after its share of steps. What later blocks have measured is not looked at: a run that is resumed
    takes the same steps again, and finds their records.

    Args:
        records: of the run so far.
        measure: gives a cell's record, now measured or found.
        blocks: of the run.
    """
    guess = search.lab_graph.work
    own = [r for r in records if r.status == "ok" and _of(r, search)]
    samples = [_sample(r) for r in own if r.block < search.block]
    # A run that is resumed for more blocks had more steps in each of its first.
    steps = max(steps_a_block(blocks), sum(r.block == search.block for r in own))
    taken: dict[float, Record] = {}
    while len(taken) < steps:
        seconds = next_duration(samples, guess.seconds, SHORTEST_S, LONGEST_S)
        if seconds is None or seconds in taken:
            break
        taken[seconds] = record = measure(search.at(seconds))
        if record.status != "ok":
            break
        samples.append(_sample(record))
    return list(taken.values())


def _of(record: Record, search: Search) -> bool:
    """Whether the record is of a cell of the search, in whichever block."""
    if not isinstance(record.graph, GraphSpec) or record.graph.work.kind != search.lab_graph.work.kind:
        return False
    return record.cell == search.at(record.graph.work.seconds).id.of_any_block()


def _sample(record: Record) -> Sample:
    assert isinstance(record.graph, GraphSpec)
    makespan = record.phases.makespan_s
    return Sample(record.graph.work.seconds, record.ideal_s / makespan if makespan else 0.0)
