"""Memory against makespan, with the frontier."""

from __future__ import annotations

from dataclasses import dataclass

from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Memory"


@dataclass(frozen=True)
class Footprint:
    arm: Arm
    makespan_s: float
    memory_bytes: float


def memory_against_makespan(summary: Summary) -> Drawing | Missing:
    """Peak memory (driver and workers) over makespan on the widest empty graph, the frontier marked."""
    points = _points(summary)
    if not points:
        return Missing(TITLE, "No cell of the widest empty graph carries its memory.")
    best = frontier(points)
    fig, axes = style.figure(4.2)
    marks = style.marks(summary.arms)
    axes.step(
        [p.makespan_s for p in best] + [max(p.makespan_s for p in points) * 2],
        [p.memory_bytes / 1e6 for p in best] + [best[-1].memory_bytes / 1e6],
        where="post",
        color=style.MUTED,
        linewidth=1,
        linestyle=(0, (4, 3)),
        zorder=1,
    )
    for point in points:
        behind = 2 if point.arm.role == "control" else 3
        look = marks[point.arm.name].plot() | {"linestyle": "none", "zorder": behind}
        axes.plot([point.makespan_s], [point.memory_bytes / 1e6], **look)
        if point in best:
            axes.plot(
                [point.makespan_s],
                [point.memory_bytes / 1e6],
                marker="o",
                markersize=13,
                markerfacecolor="none",
                markeredgecolor=style.MUTED,
                linestyle="none",
            )
    times, sizes = [p.makespan_s for p in points], [p.memory_bytes / 1e6 for p in points]
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 1.6, max(times) * 1.6)
    axes.set_ylim(0, max(sizes) * 1.12)
    style.log_time(axes.xaxis)
    reference = summary.reference
    axes.set_xlabel(f"makespan of {reference.tasks if reference else 0} empty tasks")
    axes.set_ylabel("peak memory, MB")
    style.legend(fig, [point.arm for point in points], marks)
    return Drawing(TITLE, _takeaway(points, best), _READING, fig)


_READING = (
    "Best is at the bottom left. Ringed arms on the dashed line are the frontier: no other Prefect arm is both faster "
    "and smaller. Memory is the sum of resident sizes, so pages that processes share count more than once."
)


def frontier(points: list[Footprint]) -> list[Footprint]:
    """The Prefect arms that no other one beats in both, fastest first; all of them if there are only bare arms."""
    candidates = [p for p in points if p.arm.choosable] or points
    best: list[Footprint] = []
    for point in sorted(candidates, key=lambda p: (p.makespan_s, p.memory_bytes)):
        if not best or point.memory_bytes < best[-1].memory_bytes:
            best.append(point)
    return best


def _points(summary: Summary) -> list[Footprint]:
    points = []
    for arm in summary.arms:
        cell = summary.cell(summary.widths, summary.reference.id, arm.name) if summary.reference else None
        if cell is None or cell.time_s is None:
            continue
        if (memory := cell.peak_rss_bytes.own) is not None:
            points.append(Footprint(arm, cell.time_s.value, memory))
    return points


def _takeaway(points: list[Footprint], best: list[Footprint]) -> str:
    largest = max(points, key=lambda p: p.memory_bytes)
    least = best[-1]
    if least is largest:
        return f"{least.arm.label} needs {units.size(least.memory_bytes)}."
    return (
        f"{least.arm.label} needs the least, {units.size(least.memory_bytes)}; {largest.arm.label} the most, "
        f"{units.size(largest.memory_bytes)}."
    )
