"""A measured cell: right figures on a real server, and an error record for whatever an arm does wrong."""

from __future__ import annotations

import json
import textwrap
import time
import uuid
from contextlib import contextmanager, nullcontext

import pytest

from runner_lab.benchmarks.measuring import clocks, lab_graphs
from runner_lab.benchmarks.measuring import measure as measuring
from runner_lab.benchmarks.measuring.lab_graphs import measure_graph
from runner_lab.benchmarks.measuring.measure import Site, blank_record, error_line, measure
from runner_lab.benchmarks.measuring.quiescence import Recorded, wait_recorded
from runner_lab.flows.graph.wiring import Outcome
from runner_lab.records import record as records
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster
from runner_lab.runners.server import Server
from runner_lab.runners.spec import RunnerSpec

MISBEHAVING = """
from concurrent.futures import Future
from prefect.futures import PrefectConcurrentFuture
from prefect.task_runners import ThreadPoolTaskRunner

class Twice(ThreadPoolTaskRunner):
    def submit(self, *args, **kwargs):
        super().submit(*args, **kwargs).wait()
        return super().submit(*args, **kwargs)

class Reversed(ThreadPoolTaskRunner):
    def submit(self, task, parameters, *args, **kwargs):
        if task.name == "gather":
            parameters = {**parameters, "greetings": parameters["greetings"][::-1]}
        return super().submit(task, parameters, *args, **kwargs)

class Refusing(ThreadPoolTaskRunner):
    def submit(self, *args, **kwargs):
        raise RuntimeError("no more\\nslots")

class Silent(ThreadPoolTaskRunner):
    def submit(self, task, *args, **kwargs):
        import uuid
        if task.name == "gather":
            return PrefectConcurrentFuture(uuid.uuid4(), Future())
        return super().submit(task, *args, **kwargs)

class Quitting(ThreadPoolTaskRunner):
    def __enter__(self):
        raise SystemExit(3)

class Cancelling(ThreadPoolTaskRunner):
    def __enter__(self):
        import asyncio
        raise asyncio.CancelledError("given up")
"""


@pytest.fixture
def site(lab_server, arms, scratch):
    """Where an arm without a shared cluster is measured."""

    def made(arm: RunnerSpec, cluster=None, limit_s: float = 300.0) -> Site:
        return Site(lab_server, arms.engine(arm), cluster, scratch, limit_s, quiet_limit_s=300.0)

    return made


@pytest.fixture
def measured(site):
    """Measure a cell on its site, as a session does."""

    def run(cell, cluster=None, limit_s: float = 300.0):
        @contextmanager
        def ready(cell):
            yield site(cell.arm, cluster, limit_s)

        return measure(cell, 7, ready, blank_record(cell, "run", {}), measure_graph)

    return run


@pytest.fixture
def misbehaving(tmp_path, monkeypatch, make_cell):
    """A cell under one of the classes above, as a user's `runners.toml` would declare it."""
    name = f"misbehaving_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MISBEHAVING))
    monkeypatch.syspath_prepend(tmp_path)

    def cell(kind: str, **changes):
        (tmp_path / "runners.toml").write_text(f'[arms.mine]\nclass = "{name}.{kind}"')
        return make_cell(catalog.load(tmp_path / "runners.toml").arms["mine"], **changes)

    return cell


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "map"])
@pytest.mark.parametrize("arm", ["sequential", "gather", "threads", "bare-threads", "dask", "bare-dask"])
def test_a_cell_has_all_its_figures(arm, variant, make_cell, measured, cluster_for, arms):
    graph = GraphSpec(variant, width=4, work=Work("sleep", 0.02), batch=2)
    cell = make_cell(arm, graph=graph)

    record = measured(cell, cluster_for(cell.arm))

    assert (record.status, record.error) == ("ok", None)
    assert (record.id, record.position, record.workers) == (cell.id, 7, cell.arm.workers)
    assert record.executions == record.expected_executions == graph.executions
    phases = record.phases
    assert 0 < phases.startup_s <= phases.first_result_s <= phases.total_s
    assert 0 <= phases.submit_s <= phases.makespan_s <= phases.total_s
    assert phases.total_s <= record.elapsed_s
    assert phases.makespan_s >= record.ideal_s > 0
    latencies = record.latencies
    assert [len(latencies.queue_s), len(latencies.body_s), len(latencies.seen_s)] == [4, 4, 4]
    assert min(latencies.body_s) >= 2 * 0.02
    assert min(latencies.queue_s) >= 0
    assert min(latencies.seen_s) >= 0
    assert record.usage.driver_cpu_s > 0
    assert record.usage.server_rss_bytes > 0
    if cell.arm.bare:
        assert (record.recorded, record.expected_recorded, record.visibility_lag_s) == (None, 0, None)
    else:
        assert record.recorded == record.expected_recorded == graph.tasks
        assert record.visibility_lag_s >= 0
    assert records.parse(records.to_json(record)) == record


