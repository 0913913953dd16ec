"""Links that are cut in mid-run, and what the facts of it mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Cut:
    """One experiment.

    host: whose link is cut, once a task has begun on the far worker; none where the network stays whole.
    seconds: for how long at most; it is mended before where the flow has returned.
    least_s: for how long at least.
    """

    id: str
    title: str
    host: str = ""
    seconds: float = 0.0
    least_s: float = 0.0


CUTS = (
    Cut("across", "the lab's graph, with nothing cut"),
    Cut("worker-10s", "a worker's link cut for 10 s", "right", 10.0, 10.0),
    Cut("server-20s", "the server's link cut for 20 s", "server", 20.0, 20.0),
    Cut("driver-20s", "the driver's link cut for 20 s", "driver", 20.0, 20.0),
    Cut("worker-gone", "a worker's link cut until the flow has returned", "right", 150.0, 10.0),
)


@dataclass(frozen=True)
class Judgement:
    """`symbol`: ok, warn (to be known first), bad (work or its record is lost), or unknown. `remedy`: what to do."""

    symbol: Literal["ok", "warn", "bad", "unknown"]
    words: str
    remedy: str = ""


def across(facts: Facts) -> Judgement:
    """The graph itself: right results, every task run recorded, and bodies on the other hosts."""
    if "no_cluster" in facts:
        return _no_cluster(facts)
    record = facts.get("record")
    if record is None:
        return Judgement(
            "unknown", f"no record (exit code {facts.get('ended')})", "Look into hosts.log beside the findings."
        )
    if record["status"] != "ok":
        return Judgement("bad", record["error"], "See that the workers reach the server and the driver.")
    recorded = f"{record['recorded']} of {record['expected_recorded']} task runs recorded"
    symbol: Literal["ok", "bad"] = "ok" if record["recorded"] == record["expected_recorded"] else "bad"
    return Judgement(symbol, f"right result, bodies on {' and '.join(record['hosts']) or 'no other host'}, {recorded}")


def judge(facts: Facts, count: int) -> Judgement:
    """A flow of `count` stints with a link cut in the middle."""
    if "no_cluster" in facts:
        return _no_cluster(facts)
    if "cut_s" not in facts or not facts.get("begun"):
        return Judgement(
            "unknown", f"no stint began (exit code {facts.get('ended')})", "Look into hosts.log beside the findings."
        )
    if "returned_s" not in facts:
        return Judgement("bad", _with_runs("the flow never returns", facts, count), _TIMEOUT)
    when = _when(facts)
    if "raised" in facts:
        return Judgement("bad", _with_runs(f"the flow fails {when}: {facts['raised'][:80]}", facts, count), _RERUN)
    missing = count - len(facts["results"])
    ended = facts["states"].get("Completed", 0)
    told = "" if ended == count else f", {ended} of {count} Completed in the API ({_counted(facts['states'])})"
    if facts["flow_state"] != "Completed":
        told += f", flow run {facts['flow_state']}"
    if missing:
        words = f"{missing} of {count} results lost, flow over {when}{told}"
        return Judgement("bad", _with_runs(words, facts, count), _RERUN)
    words = _with_runs(f"all results {when}{told}", facts, count)
    if told:
        return Judgement("bad", words, "Do not take the API's word for it: ask the flow's results.")
    again = facts["begun"] > count or facts.get("workers_after", 0) < facts.get("workers", 0)
    return Judgement("warn" if again else "ok", words, _IDEMPOTENT if again else "")


_LOG = "Look into hosts.log beside the findings."
_TIMEOUT = "Give every wait a timeout and the flow a timeout_seconds."
_RERUN = "Let the flow be run again: retries on the flow, results persisted where all hosts reach them."
_IDEMPOTENT = "Tasks must stand being run twice; have workers started again by what started them."


def _no_cluster(facts: Facts) -> Judgement:
    return Judgement("unknown", f"no cluster: {facts['no_cluster']}", "Let the machine come to rest, and try again.")


def _when(facts: Facts) -> str:
    since_s = facts["returned_s"] - facts["mended_s"]
    down_s = facts["mended_s"] - facts["cut_s"]
    if since_s < 0.5:
        return f"{facts['returned_s'] - facts['cut_s']:.0f} s after the cut, before the repair"
    return f"{since_s:.0f} s after the repair (down {down_s:.0f} s)"


def _with_runs(words: str, facts: Facts, count: int) -> str:
    again = facts["begun"] - count
    if again > 0:
        words += f"; {again} run again"
    lost = facts.get("workers", 0) - facts.get("workers_after", facts.get("workers", 0))
    return f"{words}; the worker does not come back" if lost > 0 else words


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in states.items())
