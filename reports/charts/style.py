"""How the charts look: one colour and one mark an arm everywhere, readable for the colour-blind, light and dark.

Colours are Okabe and Ito's (2008) for arms whose engine names its place among them, and Paul Tol's muted set for all
others. A lean arm has the hue of the stock arm with a star and dashes; a bare arm has it with a hollow mark and dots.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.words import units

WIDTH_IN = 5.2
INK, MUTED, GRID, SURFACE, BAND = "#1f2328", "#59636e", "#d8dee4", "#ffffff", "#d3dce6"
PHASES = ("#332288", "#44aa99", "#ddcc77", "#999999", "#cc6677", "#88ccee")

DARK = {
    INK: "#e6edf3",
    MUTED: "#9ea7b3",
    GRID: "#363d47",
    SURFACE: "#161b22",
    BAND: "#3d4754",
    "#555555": "#b4b4b4",
    "#0072b2": "#4aa8e0",
    "#56b4e9": "#8fd0f7",
    "#d55e00": "#f08a3c",
    "#009e73": "#2fc79a",
    "#cc79a7": "#e39bc3",
    "#e69f00": "#f0b93a",
    "#332288": "#9488e6",
    "#882255": "#d0679b",
    "#999933": "#c0c060",
    "#117733": "#4fb870",
    "#44aa99": "#5fc7b5",
    "#aa4499": "#d07cc3",
    "#ddcc77": "#ddcc77",
    "#999999": "#8a929b",
    "#cc6677": "#e08a99",
    "#88ccee": "#88ccee",
}
"""Every colour a chart may use, with the one that takes its place on a dark page."""

PALETTE = (
    ("#555555", "P"),
    ("#0072b2", "o"),
    ("#56b4e9", "v"),
    ("#d55e00", "s"),
    ("#009e73", "^"),
    ("#cc79a7", "D"),
    ("#e69f00", "X"),
)
"""Colours and markers, by the place that an arm's engine names (`ArmTraits.palette`)."""
OTHERS = (
    ("#cc6677", "H"),
    ("#332288", "h"),
    ("#882255", "<"),
    ("#999933", ">"),
    ("#117733", "p"),
    ("#44aa99", "d"),
    ("#aa4499", "8"),
)
"""Those of arms whose engine names no place."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.facecolor": SURFACE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "hatch.linewidth": 0.8,
    "hatch.color": SURFACE,
    "svg.fonttype": "none",
    "svg.hashsalt": "runner-lab",
    "path.simplify": False,
}


@dataclass(frozen=True)
class Panel:
    """A part of a chart whose points are questions: number of tasks by seconds of one, both axes logarithmic.

    id: of its group in the SVG, where the first path is its background.
    """

    id: str
    kind: str
    cold: bool
    tasks: tuple[float, float]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """A chart and its words: `takeaway` is one sentence made from the data, `reading` how to read the chart."""

    title: str
    takeaway: str
    reading: str
    figure: Figure
    panels: tuple[Panel, ...] = ()


@dataclass(frozen=True)
class Missing:
    """A chart that these records cannot carry, and why."""

    title: str
    reason: str


@dataclass(frozen=True)
class Mark:
    """How an arm is drawn."""

    colour: str
    marker: str
    line: str
    hollow: bool

    def plot(self) -> dict[str, Any]:
        """For `Axes.plot` and `errorbar`."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.line,
            "markerfacecolor": SURFACE if self.hollow else self.colour,
            "markeredgecolor": self.colour,
            "markersize": 8 if self.marker == "*" else 5.5,
            "linewidth": 1.4,
        }


def marks(arms: Iterable[Arm]) -> dict[str, Mark]:
    """The mark of each arm by name. Where its engine names none, it is drawn from the name, so the arm keeps it."""
    taken: dict[str, int] = {}
    result = {}
    for arm in sorted(arms, key=lambda a: a.name):
        place = arm.traits.palette
        colour, marker = PALETTE[place % len(PALETTE)] if place is not None else OTHERS[_drawn(arm, taken)]
        line = ":" if arm.bare else "--" if arm.lean else "-"
        result[arm.name] = Mark(colour, "*" if arm.lean else marker, line, arm.bare)
    return result


def _drawn(arm: Arm, taken: dict[str, int]) -> int:
    """A place among the others: the next that is free, while there is one. An arm's lean and bare forms share it."""
    stem = arm.name.removeprefix("lean-").removeprefix("bare-") if arm.lean or arm.bare else arm.name
    if stem not in taken:
        place = zlib.crc32(stem.encode("utf-8", "replace")) % len(OTHERS)
        while place in taken.values() and len(set(taken.values())) < len(OTHERS):
            place = (place + 1) % len(OTHERS)
        taken[stem] = place
    return taken[stem]


def figure(height_in: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of the report's width and its axes."""
    fig = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def short(label: str, limit: int = 18) -> str:
    """An arm's label, cut to fit beside an axis."""
    return units.printable(label, limit)


def legend(fig: Figure, arms: Sequence[Arm], drawn: Mapping[str, Mark], more: Sequence[Line2D] = ()) -> None:
    """All arms of the chart, and `more`, below it, in as many columns as their names leave room for."""
    handles = [*(Line2D([], [], label=short(arm.label), **drawn[arm.name].plot()) for arm in arms), *more]
    columns = 4 if max((len(str(handle.get_label())) for handle in handles), default=0) <= 10 else 3
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=math.ceil(len(handles) / math.ceil(len(handles) / columns)),
        columnspacing=1.2,
        handletextpad=0.5,
    )


def rows(axes: Axes, labels: Sequence[str]) -> None:
    """One row a label, the first at the top, on the y axis."""
    axes.set_yticks(range(len(labels)), [short(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def shares(axis: Any) -> None:
    """Ticks of shares of 1, in per cent."""
    axis.set_major_formatter(lambda value, _: f"{value * 100:.0f} %")


def rows_height(count: int) -> float:
    """Inches for `count` rows."""
    return 0.24 * max(count, 2) + 0.2


def log_time(axis: Any, most: int = 6) -> None:
    """Ticks of a logarithmic axis in seconds, with the unit that suits each."""
    _log_ticks(axis, most, units.exactly)


def log_ratio(axis: Any, most: int = 6) -> None:
    """Ticks of a logarithmic axis of ratios."""
    _log_ticks(axis, most, lambda value: f"{value:g}x")


def _log_ticks(axis: Any, most: int, told: Callable[[float], str]) -> None:
    """At about `most` places no closer than their labels allow: as many steps a decade as the range leaves room for."""
    low, high = axis.get_view_interval()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.2, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= high]
        gaps = [math.log(b / a) / math.log(high / low) for a, b in pairwise(ticks)]
        if len(ticks) <= most + 1 and min(gaps, default=1) >= 0.9 / most:
            break
    axis.set_major_locator(FixedLocator(ticks[:: -(-len(ticks) // (most + 1))] if ticks else [low]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: told(value)))
    axis.set_minor_locator(NullLocator())


def whiskers(estimate: Estimate) -> tuple[float, float]:
    """Distances from the value down and up to the interval's ends; none without an interval that tells anything."""
    if estimate.low is None or estimate.high is None or estimate.vague:
        return 0.0, 0.0
    return max(estimate.value - estimate.low, 0.0), max(estimate.high - estimate.value, 0.0)
