"""The kinds of work that a task's body does, and what they are called where there is room for how much."""

from __future__ import annotations

from runner_lab.records.graph import WorkKind
from runner_lab.reports.words.units import printable

ALL: tuple[WorkKind, ...] = ("sleep", "spin", "crunch", "none")
SEARCHED = ("sleep", "spin")
"""Those that METG is searched for, and that the decision map is drawn for."""

SPOKEN = {"sleep": "waiting", "spin": "CPU", "crunch": "CPU without the GIL", "none": "empty"}
_SHORT = {"sleep": "sleep (waits)", "spin": "spin (holds the GIL)", "crunch": "crunch (no GIL)"}
_ON_AXES = {
    "sleep": "waiting (sleep)",
    "spin": "CPU under the GIL (spin)",
    "crunch": "CPU outside the GIL (crunch)",
    "none": "empty",
}


def short(kind: str) -> str:
    """`spin (holds the GIL)`; one that is not the lab's by its own name, here as below."""
    return _SHORT.get(kind, printable(kind, 20))


def on_axes(kind: str) -> str:
    """`CPU under the GIL (spin)`."""
    return _ON_AXES.get(kind, printable(kind, 20))