@pytest.mark.slow
def test_a_chain_cell_says_where_its_tasks_time_goes(make_cell, measured):
    graph = GraphSpec("chain", width=15)

    record = measured(make_cell("threads", graph=graph, suite="task_stages"))

    assert (record.status, record.error) == ("ok", None)
    assert record.executions == record.recorded == graph.tasks
    assert record.phases.submit_s is None
    assert (len(record.task_stages.probed_s), len(record.task_stages.unprobed_s)) == (4, 8)
    assert sum(record.task_stages.stages_s.values()) == pytest.approx(sum(record.task_stages.probed_s) / 4)
    assert records.parse(records.to_json(record)) == record


@pytest.mark.slow
def test_a_cached_cell_runs_no_body_in_the_pass_that_is_measured(make_cell, measured):
    record = measured(make_cell(graph=GraphSpec("cached", width=3), suite="cached"))

    assert (record.status, record.error) == ("ok", None)
    assert record.executions == record.expected_executions == 0
    assert record.recorded == 10
    assert record.phases.startup_s is None


@pytest.mark.slow
def test_a_retrying_cell_counts_every_attempt(make_cell, measured):
    record = measured(make_cell(graph=GraphSpec("retrying", width=3, failures=2), suite="retrying"))

    assert (record.status, record.executions, record.recorded) == ("ok", 16, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("Twice", "the pass ran 14 task bodies, 7 were expected"),
        ("Reversed", "wrong result: '2 greetings "),
        ("Refusing", "RuntimeError: no more slots"),
        ("Quitting", "SystemExit: 3"),
        ("Cancelling", "CancelledError"),
    ],
)
def test_what_an_arm_does_wrong_is_an_error_of_one_line(misbehaving, measured, kind, error):
    record = measured(misbehaving(kind))

    assert record.status == "error"
    assert record.error.startswith(error)
    assert "\n" not in record.error
    assert records.parse(records.to_json(record)) == record


@pytest.mark.slow
def test_a_pass_that_takes_too_long_is_an_error(misbehaving, measured):
    record = measured(misbehaving("Silent"), limit_s=3.0)

    assert record.status == "error"
    assert "timed out" in record.error or "Timeout" in record.error
    assert "\n" not in record.error


@pytest.mark.slow
def test_a_body_that_raises_is_an_error(make_cell, measured, monkeypatch):
    from runner_lab.flows.graph import fanout

    # As if the variant's retries had been left out.
    monkeypatch.setattr(fanout, "nodes", lambda spec: fanout._PLAIN[spec.asynchronous])

    record = measured(make_cell(graph=GraphSpec("retrying", width=2, failures=1)))

    assert (record.status, record.executions) == ("error", None)
    assert record.error.startswith("PlannedFailure: hello")


@pytest.mark.slow
def test_a_cold_cell_is_worth_all_that_a_user_waits_for(make_cell, measured):
    record = measured(make_cell("threads", suite="startup", cold=True))

    assert (record.status, record.cold) == ("ok", True)
    assert record.value_s == record.phases.total_s


