"""The table of the real flows: for the terminal, for `cases.md`, and for a page of the docs."""

from __future__ import annotations

from pathlib import Path

from runner_lab.records import cases as cases_file
from runner_lab.records.cases import ArmTime, MeasuredCase, MeasuredCases
from runner_lab.records.validation import RecordError
from runner_lab.reports import charts
from runner_lab.reports.pages import generated, markdown
from runner_lab.reports.pages.tables import Column, Entry, Table
from runner_lab.reports.words import units

PAGE = "cases.md"
CHART = "cases-by-runner.png"
MARKER = "cases"
"""Between markers of this name a page of the docs has the table."""


def table(measured: MeasuredCases) -> Table:
    """A flow a row: its time under each runner, the best, whether results agree, and what was predicted, if it was."""
    arms = measured.arms
    slots = {arm: _slots(measured, arm) for arm in arms}
    predicted = any(case.predicted for case in measured.cases)
    columns = (
        Column("Flow", numeric=False),
        *(Column(f"{arm} ({slots[arm]})" if slots[arm] else arm) for arm in arms),
        Column("Best", numeric=False),
        Column("Results", numeric=False),
        *((Column("Predicted", numeric=False), Column("Regret")) if predicted else ()),
    )
    rows = tuple(_row(case, arms, slots, predicted) for case in measured.cases)
    blocks = measured.plan.blocks
    often = "measured once" if blocks == 1 else f"mean of up to {blocks} blocks"
    note = f"Time of one run of the flow, {often}, on workers that are up."
    if told := [f"{name}({', '.join(values)})" for name, values in measured.plan.parameters.items() if values]:
        note += f" Measured with {units.listed([units.printable(one, 120) for one in told])}."
    if predicted:
        note += (
            " Regret: time under the recommended runner, in the recommended slots, over the best time. If these are "
            f"not its usual slots, both were measured again beside each other.{_errors(measured)}"
        )
    return Table("cases", "Real flows", columns, rows, note, rows_are="flows")


def _errors(measured: MeasuredCases) -> str:
    """How far the predictions of all runners were off, in a sentence."""
    off = sorted(abs(ratio - 1) for case in measured.cases for ratio in case.ratios.values())
    if not off:
        return ""
    most = off[min(int(0.9 * len(off)), len(off) - 1)]
    median = units.percent(off[len(off) // 2])
    return (
        f" {len(off)} times were predicted from one run of each flow: median error {median}, 9 of 10 within "
        f"{units.percent(most)}."
    )


def _slots(measured: MeasuredCases, arm: str) -> str:
    """That it had in every case; nothing where they differ."""
    told = {time.slots for case in measured.cases if (time := case.of(arm))}
    return told.pop() if len(told) == 1 else ""


def _row(case: MeasuredCase, arms: tuple[str, ...], slots: dict[str, str], predicted: bool) -> tuple[Entry, ...]:
    times = [_time(case.of(arm), slots[arm]) for arm in arms]
    # What was measured once may be as fast as anything.
    level = [arm for arm in case.level if arm != case.best] if all(time.blocks > 1 for time in case.arms) else []
    best = Entry(case.best or units.NONE, f"as fast: {units.listed(level)}" if level else "")
    results = Entry(case.results, tone="failed" if case.results == "different" else "")
    return (Entry(case.case, case.does), *times, best, results, *(_predicted(case) if predicted else ()))


def _time(time: ArmTime | None, slots: str) -> Entry:
    if time is None:
        return Entry(units.NONE)
    if time.seconds is None:
        return Entry("failed", time.error, tone="failed")
    detail = [] if time.low is None or time.high is None else [units.span(*map(units.seconds, (time.low, time.high)))]
    detail += [] if slots or not time.slots else [time.slots]
    detail += [f"failed {time.failed} of {time.blocks + time.failed} times"] if time.failed else []
    return Entry(units.seconds(time.seconds), "\n".join(detail), time.seconds)


def _predicted(case: MeasuredCase) -> tuple[Entry, Entry]:
    if case.predicted is None:
        return Entry(units.NONE), Entry(units.NONE)
    named, of_named, measured = case.predicted.named, case.predicted.of_named, case.named
    # Direct calls and `gather` have none.
    slots = f", {units.plural(named.slots, 'slot')}" if named.slots and case.of(named.arm) else ""
    text = f"{named.arm}{slots}"
    detail = [f"predicted {units.seconds(of_named.seconds)}"] if of_named else []
    if of_named and of_named.low is not None and of_named.high is not None:
        detail[0] += f" ({units.span(*map(units.seconds, (of_named.low, of_named.high)))})"
    if measured is None:
        return Entry(text, "\n".join([*detail, "not measured"])), Entry(units.NONE)
    detail.append(f"measured {units.seconds(measured.seconds)}")
    if not case.measured_as_named:
        detail[-1] += f" beside {measured.best}, {units.seconds(measured.best_s)}"
    return Entry(text, "\n".join(detail)), Entry(units.digits(measured.regret), sort=measured.regret)


def write(folder: Path, measured: MeasuredCases, page: Path | None = None) -> list[Path]:
    """Write `cases.json`, `cases.md` and the chart into the folder.

    Args:
        page: a Markdown file that gets the table between its markers, and the chart beside it as `STEM.png`.

    Returns:
        What was written.

    Raises:
        RecordError: a file cannot be written, or the page has no markers.
    """
    chart = charts.draw_cases(measured)
    written = [folder / cases_file.FILE_NAME, folder / PAGE]
    try:
        cases_file.write(folder, measured)
        if chart.png:
            (folder / CHART).write_bytes(chart.png)
            written.append(folder / CHART)
        lines = ["# Real flows", "", *_lines(measured, chart, CHART if chart.png else None), "", *_reports(measured)]
        (folder / PAGE).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if page is not None:
            written += _into(page, measured, chart)
    except OSError as error:
        raise RecordError(f"cannot write the table of the cases: {error}") from None
    return written


def _into(page: Path, measured: MeasuredCases, chart: charts.Chart) -> list[Path]:
    picture = page.with_suffix(".png")
    generated.put(page, MARKER, "\n".join(_lines(measured, chart, picture.name if chart.png else None)))
    if chart.png:
        picture.write_bytes(chart.png)
    return [page, *([picture] if chart.png else [])]


def _lines(measured: MeasuredCases, chart: charts.Chart, picture: str | None) -> list[str]:
    lines = markdown.lines_of(table(measured))
    if picture is None:
        return lines
    takeaway, reading = markdown.escape(chart.takeaway), markdown.escape(chart.reading)
    return [*lines, "", takeaway, "", f"![{markdown.escape(chart.title)}: {takeaway}]({picture})", "", reading]


def _reports(measured: MeasuredCases) -> list[str]:
    done = [case for case in measured.cases if case.arms]
    return ["The report of each:", "", *(f"- [{case.case}]({case.folder}/report.md)" for case in done)] if done else []
