"""A flow's task runs as a time line of its slots: one row a slot, one colour a task, legible for thousands of runs.

One SVG path for all runs of a task: runs of a task that follow each other within a pixel are drawn as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from runner_lab.reports.charts import style
from runner_lab.reports.charts.svg import variable
from runner_lab.reports.words import units

WIDTH = 960
_LEFT = 8
_TALLEST = 320
_ROW = (3, 16)
"""Height of a row in pixels, least and most."""


@dataclass(frozen=True)
class Stretch:
    """A bar: seconds from the start. lane: row of its slot; None: the flow's own thread."""

    task: str
    lane: int | None
    start_s: float
    end_s: float


def colours(tasks: Sequence[str]) -> Mapping[str, str]:
    """By task, in this order; the last ones, where they are many, share one."""
    own = [colour for colour, _ in style.PALETTE[1:]]
    return {task: own[i] if i < len(own) else style.PALETTE[0][0] for i, task in enumerate(tasks)}


def timeline(name: str, title: str, runs: Sequence[Stretch], until_s: float, colour: Mapping[str, str]) -> str:
    """An inline SVG; `name` is unique on the page.

    Args:
        until_s: right end of the time axis, the same for time lines that are compared.
    """
    rows = _rows(runs)
    height = min(max(_TALLEST / max(len(rows), 1), _ROW[0]), _ROW[1])
    scale = (WIDTH - 2 * _LEFT) / max(until_s, 1e-9)
    paths: dict[str, list[str]] = {}
    for row, bars in enumerate(rows):
        top = row * height
        for task, start, end in _drawn(bars, scale):
            wide = max(end - start, 0.6)
            bar = f"M{_LEFT + start:.1f} {top:.1f}h{wide:.1f}v{height * 0.86:.1f}h-{wide:.1f}z"
            paths.setdefault(task, []).append(bar)
    bottom = len(rows) * height
    parts = [
        f'<path d="{"".join(path)}" fill="{variable(colour[task])}"><title>{escape(task)}</title></path>'
        for task, path in paths.items()
    ]
    parts += _axis(until_s, scale, bottom)
    head = f'viewBox="0 0 {WIDTH} {bottom + 22:.0f}" role="img" aria-labelledby="{name}-title"'
    return (
        f'<svg {head} style="width:100%;height:auto">'
        f'<title id="{name}-title">{escape(title)}</title>{"".join(parts)}</svg>'
    )


def _rows(runs: Sequence[Stretch]) -> list[list[Stretch]]:
    """The flow's own thread first, then the slots; a run that overlaps another in its row gets a row of its own."""
    rows: dict[tuple[int, int], list[Stretch]] = {}
    ends: dict[tuple[int, int], float] = {}
    for run in sorted(runs, key=lambda run: run.start_s):
        lane = -1 if run.lane is None else run.lane
        depth = 0
        while ends.get((lane, depth), 0.0) > run.start_s + 1e-6:
            depth += 1
        rows.setdefault((lane, depth), []).append(run)
        ends[lane, depth] = run.end_s
    return [rows[key] for key in sorted(rows)]


def _drawn(bars: Sequence[Stretch], scale: float) -> list[tuple[str, float, float]]:
    """Of one row, in pixels; runs of a task within a pixel of each other as one."""
    found: list[tuple[str, float, float]] = []
    for run in bars:
        start, end = run.start_s * scale, run.end_s * scale
        if found and found[-1][0] == run.task and start - found[-1][2] < 0.5 and end - found[-1][1] < 4.0:
            found[-1] = (run.task, found[-1][1], end)
        else:
            found.append((run.task, start, end))
    return found


def _axis(until_s: float, scale: float, bottom: float) -> list[str]:
    step = next(s for s in (m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5)) if s * 8 >= until_s)
    ticks, at = [], 0.0
    while at <= until_s * 1.0001:
        x = _LEFT + at * scale
        anchor = "start" if at == 0 else "end" if x > WIDTH - 30 else "middle"
        ticks.append(f'<path d="M{x:.1f} 0v{bottom:.1f}" stroke="{variable(style.GRID)}" stroke-width="0.5"/>')
        label = escape(units.exactly(at)) if at else "0"
        text = f'x="{x:.1f}" y="{bottom + 15:.1f}" text-anchor="{anchor}" font-size="12" fill="{variable(style.MUTED)}"'
        ticks.append(f"<text {text}>{label}</text>")
        at += step
    return ticks
