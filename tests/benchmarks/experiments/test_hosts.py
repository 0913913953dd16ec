"""`runner-lab hosts`: hosts of their own on one machine, and what is said of a cut link."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner_lab import lab
from runner_lab.benchmarks.experiments import network
from runner_lab.benchmarks.experiments.hosts import CUTS, judge_across, judge_cut
from runner_lab.benchmarks.experiments.network import Network, NetworkError
from runner_lab.runners import catalog

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=float(sys.argv[2])).close()
except ConnectionRefusedError:
    print("refused")
except OSError as error:
    print("no answer")
"""


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    """Three hosts; skips where there can be none, with the reason."""
    try:
        network.check()
    except NetworkError as error:
        pytest.skip(str(error))
    with network.network(["one", "two", "three"]) as made:
        yield made


def on(host: network.Host, *arguments: str) -> str:
    done = subprocess.run(host.command(sys.executable, *arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def reach(net: Network, here: str, there: str, limit_s: float = 60.0) -> str:
    """What comes of a connection to a port that nobody listens on: a host that is there refuses it."""
    return on(net[here], "-c", CONNECT, net[there].address, str(limit_s))


def test_hosts_have_names_and_addresses_of_their_own_and_reach_each_other(net):
    assert len({host.address for host in net.hosts.values()}) == 3
    assert on(net["two"], "-c", "import socket; print(socket.gethostname())") == "two"
    assert reach(net, "one", "two") == reach(net, "three", "one") == "refused"


def test_a_cut_link_is_cut_for_its_host_alone_until_it_is_mended(net):
    with net.cut_off("two"):
        assert reach(net, "one", "two", limit_s=1.0) == "no answer"
        assert reach(net, "one", "three") == "refused"
    assert reach(net, "one", "two") == "refused"


def test_the_labs_own_server_is_not_for_a_cluster_on_another_host(net):
    ask = (
        "import sys\n"
        "from runner_lab.benchmarks.measuring.remote_cluster import own_address, refuse_another_host\n"
        "try: refuse_another_host('dask', sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
        "else: print('it is here')\n"
        "print(own_address(sys.argv[1]))"
    )
    listen = "import socket, sys; s = socket.create_server((sys.argv[1], 8786)); print('up', flush=True); s.accept()"
    address = f"tcp://{net['two'].address}:8786"

    def asked_on(name: str) -> list[str]:
        command = net["two"].command(sys.executable, "-c", f"{listen}; s.accept()", net["two"].address)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            listener.stdout.readline()
            return on(net[name], "-c", ask, address).splitlines()

    refused, here = asked_on("one")
    assert refused.startswith(
        f"arm 'dask': {address} is on another host, and does not reach the lab's own Prefect server"
    )
    assert here == net["one"].address
    assert asked_on("two") == ["it is here", net["two"].address]


def test_nothing_of_the_network_is_outside_of_it(net):
    """Neither a device nor an address, so that no packet finds a way out, or in."""
    devices = set(psutil.net_if_addrs())
    addresses = {address.address for found in psutil.net_if_addrs().values() for address in found}

    assert not devices & {"one", "two", "three", "bridge"}
    assert not addresses & {host.address for host in net.hosts.values()}


def test_bodies_on_two_hosts_are_told_apart_though_one_kernel_keeps_their_clocks(net):
    ask = ("-c", "from runner_lab.flows.graph.ledger import host_id; print(host_id())")
    ids = {name: on(host, *ask) for name, host in net.hosts.items()}

    assert len(set(ids.values())) == 3
    assert {name: found.partition("/")[0] for name, found in ids.items()} == {name: name for name in net.hosts}


def test_the_network_is_gone_when_it_is_left_also_by_an_error(net):
    held: list[int] = []

    def fail() -> None:
        with network.network(["four"]) as made:
            held.extend((made.switch.pid, made["four"].pid))
            assert all(map(psutil.pid_exists, held))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(held) == 2
    assert not any(map(psutil.pid_exists, held))


def test_where_there_can_be_no_network_that_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(network.platform, "system", lambda: "Darwin")
    with pytest.raises(SystemExit) as ended:
        lab.main(["hosts", "--out", str(tmp_path / "new")])

    assert ended.value.code == 2
    assert capsys.readouterr().err == "runner-lab: hosts are Linux network namespaces, and this is Darwin\n"
    assert not (tmp_path / "new").exists()


def test_a_network_that_cannot_be_made_is_one_line_and_leaves_no_folder(monkeypatch, capsys, tmp_path):
    # The lab's environment may be set though the suite has imported Prefect.
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.setattr(network, "check", lambda: None)
    refused = ["sh", "-c", "echo not here >&2; exit 1", "sh"]
    monkeypatch.setattr(network.Host, "command", lambda self, *words: [*refused, *words])
    monkeypatch.setattr(network, "_held", lambda name, address: nullcontext(network.Host(name, address, os.getpid())))
    with pytest.raises(SystemExit) as ended:
        lab.main(["hosts", "--out", str(tmp_path / "new")])

    assert ended.value.code == 2
    assert "runner-lab: ip link add name bridge type bridge: not here" in capsys.readouterr().err.splitlines()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("absent", ["unshare", "nsenter", "ip", "hostname"])
def test_a_tool_that_is_missing_is_named(monkeypatch, absent):
    monkeypatch.setattr(network.platform, "system", lambda: "Linux")
    monkeypatch.setattr(network.shutil, "which", lambda tool: None if tool == absent else tool)
    with pytest.raises(NetworkError, match=rf"^{absent} is not installed: "):
        network.check()


def test_who_is_not_root_is_told(monkeypatch):
    monkeypatch.setattr(network.platform, "system", lambda: "Linux")
    monkeypatch.setattr(network.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NetworkError, match="are made by root: run it as root, on Linux"):
        network.check()


def test_what_cannot_be_tried_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(network.platform, "system", lambda: "Linux")
    monkeypatch.setattr(network.shutil, "which", lambda tool: tool)
    (tmp_path / "hosts.json").write_text("{}")
    for arguments, message in (
        (("--only", "moon"), f"--only moon: there are {', '.join(cut.id for cut in CUTS)}, hosts"),
        (("--runners", "threads"), "--runners threads: there are lean-dask, dask, lean-ray, ray"),
        (
            ("--out", str(tmp_path)),
            f"{tmp_path}/hosts.json holds no findings: schema version None, and this lab reads 1 and 2",
        ),
    ):
        with pytest.raises(SystemExit) as ended:
            lab.main(["hosts", *arguments])
        assert ended.value.code == 2
        assert capsys.readouterr().err.split() == f"runner-lab: {message}".split()


LEAN_DASK = catalog.load().arms["lean-dask"]
WHOLE: dict[str, Any] = {
    "workers": 2,
    "workers_after": 2,
    "cut_s": 100.0,
    "mended_s": 110.0,
    "returned_s": 115.0,
    "begun": 8,
    "results": list(range(8)),
    "states": {"Completed": 8},
    "flow_state": "Completed",
}


@pytest.mark.parametrize(
    ("changes", "symbol", "words"),
    [
        ({}, "ok", "all results 5 s after the repair (down 10 s)"),
        ({"begun": 10}, "warn", "all results 5 s after the repair (down 10 s); 2 run again"),
        ({"returned_s": 109.0}, "ok", "all results 9 s after the cut, before the repair"),
        (
            {"workers_after": 1},
            "warn",
            "all results 5 s after the repair (down 10 s); the worker does not come back",
        ),
        (
            {"states": {"Completed": 7, "not ended": 1}},
            "bad",
            "all results 5 s after the repair (down 10 s), 7 of 8 Completed in the API (7 Completed, 1 not ended)",
        ),
        ({"results": [0, 1]}, "bad", "6 of 8 results lost, flow over 5 s after the repair (down 10 s)"),
        ({"raised": "OSError: no"}, "bad", "the flow fails 5 s after the repair (down 10 s): OSError: no"),
        ({"returned_s": None}, "bad", "the flow never returns"),
        ({"begun": 0, "ended": 1}, "unknown", "no stint began (exit code 1)"),
    ],
)
def test_what_was_seen_is_said_as_it_was(changes, symbol, words):
    facts = {name: value for name, value in {**WHOLE, **changes}.items() if value is not None}
    judged = judge_cut(LEAN_DASK, facts)

    assert (judged.symbol, judged.words) == (symbol, words)
    assert bool(judged.remedy) == (symbol != "ok")


def test_a_graph_that_was_not_recorded_whole_is_no_success():
    record = {"status": "ok", "error": None, "recorded": 7, "expected_recorded": 7, "hosts": ["left", "right"]}

    assert (
        judge_across(LEAN_DASK, {"record": record}).words
        == "right result, bodies on left and right, 7 of 7 task runs recorded"
    )
    assert judge_across(LEAN_DASK, {"record": {**record, "recorded": 6}}).symbol == "bad"
    assert judge_across(LEAN_DASK, {"record": {**record, "status": "error", "error": "wrong"}}).words == "wrong"
    assert judge_across(LEAN_DASK, {"ended": 1}).symbol == "unknown"


def test_a_network_is_known_in_another_process_by_what_it_is_told(net):
    told = json.loads(json.dumps(asdict(net)))

    assert Network.from_json(told) == net
    assert on(Network.from_json(told)["two"], "-c", "import socket; print(socket.gethostname())") == "two"


def test_the_page_names_every_experiment():
    page = (Path(__file__).parents[3] / "docs" / "several-hosts.md").read_text()

    assert [cut.id for cut in CUTS if f"`{cut.id}`" not in page] == []
