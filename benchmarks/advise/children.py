"""CPU of the child processes of tasks: which of them computed it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner_lab.benchmarks.advise.noted import Entry, Found


def of_ended(bodies: Sequence[Entry]) -> dict[int, float]:
    """CPU seconds of child processes, by the `id` of a body's entry.

    A process knows those of all its children that have ended, and not whose they were. What was added between two
    beginnings or ends of bodies is that of the one that has ended then, as a body waits for its child; else of all.
    """
    found = dict.fromkeys(map(id, bodies), 0.0)
    by_process: dict[int, list[tuple[float, float, bool, Entry]]] = {}
    for body in bodies:
        before_s, after_s = body["children"]
        moments = [(body["t0"], before_s, False, body), (body["t1"], after_s, True, body)]
        by_process.setdefault(body["pid"], []).extend(moments)
    for moments in by_process.values():
        going: set[int] = set()
        known_s: float | None = None
        for _, seconds, over, body in sorted(moments, key=lambda moment: moment[:3]):
            added_s = max(seconds - known_s, 0.0) if known_s is not None else 0.0
            known_s = max(seconds, known_s or 0.0)
            theirs = [id(body)] if over else going
            for one in theirs:
                found[one] += added_s / len(theirs)
            if over:
                going.discard(id(body))
            else:
                going.add(id(body))
    return found


def of_lasting(found: Found) -> dict[int, float]:
    """CPU seconds of children that outlive the tasks, such as joblib's, by the `id` of a body's entry.

    They belong to no body: those that go on between two looks share what was computed, by how long they did. Children
    that are profiled themselves are workers of a runner's.
    """
    shares: dict[int, float] = {}
    for looks in _looks_by_process(found):
        lasting = _lasting(looks, found)
        bodies = [body for body in found.body if body["pid"] == looks[0]["pid"]]
        known_s = begin_s = 0.0
        for look in looks:
            now_s = sum(look["cpu"].get(child, 0.0) for child in lasting)
            over = {id(body): min(look["t"], body["t1"]) - max(begin_s, body["t0"]) for body in bodies}
            over = {at: seconds for at, seconds in over.items() if seconds > 0}
            whole_s, added_s = sum(over.values()), max(now_s - known_s, 0.0)
            for at, seconds in over.items():
                shares[at] = shares.get(at, 0.0) + added_s * seconds / whole_s
            known_s, begin_s = now_s, look["t"]
    return shares


def _looks_by_process(found: Found) -> Iterator[list[Entry]]:
    """At the children of each process, in their order."""
    by_process: dict[int, list[Entry]] = {}
    for look in sorted(found.family, key=lambda entry: entry["t"]):
        by_process.setdefault(look["pid"], []).append(look)
    yield from by_process.values()


def _lasting(looks: Sequence[Entry], found: Found) -> list[str]:
    """Children that were there at the last look, have computed, and did not end with a body that was there as long."""
    last = looks[-1]
    bodies = [body for body in found.body if body["pid"] == last["pid"] and body["t1"] >= last["t"]]
    lasting = []
    for child, cpu_s in last["cpu"].items():
        since_s = next(look["t"] for look in looks if child in look["cpu"])
        ended = any(body["t0"] <= since_s and body["children"][1] - body["children"][0] >= cpu_s for body in bodies)
        if cpu_s > 0 and int(child) not in found.profiled and not ended:
            lasting.append(child)
    return lasting


def most_lasting(found: Found) -> int:
    """The most children of one process that outlive its tasks."""
    return max((len(_lasting(looks, found)) for looks in _looks_by_process(found)), default=0)
