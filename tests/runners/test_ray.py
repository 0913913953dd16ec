"""Ray's own manners: what it leaves where its start fails."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from runners.engine import ClusterSettings
from runners.ray import ENGINE


@pytest.mark.parametrize("address", [None, "ray://h:1"])
def test_a_start_that_fails_leaves_no_node_up(monkeypatch, tmp_path, address):
    def init(*args, **kwargs):
        raise RuntimeError("the node is up, and the driver is not let in")

    calls = []
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: calls.append("shutdown")))

    with (
        pytest.raises(RuntimeError, match="not let in"),
        ENGINE.cluster(2, ClusterSettings(address=address), tmp_path),
    ):
        pass
    assert calls == ["shutdown"]


@pytest.mark.parametrize(("slow", "starts"), [(2, 3), (9, 4)])
def test_a_node_that_a_busy_machine_does_not_get_up_in_time_is_started_again(monkeypatch, tmp_path, slow, starts):
    done = []

    def init(**options):
        done.append("init")
        if done.count("init") <= slow:
            raise Exception("The current node timed out during startup. This could happen because ...")
        return SimpleNamespace(address_info={"address": "127.0.0.1:1"})

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: done.append("shutdown")))
    started = pytest.raises(Exception, match="timed out") if slow == 9 else nullcontext()
    with started, ENGINE.cluster(2, ClusterSettings(), tmp_path):
        pass
    assert done == ["init", "shutdown"] * starts
