"""Which host a body ran on, and the ledger of bodies that reach no folder of the driver's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from runner_lab.flows.graph import bodies
from runner_lab.flows.graph.ledger import Collector, Execution, Ledger, RemoteLedger, host_id, ledger_at
from runner_lab.records.graph import Work


def test_processes_of_one_host_have_one_id_and_its_name_is_in_it():
    other = subprocess.run(
        [sys.executable, "-c", "from runner_lab.flows.graph.ledger import host_id; print(host_id())"],
        capture_output=True,
        text=True,
    )

    assert other.stdout.strip() == host_id()
    assert host_id().partition("/")[0] == socket.gethostname()


def test_the_id_holds_what_tells_two_boots_apart():
    """A hostname alone does not: it outlives the clock."""
    assert len(host_id().split("/")) >= 2
    assert all(host_id().split("/"))


def test_processes_of_two_hosts_with_one_number_write_files_of_their_own(tmp_path):
    here = Execution("hello", 0, 11, 1.0, 2.0)
    Ledger(tmp_path).write(here)
    Ledger(tmp_path).write(there := replace(here, host="far/boot"))

    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(Ledger(tmp_path).entries(), key=lambda entry: entry.host) == sorted(
        [here, there], key=lambda entry: entry.host
    )


def test_bodies_write_to_a_collector_as_they_do_to_a_folder(tmp_path):
    with Collector(tmp_path, "127.0.0.1") as collector:
        with pytest.raises(bodies.PlannedFailure):
            bodies.hello(3, Work(), 5, 1, collector.address)
        text, _ = bodies.hello(3, Work(), 5, 1, collector.address)

    assert text == "hello-3"
    assert [(entry.name, entry.lane, entry.pid) for entry in Ledger(tmp_path).entries()] == 2 * [
        ("hello", 3, os.getpid())
    ]


def test_a_collector_loses_no_entry_of_many_at_once(tmp_path):
    with Collector(tmp_path, "127.0.0.1") as collector:

        def write(first: int) -> None:
            for lane in range(first, first + 20):
                ledger_at(collector.address).write(Execution("world", lane, os.getpid(), 1.0, 2.0))

        threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 160, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(entry.lane for entry in Ledger(tmp_path).entries()) == list(range(160))


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b"no json", b'{"token": "", "entry": {}}', b"\xff"])
def test_a_collector_answers_nobody_who_does_not_know_its_address(line, tmp_path):
    with Collector(tmp_path, "127.0.0.1") as collector:
        port = int(collector.address.rsplit(":", 1)[1].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(line + b"\n")
            assert stranger.makefile("rb").read() == b""
        with pytest.raises(OSError, match="did not take a request"):
            RemoteLedger(f"tcp://127.0.0.1:{port}/wrong").write(Execution("hello", 0, 1, 1.0, 2.0))

    assert Ledger(tmp_path).entries() == []


def test_an_entry_knows_its_host(tmp_path):
    Ledger(tmp_path).write(Execution("hello", 0, 1, 1.0, 2.0))

    (line,) = next(iter(tmp_path.iterdir())).read_text().splitlines()
    assert json.loads(line)["host"] == host_id()
