"""R blocks become one row of R rounds."""

from __future__ import annotations

import re
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from pytest_benchmark.stats import Metadata

from runner_lab.benchmarks.session import rows
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Latencies, Usage


@pytest.fixture
def tested(make_cell):
    """pytest-benchmark's own metadata of a test that measured a cell, as its fixture leaves it."""

    def metadata(cell):
        fixture = SimpleNamespace(
            name=f"bench_{cell.suite}[{rows.test_id(cell)}]",
            fullname=f"benchmarks/bench_{cell.suite}.py::bench_{cell.suite}[{rows.test_id(cell)}]",
            group=None,
            param=rows.test_id(cell),
            params={"cell": cell},
            extra_info={"cells": [cell.id.of_any_block()]},
            cprofile_stats=None,
            cprofile=False,
            has_error=True,
        )
        made = Metadata(
            fixture,
            iterations=1,
            options={"disable_gc": False, "timer": None, "min_rounds": 1, "max_time": 1, "min_time": 1, "warmup": 0},
        )
        made.update(99.0)  # the time of the whole test, cluster and quiet included
        return made

    return metadata


def test_the_values_of_all_blocks_become_rounds(tested, make_cell, make_record):
    cells = [make_cell("dask", block) for block in range(3)]
    records = [make_record(cell, value_s) for cell, value_s in zip(cells, [3.0, 1.0, 2.0], strict=True)]

    (row,) = rows.merge([tested(cell) for cell in cells], records)

    assert (row.name, row.group) == ("bench_overhead[plain-w2-dask]", "overhead plain-w2")
    assert row.fullname == "benchmarks/bench_overhead.py::bench_overhead[plain-w2-dask]"
    assert sorted(row.stats.data) == [1.0, 2.0, 3.0]
    assert (row.stats.rounds, row.stats.min, row.stats.median, row.stats.max) == (3, 1.0, 2.0, 3.0)
    assert row.has_error is False
    assert row.extra_info["blocks"] == [0, 1, 2]


def test_a_failed_block_is_no_round_and_a_cell_without_any_falls_out(tested, make_cell, make_record):
    half, none = [make_cell("dask", block) for block in range(2)], [make_cell("ray", block) for block in range(2)]
    failed = {"status": "error", "error": "it broke"}
    records = [
        make_record(half[0], **failed),
        make_record(half[1], 5.0),
        *(make_record(cell, **failed) for cell in none),
    ]

    (row,) = rows.merge([tested(cell) for cell in [*half, *none]], records)

    assert row.stats.data == [5.0]
    assert row.extra_info["blocks"] == [1]


def test_a_test_that_was_interrupted_has_no_row(tested, make_cell, make_record):
    cell = make_cell()
    started = tested(cell)
    started.extra_info.clear()

    assert rows.merge([started], [make_record(cell)]) == []


def test_a_search_has_a_row_for_each_of_its_cells(tested, make_cell, make_record):
    cells = [make_cell(graph=GraphSpec(width=width)) for width in (2, 4)]
    test = tested(cells[0])
    test.extra_info["cells"] = [cell.id.of_any_block() for cell in cells]
    known = tested(cells[0])
    known.extra_info["cells"] = []

    found = rows.merge([known, test], [make_record(cell, float(i)) for i, cell in enumerate(cells, start=1)])

    assert [(row.name, row.stats.data) for row in found] == [
        ("bench_overhead[plain-w2-threads]", [1.0]),
        ("bench_overhead[plain-w4-threads]", [2.0]),
    ]
    assert [row.extra_info["cell"] for row in found] == [cell.label for cell in cells]


def test_cells_that_were_not_selected_have_no_row(tested, make_cell, make_record):
    measured_before = make_record(make_cell("ray"))

    assert rows.merge([], [measured_before]) == []


def test_params_name_arm_and_graph_and_are_json(tested, make_cell, make_record):
    import json

    cell = make_cell("dask", graph=GraphSpec(width=3, payload_bytes=10))
    (row,) = rows.merge([tested(cell)], [make_record(cell)])

    assert json.loads(json.dumps(row.params)) == {"arm": "dask", "graph": asdict(cell.graph)}
    assert json.loads(json.dumps(row.extra_info)) == row.extra_info


def test_extra_info_carries_what_has_no_column(tested, make_cell, make_record):
    cell = make_cell()
    record = make_record(
        cell,
        latencies=Latencies(queue_s=tuple(range(100))),
        usage=Usage(driver_cpu_s=0.5),
        executions=7,
        recorded=6,
        visibility_lag_s=0.25,
    )

    (row,) = rows.merge([tested(cell)], [record])

    (measures,) = row.extra_info["measures"]
    assert (measures["queue_p50_s"], measures["queue_p95_s"], measures["queue_p99_s"]) == (50, 95, 99)
    assert measures["seen_p50_s"] is None
    assert (measures["makespan_s"], measures["driver_cpu_s"]) == (1.0, 0.5)
    assert (measures["executions"], measures["recorded"], measures["expected_recorded"]) == (7, 6, 7)
    assert measures["visibility_lag_s"] == 0.25


def test_test_ids_tell_all_cells_of_a_run_apart(make_cell):
    graphs = [GraphSpec(width=2), GraphSpec(width=2, payload_bytes=1), GraphSpec("cached", width=2)]
    ids = [
        rows.test_id(make_cell(arm, block, graph)) for arm in ("dask", "ray") for block in (0, 1) for graph in graphs
    ]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in ids)
