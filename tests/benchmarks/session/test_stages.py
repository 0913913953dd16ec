"""Clusters come and go with the stages, and one that does not start takes no other arm with it."""

from __future__ import annotations

import os
from contextlib import ExitStack

import psutil
import pytest
from prefect_lean import forking

from runner_lab.benchmarks.measuring.lab_graphs import measure_graph, warm_up
from runner_lab.benchmarks.measuring.measure import blank_record, measure
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.benchmarks.session.plan import CellError
from runner_lab.benchmarks.session.stages import Limits, Stages
from runner_lab.records.graph import GraphSpec
from runner_lab.runners import catalog
from runner_lab.runners.engine import ClusterSettings
from runner_lab.runners.isolation.waiting import last_within

pytestmark = pytest.mark.slow


@pytest.fixture
def stages(lab_server, scratch):
    """Stages on a catalog, with a Dask cluster of its own where one is asked for."""
    made = []
    with ExitStack() as relays:
        places = ApiPlaces(lab_server.api_url, scratch, relays)

        def stages_of(found: catalog.Catalog) -> Stages:
            made.append(Stages(found, lab_server, places, scratch, Limits(cell_s=300.0, quiet_s=300.0), warm_up))
            return made[-1]

        yield stages_of
        for each in made:
            each.close()


def test_a_cluster_that_does_not_start_fails_its_stage_and_no_other(stages, arms, make_cell):
    broken = ClusterSettings(cluster_class="distributed.LocalCluster", cluster_kwargs={"n_workers": "many"})
    place = stages(catalog.Catalog(arms.arms, arms.engines, {"dask": broken}))

    cells = [make_cell(arm) for arm in ("dask", "bare-dask", "threads")]
    records = [measure(cell, 0, place.ready, blank_record(cell, "run", {}), measure_graph) for cell in cells]

    assert [record.status for record in records] == ["error", "error", "ok"]
    assert records[0].error == records[1].error
    assert records[0].error.startswith("the dask cluster did not start: ")
    assert "\n" not in records[0].error


def test_a_stage_starts_its_cluster_once_warms_each_arm_once_and_stops_it(stages, arms, make_cell, descendants):
    place, before = stages(arms), descendants()

    with place.ready(make_cell("dask")) as first:
        started = descendants() - before
        assert len([process for process in started if "spawn_main" in " ".join(process.cmdline())]) == 2
    with place.ready(make_cell("dask", graph=GraphSpec(width=3))) as second, place.ready(make_cell("bare-dask")):
        assert second.cluster is first.cluster
        assert descendants() - before == started

    with place.ready(make_cell("threads")) as other:
        assert other.cluster.address is None
        assert not [process for process in started & descendants() if "spawn_main" in " ".join(process.cmdline())]


def test_a_cold_cell_finds_nothing_up(stages, arms, make_cell):
    with stages(arms).ready(make_cell("threads", cold=True, suite="startup")) as site:
        assert site.cluster is None


def test_a_cold_cell_of_a_lean_pool_finds_no_process_to_fork_from(stages, arms, make_cell, descendants):
    def servers() -> list[psutil.Process]:
        return [process for process in descendants() if "prefect_lean.preloaded" in " ".join(process.cmdline())]

    forking.context(os.environ)
    assert servers()
    with stages(arms).ready(make_cell("lean-processes", cold=True, suite="startup")):
        assert last_within(lambda: not servers(), 60.0)


def test_what_goes_wrong_in_a_cell_gives_the_next_one_a_new_cluster(stages, arms, make_cell):
    place = stages(arms)
    clusters = []

    def broken():
        with place.ready(make_cell("threads")) as site:
            clusters.append(site.cluster)
            raise CellError("it broke")

    with pytest.raises(CellError, match="it broke"):
        broken()
    with place.ready(make_cell("threads")) as site:
        assert site.cluster is not clusters[0]
