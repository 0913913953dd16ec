"""Ray's own manners: what it leaves where its start fails."""

from __future__ import annotations

import sys
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