@pytest.mark.slow
def test_quiescence_waits_for_the_records_of_a_flow_run(lab_server, arms, run_graph):
    graph = GraphSpec(width=8)
    ran = run_graph(graph, arms.arms["threads"])

    found = wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks, limit_s=300)

    assert (found.final, found.completed) == (graph.tasks, graph.tasks)


@pytest.mark.slow
def test_quiescence_gives_up_on_records_that_never_come(lab_server, arms, run_graph):
    graph = GraphSpec(width=1)
    ran = run_graph(graph, arms.arms["threads"])
    wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks, limit_s=300)

    begun_s = time.monotonic()
    found = wait_recorded(lab_server.api_url, ran.outcome.flow_run_id, graph.tasks + 1, limit_s=0.3)

    assert time.monotonic() - begun_s > 0.3
    assert found.final == graph.tasks


@pytest.mark.slow
def test_missing_records_are_a_figure_and_not_an_error(make_cell, measured, monkeypatch):
    monkeypatch.setattr(lab_graphs, "wait_recorded", lambda *args, **more: Recorded(final=5, completed=5, lag_s=60.0))
    record = measured(make_cell())

    assert (record.status, record.recorded, record.expected_recorded) == ("ok", 5, 7)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (KeyError(), "KeyError"),
        (RuntimeError("x" * 1000), "RuntimeError: " + "x" * 286),
    ],
)
def test_error_line(error, line):
    assert error_line(error) == line


def test_a_blank_record_says_what_is_known_before(make_cell):
    record = blank_record(make_cell("dask", 3, GraphSpec("retrying", width=4, failures=1)), "run", {"cores": 2})

    assert (record.arm, record.engine, record.block, record.role) == ("dask", "dask", 3, "arm")
    assert record.runner == "prefect_dask.DaskTaskRunner"
    assert (record.tasks, record.expected_executions, record.expected_recorded) == (13, 17, 13)
    assert (record.executions, record.recorded) == (None, None)
    assert json.loads(records.to_json(record))["environment"] == {"cores": 2}
    assert blank_record(make_cell("bare-dask"), "run", {}).runner == "bare dask"
    assert blank_record(make_cell("sequential"), "run", {}).runner == "direct calls"
    assert blank_record(make_cell("gather"), "run", {}).runner == "asyncio.gather"


def test_the_ideal_of_an_event_loop_is_one_round_of_waiting_and_all_of_the_computing(make_cell):
    work = {kind: GraphSpec(width=4, work=Work(kind, 0.5)) for kind in ("sleep", "spin", "crunch")}
    ideal_s = {kind: blank_record(make_cell("gather", graph=graph), "run", {}).ideal_s for kind, graph in work.items()}

    assert ideal_s == {"sleep": 0.5, "spin": 2.0, "crunch": 2.0}


@pytest.mark.parametrize(("local", "ideal_s"), [(True, 2.0), (False, 1.0)])
def test_the_ideal_of_a_cluster_elsewhere_goes_by_its_slots_and_not_by_this_hosts_cores(
    make_cell, monkeypatch, tmp_path, arms, local, ideal_s
):
    monkeypatch.setattr(measuring, "cores", lambda: 1)
    monkeypatch.setattr(lab_graphs, "run_pass", lambda *args: lab_graphs.Pass(0.0, Outcome(), 1.0))
    monkeypatch.setattr(lab_graphs, "ledger_for", lambda cluster, folder: nullcontext(str(folder)))
    cell = make_cell("dask", graph=GraphSpec(width=4, work=Work("spin", 0.5)))
    server = Server("http://127.0.0.1:1/api", "unknown")
    site = Site(server, arms.engine(cell.arm), Cluster("tcp://h:1", local=local), tmp_path, 1.0, 1.0)

    record = measure_graph(cell, site, blank_record(cell, "run", {}))

    assert record.ideal_s == pytest.approx(ideal_s)


def test_at_most_512_latencies_are_kept_by_rank():
    kept = clocks._thinned(range(10_000))

    assert len(kept) == 512
    assert (kept[0], kept[-1]) == (0, 9999)
    assert list(kept) == sorted(kept)
    assert clocks._thinned([3, 1, 2]) == (1, 2, 3)
