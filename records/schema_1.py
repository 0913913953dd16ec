"""Files of the schema before this one, as this one has them: another name for suites, arms and what a flow gave."""

from __future__ import annotations

import re
from typing import Any

SCHEMA = 1

_SUITES = {"tax": "task_stages", "scaling": "worker_scaling"}
_UNASKED = "--no-check-result"
_UNSTEADY = "two runs under "
_WIDE = re.compile(r"scale/plain-w([0-9]{1,9})/(.+)", re.DOTALL)


def suite(name: str) -> str:
    return _SUITES.get(name, name)


def arm(name: str, workers: int) -> str:
    """An arm beside itself with another number of workers had that in its name."""
    return name.removesuffix(f"@{workers}") or name


def cell(shown: str, workers: int) -> tuple[str, str, str]:
    """Suite, arm (empty under another number of workers than the run's) and id as shown now, of an id as shown then."""
    first, _, rest = shown.partition("/")
    graph, slash, last = rest.rpartition("/")
    if not slash:
        return "", "", shown
    if first != "scaling":
        return suite(first), last, f"{suite(first)}/{rest}"
    name, at, number = last.rpartition("@")
    if at and name and number.isdecimal():
        return suite(first), "", f"{suite(first)}/{rest}"
    return suite(first), last, f"{suite(first)}/{graph}/{last}@{workers}"


def record(data: dict[str, Any]) -> dict[str, Any]:
    """
    Raises:
        KeyError, TypeError, AttributeError: not a record of this schema.
    """
    scaled = data["bench"] == "scaling"
    return {
        **{name: value for name, value in data.items() if name not in ("bench", "tax")},
        "suite": suite(data["bench"]),
        "arm": arm(data["arm"], data["workers"]) if scaled else data["arm"],
        "task_stages": data.get("tax"),
        "flow_run": _flow_run(data.get("flow_run")),
        "schema": 2,
    }


def plan(data: dict[str, Any]) -> dict[str, Any]:
    """Without the cells that were selected, which only a run that is resumed would need.

    Raises:
        KeyError, TypeError, AttributeError: not a plan of this schema.
    """
    left_out = [
        {
            "cell": {
                "suite": "scale",
                "graph": {"variant": "plain", "width": int(found[1])},
                "arm": found[2],
                "workers": data["workers"],
            },
            "reason": reason,
        }
        for name, reason in data.get("left_out", {}).items()
        if (found := _WIDE.fullmatch(name))
    ]
    return {**data, "cells": [], "left_out": left_out, "schema": SCHEMA}


def _flow_run(data: dict[str, Any] | None) -> dict[str, Any] | None:
    if data is None or data["result"] != "unchecked":
        return data
    remark = data["remark"]
    result = "unasked" if remark == _UNASKED else "unsteady" if remark.startswith(_UNSTEADY) else "unchecked"
    return {**data, "result": result}
