"""What is folded away below the answer: a line for each subject that says its finding, its chart and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.charts import FIRST_SCREEN, Chart
from runner_lab.reports.pages import comparison_tables, suite_tables, tables
from runner_lab.reports.pages.tables import Table
from runner_lab.reports.words import units

IN_HOW_SURE = ("predicted-against-measured",)
"""Charts that stand with the tables of how sure the answers are."""
TABLES_OF = {
    "makespan-by-width": ("arms",),
    "paired-ratios": ("suites",),
    "efficiency-by-duration": ("metg",),
    "speedup-by-batch": ("batching",),
    "speedup-by-workers": ("worker_scaling",),
    "where-a-task-goes": ("task_stages",),
}
"""The tables that belong to a chart, by their ids; a table of no chart has a fold of its own."""


@dataclass(frozen=True)
class Fold:
    """One subject. `finding` is the line that is seen while it is folded."""

    id: str
    title: str
    finding: str
    chart: Chart | None = None
    tables: tuple[Table, ...] = ()


def of(summary: Summary, charts: Sequence[Chart]) -> list[Fold]:
    """A fold for each chart that could be drawn, then for each table without one."""
    every = {table.id: table for table in _tables(summary)}
    drawn = [c for c in charts if c.missing is None and c.name not in (*FIRST_SCREEN, *IN_HOW_SURE)]
    folds = [_with_tables(chart, every) for chart in drawn]
    shown = {table.id for fold in folds for table in fold.tables}
    return [*folds, *(_alone(table) for name, table in every.items() if name not in shown)]


def measurements(summary: Summary) -> list[Fold]:
    """Every measurement, a fold for each suite; of a user's flow one."""
    if summary.flow:
        every = [comparison_tables.measurements(summary)]
    else:
        every = [tables.cells_of(summary, suite) for suite in summary.suites]
    return [
        Fold(f"{table.id}-fold", table.caption, f"{len(table.rows)} {table.rows_are}", tables=(table,))
        for table in every
    ]


def _tables(summary: Summary) -> list[Table]:
    """Those that are not open."""
    if summary.flow:
        return [comparison_tables.main(summary)]
    found = [tables.main(summary), tables.against_baseline(summary), tables.task_stages(summary)]
    return [table for table in (*found, *suite_tables.of(summary)) if table is not None]


def _with_tables(chart: Chart, every: dict[str, Table]) -> Fold:
    own = tuple(every[name] for name in TABLES_OF.get(chart.name, ()) if name in every)
    return Fold(f"{chart.name}-fold", chart.title, chart.takeaway, chart, own)


def _alone(table: Table) -> Fold:
    finding, _, rest = table.note.partition(". ")
    shown = replace(table, note=rest)
    finding = finding.rstrip(".") or units.plural(len(table.rows), "row")
    return Fold(f"{table.id}-fold", table.caption, finding, tables=(shown,))
