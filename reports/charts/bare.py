"""Prefect's cost over the bare engine."""

from __future__ import annotations

from dataclasses import dataclass

from runner_lab.reports.analysis.summary import ArmRow, Summary
from runner_lab.reports.charts import style
from runner_lab.reports.charts.style import Drawing, Missing
from runner_lab.reports.words import units

TITLE = "What Prefect adds"


@dataclass(frozen=True)
class EngineRows:
    """The arms of one engine: without Prefect, and with it, stock and lean."""

    bare: ArmRow
    prefect: tuple[ArmRow, ...]


def prefect_over_bare(summary: Summary) -> Drawing | Missing:
    """What one more empty task costs on the engine alone and under Prefect, a row for each engine."""
    engines = _engines(summary)
    if not engines:
        return Missing(TITLE, "There is no engine measured both with and without Prefect over several widths.")
    rows = [(engine, arm) for engine in engines for arm in engine.prefect]
    fig, axes = style.figure(style.rows_height(len(rows)) + 1.5)
    marks = style.marks(summary.arms)
    style.rows(axes, [row.arm.label for _, row in rows])
    axes.set_xscale("log")
    values = []
    for place, (engine, row) in enumerate(rows):
        bare, cost = _cost(engine.bare), _cost(row)
        values += [bare, cost]
        axes.plot([bare, cost], [place, place], color=marks[row.arm.name].colour, linewidth=1.2, alpha=0.6)
        axes.plot([bare], [place], **marks[engine.bare.arm.name].plot() | {"linestyle": "none"})
        axes.plot([cost], [place], **marks[row.arm.name].plot() | {"linestyle": "none"})
        axes.annotate(
            f"{units.times(cost / bare)}", (cost, place), (8, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_xlim(min(values) / 1.6, max(values) * 4)
    style.log_time(axes.xaxis)
    axes.set_xlabel("one more empty task")
    arms = [engine.bare.arm for engine in engines] + [row.arm for _, row in rows]
    style.legend(fig, list(dict.fromkeys(arms)), marks)
    return Drawing(TITLE, _takeaway(rows), _READING, fig)


_READING = (
    "Hollow: the same graph on the engine alone; filled: under Prefect; the number is their ratio. The difference "
    "buys states, retries, caching and the record on the server. A leaner runner may save some of it."
)


def _engines(summary: Summary) -> list[EngineRows]:
    engines = []
    for bare in summary.rows:
        if not bare.arm.bare or _cost(bare) <= 0:
            continue
        under = tuple(
            row
            for row in summary.rows
            if row.arm.engine == bare.arm.engine
            and row.arm.choosable
            and row.arm.workers == bare.arm.workers
            and _cost(row) > 0
        )
        if under:
            engines.append(EngineRows(bare, under))
    return engines


def _cost(row: ArmRow) -> float:
    """Marginal seconds a task; 0 where it was not measured."""
    return row.marginal.per_task_s.value if row.marginal else 0.0


def _takeaway(rows: list[tuple[EngineRows, ArmRow]]) -> str:
    stock = [(engine, row) for engine, row in rows if not row.arm.lean] or rows
    told = [f"{row.arm.label} {units.seconds(_cost(row) - _cost(engine.bare))}" for engine, row in stock]
    return f"Prefect adds to each empty task: {units.listed(told)}."
