"""Makespan by size of the results that tasks hand on."""

from __future__ import annotations

from runner_lab.reports.analysis.cells import usual_width
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "Large results"


def makespan_by_payload(summary: Summary) -> Drawing | Missing:
    """Makespan over the bytes that each `hello` returns, a line for each arm."""
    times = {arm: found for arm in summary.arms if (found := _times(summary, arm))}
    sizes = sorted({size for found in times.values() for size in found})
    if len(sizes) < 2:
        return Missing(TITLE, "The run has no payload cells of at least two sizes to compare.")
    fig, axes = style.figure(4.0)
    marks = style.marks(summary.arms)
    for arm, found in times.items():
        points = sorted(found.items())
        low, high = zip(*(style.whiskers(time) for _, time in points), strict=True)
        axes.errorbar(
            [sizes.index(size) for size, _ in points],
            [time.value for _, time in points],
            yerr=(low, high),
            capsize=2,
            elinewidth=0.9,
            **marks[arm.name].plot(),
        )
    values = [time.value for found in times.values() for time in found.values()]
    axes.set_yscale("log")
    axes.set_ylim(min(values) / 2, max(values) * 2)
    style.log_time(axes.yaxis)
    axes.set_xticks(range(len(sizes)), [units.size(size) if size else "none" for size in sizes])
    axes.set_xlim(-0.3, len(sizes) - 0.7)
    axes.set_xlabel("result of each hello task")
    axes.set_ylabel("makespan")
    style.legend(fig, list(times), marks)
    return Drawing(TITLE, _takeaway(times, sizes), _READING, fig)


_READING = (
    "Lower is better; the axis of time is logarithmic, bars are 95 % intervals over blocks. Threads hand over a "
    "reference; other engines serialize each result and move it between processes, so their lines rise with its size."
)


def _times(summary: Summary, arm: Arm) -> dict[int, Estimate]:
    """By payload in bytes, at the width that the arm's payload cells have most often; without any, of empty tasks."""
    cells = summary.of("payload", arm.name)
    width = usual_width(cells)
    cells = [*summary.of(summary.widths, arm.name), *cells]
    return {cell.graph.payload_bytes: cell.time_s for cell in cells if cell.time_s and cell.graph.width == width}


def _takeaway(times: dict[Arm, dict[int, Estimate]], sizes: list[int]) -> str:
    added = sorted(
        (found[sizes[-1]].value - found[sizes[0]].value, arm.label)
        for arm, found in times.items()
        if sizes[0] in found and sizes[-1] in found and arm.choosable
    )
    if not added:
        return "No Prefect arm was measured at both ends."
    told = f"Results of {units.size(sizes[-1])} add most under {added[-1][1]}, {_more(added[-1][0])}"
    return told + (f", and least under {added[0][1]}, {_more(added[0][0])}." if len(added) > 1 else ".")


def _more(seconds: float) -> str:
    return units.seconds(seconds) if seconds > 0 else "nothing"
