"""Ray's own manners: what it leaves where its start fails."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from runner_lab.runners.engine import ClusterSettings
from runner_lab.runners.engines.ray import ENGINE


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


SLOW = "The current node timed out during startup. This could happen because ..."
FORKED = "Initialization failure from server: RuntimeError: Starting Ray client server failed. See ..."


@pytest.mark.parametrize(("address", "failure"), [(None, SLOW), ("ray://h:1", FORKED)])
@pytest.mark.parametrize(("failures", "starts"), [(2, 3), (9, 4)])
def test_a_start_that_fails_by_chance_is_tried_again(monkeypatch, tmp_path, address, failure, failures, starts):
    done = []

    def init(**options):
        done.append("init")
        if done.count("init") <= failures:
            raise Exception(failure)
        return SimpleNamespace(address_info={"address": "127.0.0.1:1"})

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: done.append("shutdown")))
    started = pytest.raises(Exception, match=failure[:20]) if failures == 9 else nullcontext()
    with started, ENGINE.cluster(2, ClusterSettings(address=address), tmp_path):
        pass
    assert done == ["init", "shutdown"] * starts
