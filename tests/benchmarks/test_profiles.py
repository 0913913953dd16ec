"""What each profile measures: stock and lean beside each other."""

from __future__ import annotations

import sys

import pytest

from runner_lab.benchmarks import bench_batching, bench_metg, bench_worker_scaling
from runner_lab.benchmarks.measuring import environment
from runner_lab.benchmarks.profiles import PROFILES
from runner_lab.benchmarks.session.plan import Search, Stage
from runner_lab.benchmarks.session.session import Options, Session
from runner_lab.benchmarks.session.workload import LabGraphs
from runner_lab.runners import catalog


def arms_of(profile: str) -> list[str]:
    names, left_out = catalog.load().default(PROFILES[profile].arms)
    assert left_out == []
    return names


def test_the_full_profile_measures_every_arm():
    assert set(arms_of("full")) == set(catalog.load().arms)


def test_the_quick_profile_measures_every_arm_under_prefect():
    assert set(arms_of("quick")) == {name for name, arm in catalog.load().arms.items() if not arm.bare}


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_lean_arm_stands_after_its_stock_one(name):
    arms = arms_of(name)
    for stock in (arm for arm in arms if f"lean-{arm}" in arms):
        assert arms.index(f"lean-{stock}") > arms.index(stock)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_variants_and_payloads_are_as_wide_as_an_empty_graph(name):
    suites = PROFILES[name].suites
    for suite, plain in (("payload", "map"), ("cached", "overhead"), ("retrying", "overhead")):
        widths = {graph.width for graph in suites.get(plain, ())}
        assert {graph.width for graph in suites.get(suite, ())} <= widths


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_batch_leaves_the_items_as_they_are(name):
    graphs = PROFILES[name].graphs("batching")
    assert len({(graph.width * graph.batch, graph.work) for graph in graphs}) <= 1


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A planned run on a machine of two cores; it may be made though the suite has imported Prefect."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.setattr(environment, "cores", lambda: 2)
    made = []

    def planned(**options) -> Session:
        made.append(Session(LabGraphs(), Options(**options)))
        return made[-1]

    yield planned
    for each in made:
        each.release()


def test_scaling_runs_once_beyond_the_cores_and_shares_clusters_of_one_size(session):
    cells = session(profile="full", blocks=5).cells(bench_worker_scaling.SUITE)

    assert {cell.arm.workers for cell in cells} == {1, 2, 4}
    places = {"threads": "threads", "lean-threads": "lean-threads", "dask": "dask", "lean-dask": "dask"}
    stages = {(cell.arm.name, cell.arm.workers): cell.stage for cell in cells if cell.arm.name in places}
    assert stages == {(arm, n): Stage(place, n) for arm, place in places.items() for n in (1, 2, 4)}
    assert {cell.block for cell in cells} == {0}


def test_an_arm_whose_workers_are_not_the_labs_to_set_is_not_scaled(session, tmp_path):
    (tmp_path / "runners.toml").write_text(
        '[arms.four]\nclass = "prefect.task_runners.ThreadPoolTaskRunner"\nengine = "threads"\n'
        'options = { max_workers = 4 }\n[dask]\naddress = "tcp://h:1"\n'
    )
    cells = session(profile="full", runners="four,dask,processes").cells(bench_worker_scaling.SUITE)

    assert {(cell.arm.name, cell.arm.workers) for cell in cells} == {("processes", n) for n in (1, 2, 4)}


def test_only_what_a_user_can_choose_is_searched_and_batched(session):
    run = session(profile="full")
    searched, batched = run.cells(bench_metg.SUITE), run.cells(bench_batching.SUITE)

    assert all(isinstance(cell, Search) for cell in searched)
    names = {arm.name for arm in run.arms if not arm.bare and arm.name != "control"}
    assert {cell.arm.name for cell in batched} == {cell.arm.name for cell in searched} == names


def test_the_order_of_a_run_is_begun_by_its_first_arm_whatever_suites_it_is_in(session):
    run = session(profile="full")
    first = run.order([*run.cells(bench_batching.SUITE), *run.cells(bench_worker_scaling.SUITE)])[0]

    assert first.arm.name == "threads"
