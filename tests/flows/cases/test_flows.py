"""The real flows, made small: the right value under each runner, whoever computes it."""

from __future__ import annotations

import asyncio
import csv
import math
import random
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from runner_lab.flows.cases import inputs, slow_server
from runner_lab.flows.cases.catalog import CASES

LIMIT_S = 300.0
TINY: dict[str, dict[str, Any]] = {
    "http_calls": {"calls": 6, "slowest_ms": 60},
    "http_calls_async": {"calls": 6, "slowest_ms": 60},
    "csv_etl": {"files": 3, "rows": 400},
    "thumbnails": {"count": 3, "width": 300},
    "text_features": {"texts": 3, "words": 200},
    "model_grid": {"samples": 200, "trees": 3},
    "sql_loads": {"batches": 4, "rows": 50},
    "big_frames": {"parts": 2, "megabytes": 0.4},
    "many_small": {"tasks": 30},
}


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path_factory, request):
    """Inputs of the session's own."""
    folder = getattr(request.config, "_cases_cache", None) or tmp_path_factory.mktemp("cases")
    request.config._cases_cache = folder
    monkeypatch.setenv(inputs.FOLDER, str(folder))


def flow_of(name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(f"runner_lab.flows.cases.{CASES[name].module}"), name)


def ran(flow: Any, parameters: dict[str, Any]) -> Any:
    return asyncio.run(flow(**parameters)) if flow.isasync else flow(**parameters)


def orders() -> dict[str, int]:
    return {"orders": 6, "cents": sum(slow_server.order(number)["amount"] for number in range(6))}


def sales() -> dict[str, int]:
    """By the csv module, a line at a time."""
    totals: Counter[str] = Counter()
    for file in inputs.sales_files(3, 400):
        seen = set()
        for row in csv.DictReader(file.open()):
            town = row["town"].strip().title()
            if town and row["receipt"] not in seen:
                seen.add(row["receipt"])
                totals[town] += round(float(row["price"][:-4].replace(",", ".")) * 100) * int(row["pieces"])
    return dict(sorted(totals.items()))


def texts() -> dict[str, float]:
    """Without the likeness of halves."""
    files = [re.findall(r"\w+", file.read_text().lower()) for file in inputs.articles(3, 200)]
    entropies = [-sum(n / len(f) * math.log2(n / len(f)) for n in Counter(f).values()) for f in files]
    return {
        "words": sum(map(len, files)) / 3,
        "vocabulary": pytest.approx(sum(len(set(file)) for file in files) / 3, abs=1e-5),
        "entropy": pytest.approx(sum(entropies) / 3, abs=1e-5),
    }


def loaded() -> dict[str, int]:
    customers: Counter[int] = Counter()
    for batch in range(4):
        draw = random.Random(batch)
        for _ in range(50):
            customer, _, cents = draw.randrange(5000), draw.randrange(2000), draw.randrange(100, 100_000)
            customers[customer] += cents
    return {
        "loaded": 200,
        "customers": len(customers),
        "orders": 200,
        "cents": sum(customers.values()),
        "most": max(customers.values()),
    }


def prices() -> dict[str, int]:
    articles = [number if number % 3 else number // 6 for number in range(30)]
    return {"tasks": 30, "cents": sum(zlib.crc32(str(article).encode()) % 10_000 for article in articles)}


EXPECTED: dict[str, Callable[[], dict[str, Any]]] = {
    "http_calls": orders,
    "http_calls_async": orders,
    "csv_etl": sales,
    "thumbnails": lambda: {"files": 9},
    "text_features": texts,
    "model_grid": lambda: {"models": 24},
    "sql_loads": loaded,
    "big_frames": lambda: {"rows": 20_000},
    "many_small": prices,
}
"""What is known of each result without the flow; the rest must be the same under every runner."""


def test_every_case_has_a_flow_of_its_name_and_is_tested():
    assert set(TINY) == set(EXPECTED) == set(CASES)
    for name, case in CASES.items():
        assert case.file.is_file()
        assert flow_of(name).fn.__name__ == name


@pytest.mark.parametrize(("module", "library"), [(c.module, name) for c in CASES.values() for name in c.libraries])
def test_a_library_that_is_missing_is_one_line(module, library, tmp_path, users_environment):
    name = f"runner_lab.flows.cases.{module}"
    program = f"import runpy, sys; sys.modules[{library!r}] = None; runpy.run_module({name!r}, run_name='__main__')"

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=users_environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )

    assert done.returncode == 2
    assert done.stderr == f"{library} is not installed: pip install 'runner-lab[cases]'\n"


def test_a_row_that_is_doubled_counts_once(tmp_path):
    from runner_lab.flows.cases.csv_etl import clean, revenue_by_town

    source = tmp_path / "sales.csv"
    rows = ['7,08:00:00, Bremen,A-1,2,"1,50 EUR"', '7,09:00:00,Aachen,A-1,1,"9,00 EUR"', '8,10:00:00,,A-1,1,"1,00 EUR"']
    source.write_text("\n".join(["receipt,time,town,article,pieces,price", *rows]))

    assert revenue_by_town.fn(clean.fn(source, tmp_path)) == {"Bremen": 300}


LOCAL = ("threads", "lean-threads")
REMOTE = ("processes", "lean-dask", "ray", "lean-processes", "dask", "lean-ray")
PAIRS = [
    *((arm, case) for arm in LOCAL for case in CASES),
    # Every flow in other processes twice, under stock and lean; all of these runners, in turns.
    *((REMOTE[(place + turn) % len(REMOTE)], case) for turn in (0, 3) for place, case in enumerate(CASES)),
]


@pytest.mark.slow
@pytest.mark.usefixtures("lab_server")
@pytest.mark.parametrize(("arm", "case"), PAIRS)
def test_the_right_value_under_every_runner(arm, case, arms, cluster_for, scratch, request):
    spec = arms.arms[arm].with_workers(2)
    runner = arms.engine(spec).task_runner(spec, cluster_for(spec), scratch)

    result = ran(flow_of(case).with_options(task_runner=runner, timeout_seconds=LIMIT_S), TINY[case])

    known = EXPECTED[case]()
    assert {key: result[key] for key in known} == known
    first = request.config.__dict__.setdefault("_cases_results", {}).setdefault(case, result)
    assert result == pytest.approx(first) if case == "big_frames" else result == first


CHANGES: dict[str, dict[str, Any]] = {
    "http_calls_async": {"gather": True},
    "text_features": {"direct": True},
    "model_grid": {"n_jobs": 1},
    "big_frames": {"by_file": True},
    "many_small": {"batch": 7},
}
"""What docs/faster.md changes in them."""


@pytest.mark.slow
@pytest.mark.usefixtures("lab_server")
@pytest.mark.parametrize("case", CHANGES)
def test_a_change_for_speed_leaves_the_result(case):
    known = EXPECTED[case]()
    result = ran(flow_of(case).with_options(timeout_seconds=LIMIT_S), TINY[case] | CHANGES[case])
    assert {key: result[key] for key in known} == known
