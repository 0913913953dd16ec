"""What batches gain: the same items, more of them to a task."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from runner_lab.reports.analysis.batching import Batched, batched
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Mark, Missing
from runner_lab.reports.words import units

TITLE = "Several items to a task"


def speedup_by_batch(summary: Summary) -> Drawing | Missing:
    """How many times as fast the same items are done in batches, a line for each arm, a panel for each sort of item."""
    found = batched(summary)
    if not found:
        return Missing(TITLE, "No arm has cells of the batching suite with two sizes of batch.")
    panels = list(dict.fromkeys((one.kind, one.item_s, one.items) for one in found))
    arms = list(dict.fromkeys(one.arm for one in found))
    fig, grid = style.figure(3.3 + 0.2 * (len(arms) // 4), 1, len(panels), sharey=True, squeeze=False)
    marks = style.marks(summary.arms)
    for axes, panel in zip(grid.flat, panels, strict=True):
        own = [one for one in found if (one.kind, one.item_s, one.items) == panel]
        _panel(axes, own, marks)
    grid.flat[0].set_ylabel("times as fast")
    style.legend(fig, arms, marks)
    return Drawing(TITLE, _takeaway(found), _READING, fig)


_READING = (
    "Higher is better: how many times as fast the items are done as with the smallest batch. Bars are 95 % intervals "
    "over blocks. The price: Prefect sees one task run for a whole batch, with one state and one log; when one item "
    "fails all are retried; the cache holds all items or none. A line that bends down has too few tasks for its "
    "workers."
)


def _panel(axes: Axes, found: Sequence[Batched], marks: dict[str, Mark]) -> None:
    sizes = sorted({size for one in found for size in one.gains})
    values = []
    for one in found:
        low, high = zip(*(style.whiskers(gain) for gain in one.gains.values()), strict=True)
        places = [sizes.index(size) for size in one.gains]
        gains = [gain.value for gain in one.gains.values()]
        axes.errorbar(places, gains, yerr=(low, high), capsize=2, elinewidth=0.9, **marks[one.arm.name].plot())
        values += gains
    axes.axhline(1, color=style.MUTED, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(min(*values, 1) / 1.3, max(*values, 1) * 1.5)
    style.log_ratio(axes.yaxis, 5)
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlim(-0.3, len(sizes) - 0.7)
    axes.set_xlabel("items to a task")
    axes.set_title(_items(found[0]), fontsize=9)


def _items(one: Batched) -> str:
    """`48 items of 20 ms (sleep)`."""
    return f"{one.items} items of {units.exactly(one.item_s)} ({units.printable(one.kind, 20)})"


def _takeaway(found: Sequence[Batched]) -> str:
    told = []
    for items in dict.fromkeys(_items(one) for one in found):
        own = sorted((one for one in found if _items(one) == items), key=lambda one: -one.gains[one.best].value)
        ends = own if len(own) < 3 else [own[0], own[-1]]
        gains = [f"{units.times(o.gains[o.best].value)} under {o.arm.label} with {o.best} to a task" for o in ends]
        told.append(f"{items}, {units.listed(gains)}")
    return f"Times as fast in batches: {'; '.join(told)}."
