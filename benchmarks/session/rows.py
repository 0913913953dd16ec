"""One row a cell in pytest-benchmark's table and JSON: R blocks become R rounds."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import asdict
from typing import Any

from runner_lab.benchmarks.session.plan import PlannedCell, Search
from runner_lab.records.cell_id import CellId
from runner_lab.records.record import Record


def test_id(cell: PlannedCell) -> str:
    graph = cell.lab_graph.work.kind if isinstance(cell, Search) else cell.graph.id
    return f"{graph}-{cell.id.arm_label}-block{cell.block}"


def merge(benchmarks: Iterable[Any], records: Iterable[Record]) -> list[Any]:
    """The first of each cell's benchmarks, with the values of all its blocks as rounds; cells without one fall out.

    Args:
        benchmarks: `pytest_benchmark.stats.Metadata`, one a test, with the ids of its `cells`: a search has several.
        records: all of the run, those of before a resume among them.
    """
    by_cell: dict[CellId, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.block):
        if record.status == "ok" and record.value_s is not None:
            by_cell.setdefault(record.cell, []).append(record)
    merged: dict[CellId, Any] = {}
    for benchmark in benchmarks:
        for cell in benchmark.extra_info.get("cells", ()):
            if cell in by_cell and cell not in merged:
                merged[cell] = _row(copy(benchmark), by_cell[cell])
    return list(merged.values())


def _row(benchmark: Any, records: list[Record]) -> Any:
    first = records[0]
    shown = f"{first.graph.id}-{first.cell.arm_label}"
    name = f"bench_{first.suite}[{shown}]"
    benchmark.name = name
    benchmark.fullname = f"{benchmark.fullname.partition('::')[0]}::{name}"
    benchmark.group = f"{first.suite} {first.graph.id}"
    benchmark.param = shown
    benchmark.params = {"arm": first.arm, "graph": asdict(first.graph)}
    benchmark.stats = type(benchmark.stats)()
    for record in records:
        benchmark.stats.update(record.value_s)
    benchmark.fixture.has_error = False
    benchmark.extra_info = {
        "cell": str(first.cell),
        "engine": first.engine,
        "workers": first.workers,
        "tasks": first.tasks,
        "blocks": [record.block for record in records],
        "measures": [_measures(record) for record in records],
    }
    return benchmark


def _measures(record: Record) -> dict[str, Any]:
    """What pytest-benchmark has no column for, of one block."""
    return {
        **asdict(record.phases),
        **asdict(record.usage),
        **{
            f"{name.removesuffix('_s')}_{label}_s": _rank(values, share)
            for name, values in asdict(record.latencies).items()
            for label, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
        },
        "executions": record.executions,
        "recorded": record.recorded,
        "expected_recorded": record.expected_recorded,
        "visibility_lag_s": record.visibility_lag_s,
    }


def _rank(ordered: tuple[float, ...], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
