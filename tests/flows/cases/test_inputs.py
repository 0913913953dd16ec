"""What the real flows read and talk to: the same every time, and gone when it is not needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import create_engine, text

from runner_lab.flows.cases import companion, inputs, services, slow_server
from runner_lab.runners.isolation.waiting import last_within

LIMIT_S = 120.0
MAKERS = {
    "sales": lambda: inputs.sales_files(2, 50),
    "photos": lambda: inputs.photos(2, 90),
    "articles": lambda: inputs.articles(2, 60),
    "readings": lambda: inputs.readings(2, 0.01),
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv(inputs.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", MAKERS)
def test_made_again_it_is_the_same(kind, cache):
    first = {path.name: path.read_bytes() for path in MAKERS[kind]()}
    shutil.rmtree(cache)
    again = {path.name: path.read_bytes() for path in MAKERS[kind]()}

    assert len(first) == 2
    assert again == first
    assert len(set(first.values())) == 2


def test_it_is_made_once_and_whole(cache):
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "a").write_text("a")

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        inputs.prepared("one", fail)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: inputs.prepared("one", make), range(4)))
    inputs.prepared("one", fail)

    assert folders == {cache / "one"}
    assert [path.name for path in cache.iterdir()] == ["one"]
    assert [path.name for path in (cache / "one").iterdir()] == ["a"]


def test_the_service_answers_many_at_once_and_ends():
    with services.order_service(slowest_ms=300) as address, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: httpx.get(f"{address}/orders/{n}", timeout=LIMIT_S).json(), range(20)))

    assert answers == [slow_server.order(number) for number in range(20)]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/orders/1")


def test_its_delays_are_the_same_every_time_and_as_asked_for():
    delays = [slow_server.delay_s(number, 500) for number in range(300)]

    assert delays == [slow_server.delay_s(number, 500) for number in range(300)]
    assert 0.05 <= min(delays) < 0.06
    assert 0.4 < max(delays) <= 0.5
    assert slow_server.delay_s(7, 20) == 0.05


def test_what_runs_beside_a_process_ends_when_that_is_killed(tmp_path):
    program = (
        "import sys, time; from runner_lab.flows.cases.services import order_service\n"
        "with order_service(60) as address:\n    print(address, flush=True)\n    time.sleep(600)\n"
    )
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=variables) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline().strip()
        family = psutil.Process(parent.pid).children(recursive=True)
        assert httpx.get(f"{address}/orders/1", timeout=LIMIT_S).status_code == 200
        parent.send_signal(signal.SIGKILL)

    assert len(family) == 2
    assert last_within(lambda: not any(process.is_running() for process in family), LIMIT_S)
    assert last_within(lambda: not list(tmp_path.glob("orders-*")), LIMIT_S)


def test_what_does_not_start_says_its_last_line(tmp_path):
    command = [sys.executable, "-c", "print('starting', flush=True); raise SystemExit('no room left')"]

    with (
        pytest.raises(RuntimeError, match="did not start: no room left"),
        companion.beside(command, tmp_path, lambda: False),
    ):
        pass


def test_without_postgres_there_is_sqlite_that_takes_many_writers(monkeypatch):
    from runner_lab.flows.cases import sql_loads

    monkeypatch.setattr(services, "_initdb", lambda: None)
    with services.database() as address:
        assert address.startswith("sqlite:///")
        _create_and_load(sql_loads, address)


@pytest.mark.skipif(services._initdb() is None, reason="PostgreSQL is not installed here")
def test_with_postgres_there_is_one_of_the_flows_own_which_ends():
    from runner_lab.flows.cases import sql_loads

    with services.database() as address:
        assert address.startswith("postgresql")
        folder = Path(address.rpartition("=")[2])
        _create_and_load(sql_loads, address)
        server = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]))
        assert server.uids().real != 0

    assert not server.is_running()
    assert not folder.exists()


def _create_and_load(sql_loads, address: str) -> None:
    engine = create_engine(address)
    with engine.begin() as connection:
        for statement in sql_loads.TABLES:
            connection.execute(text(statement))
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda batch: sql_loads.load.fn(address, batch, 100), range(8)))
    with engine.connect() as connection:
        customers, orders, *_ = connection.execute(sql_loads.TOTALS).one()
        assert connection.execute(text("SELECT count(*) FROM orders")).scalar_one() == sum(loaded) == orders == 800
    engine.dispose()
    assert 500 < customers < 800
