"""What a session does around its cells: after one that failed, with a cluster that does not stop, at its end."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

import pytest

from runner_lab.benchmarks import conftest as plugin
from runner_lab.benchmarks.measuring import quiescence
from runner_lab.benchmarks.measuring.server_runs import UnansweredError
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.benchmarks.session.plan import CellError
from runner_lab.benchmarks.session.run_folder import RunFolder
from runner_lab.benchmarks.session.session import Options, Session
from runner_lab.benchmarks.session.stages import Limits, Stages
from runner_lab.benchmarks.session.workload import LabGraphs
from runner_lab.runners import catalog
from runner_lab.runners.server import Server

SERVER = Server("http://127.0.0.1:1/api", "sqlite")


class MadeUpGraphs(LabGraphs):
    """Cells that take no time and end as they are told to."""

    status = "ok"
    passes = 0

    def measure(self, cell, site, blank):
        self.passes += 1
        return replace(blank, status=self.status)


@pytest.fixture
def workload():
    return MadeUpGraphs()


@pytest.fixture
def session(tmp_path, monkeypatch, workload):
    """One that has started, as far as its own memory goes; its stages are noted and nothing more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    session = Session(workload, Options(out=Path("run")))
    session.release()
    session._folder = RunFolder.create(*session._new_folder())
    session._stages, session._interrupts = MagicMock(), Mock()
    session._server, session._environment = SERVER, {}
    return session


@pytest.fixture
def waits(monkeypatch):
    found = []
    monkeypatch.setattr(quiescence, "wait_still", lambda *args: found.append(args))
    return found


@pytest.mark.parametrize(("status", "rests"), [("ok", 0), ("error", 1)])
def test_after_a_cell_that_failed_its_cluster_goes_and_the_server_comes_to_rest(
    session, waits, make_cell, workload, status, rests
):
    (cell,) = session.order([make_cell("dask")])
    workload.status = status

    session.measure(cell)

    assert session._stages.drop.call_count == len(waits) == rests
    assert [record.status for record in session.records] == [status]


def test_a_server_that_does_not_answer_then_is_the_next_cells_to_tell(session, monkeypatch, make_cell, workload):
    (cell,) = session.order([make_cell("dask")])
    workload.status = "error"
    monkeypatch.setattr(quiescence, "wait_still", Mock(side_effect=UnansweredError("no answer")))

    assert [record.status for record in session.measure(cell)] == ["error"]


def test_what_was_measured_before_is_not_measured_again(session, make_cell, workload):
    (cell,) = session.order([make_cell("dask")])

    assert session.measure(cell) == session.measure(cell)
    assert workload.passes == 1


@pytest.mark.parametrize(
    ("error", "reason"), [(None, None), (CellError("it\nbroke"), "it\nbroke"), (OSError("gone"), "OSError: gone")]
)
def test_what_a_cell_needs_is_brought_up_or_the_reason_told(session, waits, make_cell, error, reason):
    @contextmanager
    def ready(cell):
        if error:
            raise error
        yield None

    session._stages.ready = ready

    assert session.prepare(make_cell("threads")) == reason
    assert session._stages.drop.call_count == len(waits) == bool(error)


def test_a_run_is_finished_though_the_server_does_not_stop(session, monkeypatch):
    monkeypatch.setattr(session, "release", Mock(side_effect=RuntimeError("it does not stop")))
    monkeypatch.setattr(quiescence, "send_rest", lambda: None)

    with pytest.raises(RuntimeError, match="it does not stop"):
        session.close(interrupted=False)
    assert session.folder.plan.finished_at


def test_a_run_in_the_current_folder_is_called_as_that_is(session, tmp_path, monkeypatch):
    here = Session(LabGraphs(), Options(out=Path()))
    here.release()

    assert here._new_folder()[1].run_id == tmp_path.name


def test_before_the_start_nothing_is_measured(session):
    planned = Session(LabGraphs(), Options())
    planned.release()

    assert (planned.records, planned.progress.total) == ([], 0)


def test_a_cluster_that_does_not_stop_is_told_and_blamed_on_nobody(tmp_path, monkeypatch, make_cell):
    @contextmanager
    def stubborn(workers, settings, folder):
        yield SimpleNamespace(address=None, local=True)
        raise TimeoutError("the workers\ndo not end")

    said, arms = [], catalog.load()
    places = ApiPlaces(SERVER.api_url, tmp_path, ExitStack())
    stages = Stages(arms, SERVER, places, tmp_path, Limits(), lambda cell, site: None, said.append)
    monkeypatch.setattr(arms.engines["dask"], "cluster", stubborn)
    with stages.ready(make_cell("dask")):
        pass
    with stages.ready(make_cell("threads")) as site:
        assert site.cluster.address is None
    stages.close()

    assert said == ["warning: a cluster did not stop as it should: TimeoutError: the workers do not end"]


def test_a_report_is_made_of_a_run_that_does_not_close(monkeypatch, tmp_path, make_cell, make_record):
    lab = Mock(records=[make_record(make_cell())], folder=Mock(path=tmp_path))
    lab.close.side_effect = RuntimeError("it does not stop")
    config = SimpleNamespace(stash=pytest.Stash(), _benchmarksession=SimpleNamespace(benchmarks=[], json=None))
    config.stash[plugin._LAB] = lab
    monkeypatch.setattr(plugin, "_render", lambda lab: ["the report"])

    ending = plugin.pytest_sessionfinish(SimpleNamespace(config=config), 0)
    next(ending)

    assert config.stash[plugin._REPORT] == ["the report"]
    with pytest.raises(RuntimeError, match="it does not stop"):
        ending.send(None)
