"""One run's folder in, its report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner_lab.records import record as record_files
from runner_lab.records.findings import Findings
from runner_lab.reports import charts
from runner_lab.reports.analysis import summary as summaries
from runner_lab.reports.history import history, timings
from runner_lab.reports.pages import findings_tables, markdown, page, terminal
from runner_lab.reports.words import advice, verdict


@dataclass(frozen=True)
class Rendered:
    """The files that were written, and the words of the first screen for the terminal.

    summary: None where the folder holds findings of experiments alone.
    table: which runner for which work, as lines of 80 columns; empty where the run cannot tell.
    """

    html: Path
    markdown: Path
    summary: Path | None
    charts: tuple[Path, ...]
    verdict: tuple[str, ...]
    table: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def screen(self) -> tuple[str, ...]:
        """What a terminal shows at the end: warnings, then the verdict on one screen, and where the report is."""
        warnings = tuple(f"warning: {warning}" for warning in self.warnings)
        # The table has the answers; the report says the rest.
        verdict = (*self.table, self.verdict[0]) if self.table else self.verdict
        return (*warnings, *verdict, f"report: {self.html}")


def render(run_dir: Path) -> Rendered:
    """Write `report.html`, `report.md`, `details.md`, `summary.json` and `charts/` into a run's folder.

    The run is kept in the history.

    Starts nothing and imports no Prefect, Dask or Ray; the same records give the same bytes.

    Args:
        run_dir: the folder, or its `records.jsonl`.

    Raises:
        RecordError: the folder holds no usable record, or cannot be written; one line for the user.
    """
    run_dir = run_dir.parent if run_dir.is_file() else run_dir
    findings, notes = findings_tables.find(run_dir)
    if (findings or notes) and not (run_dir / record_files.FILE_NAME).exists():
        return _alone(run_dir, findings, notes)
    summary = summaries.summarise(run_dir)
    words, warnings = verdict.of(summary), (*advice.warnings(summary), *notes)
    drawn = charts.draw(summary)
    folder = run_dir / "charts"
    contents: dict[Path, bytes] = {}
    for chart in drawn:
        if chart.missing is None:
            contents[folder / f"{chart.name}.svg"] = chart.document.encode()
            if chart.png:
                contents[folder / f"{chart.name}.png"] = chart.png
    pictures = tuple(contents)
    html, md, data = run_dir / "report.html", run_dir / "report.md", run_dir / "summary.json"
    contents[html] = page.html(summary, words, warnings, drawn, findings).encode()
    contents[md] = markdown.text(summary, words, warnings, drawn, findings).encode()
    contents[run_dir / markdown.DETAILS] = markdown.details(summary, drawn, findings).encode()
    contents[data] = summaries.to_json(summary, words, warnings).encode()
    _write(folder, contents)
    try:
        history.keep(run_dir, summary, timings.read(run_dir), words[0])
    except summaries.RecordError as error:
        # The report is what the run was for, and it is written.
        warnings = (*warnings, f"Not kept in the history: {error}")
    return Rendered(html, md, data, pictures, words, terminal.decision_lines(summary), warnings)


def _alone(run_dir: Path, findings: list[Findings], notes: list[str]) -> Rendered:
    """A folder that holds findings and no records.

    Raises:
        RecordError: none of its files can be used.
    """
    if not findings:
        raise summaries.RecordError(notes[0])
    html, md = run_dir / "report.html", run_dir / "report.md"
    contents = {
        html: page.alone(findings, notes).encode(),
        md: markdown.alone(findings, notes).encode(),
        run_dir / markdown.DETAILS: markdown.details_alone(findings).encode(),
    }
    _write(run_dir / "charts", contents)
    words = tuple(f"{found.title}. {findings_tables.headline(found)}" for found in findings)
    return Rendered(html, md, None, (), words, (), tuple(notes))


def _write(folder: Path, contents: dict[Path, bytes]) -> None:
    """Write every file, and drop charts of an earlier rendering that these records no longer carry."""
    try:
        if any(path.parent == folder for path in contents):
            folder.mkdir(exist_ok=True)
        for path, content in contents.items():
            path.write_bytes(content)
        for stale in {*folder.glob("*.svg"), *folder.glob("*.png")} - contents.keys():
            stale.unlink()
    except OSError as error:
        raise summaries.RecordError(f"cannot write the report: {error}") from None
