"""The graph of a record: its name, and whether it is one."""

from __future__ import annotations

from typing import Any

from runner_lab.records import validation
from runner_lab.records.validation import RecordError


def graph_id(graph: dict[str, Any]) -> str:
    """Short and stable, e.g. `plain-w16`, `plain-w8-spin100ms`, `plain-w4-1MB`; a user's flow has its own name."""
    if graph.get("variant") == "flow":
        return str(graph.get("name") or "flow")
    parts = [str(graph.get("variant", "?")), f"w{graph.get('width', '?')}"]
    work = graph.get("work") or {}
    if work.get("kind", "none") != "none":
        parts.append(f"{work['kind']}{work.get('seconds', 0) * 1000:g}ms")
    if payload := graph.get("payload_bytes"):
        parts.append(f"{payload / 1e6:g}MB" if payload >= 1e6 else f"{payload / 1e3:g}kB")
    if failures := graph.get("failures"):
        parts.append(f"f{failures}")
    if (batch := graph.get("batch") or 1) != 1:
        parts.append(f"b{batch}")
    if delay := graph.get("retry_delay_s"):
        parts.append(f"d{delay:g}s")
    return "-".join(parts)


def check(graph: dict[str, Any]) -> None:
    """
    Raises:
        RecordError: a value of the wrong type, or out of range.
    """
    work = graph.get("work")
    if not isinstance(work, dict):
        raise RecordError("not a record: graph needs width and work")
    validation.text("the kind of work", work.get("kind", "none"))
    validation.text("the graph's variant", graph.get("variant", "?"))
    for name in ("width", "payload_bytes", "failures", "batch"):
        validation.count(name, graph.get(name) if name == "width" else graph.get(name, 0))
    validation.number(work.get("seconds", 0))
    validation.number(graph.get("retry_delay_s", 0))
