"""Figures that stand in more than one place are the same: README.md, docs/ and the sample report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.test_docs import rows

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SAMPLE = ROOT / "docs" / "sample-report" / "report.md"
TIME = r"~?[\d.]+ (?:µs|ms|s|min|h)\b"


def told(cell: str) -> list[tuple[str, str]]:
    """Of a cell of the sample's table the runner with its time, and the one for tasks that are not async."""
    runner, _, rest = cell.replace("&#126;", "~").partition("<br>")
    own, _, other = rest.partition("without async tasks: ")
    found = [(runner, own)] + ([(other.partition(",")[0], other)] if other else [])
    return [(name, time.group()) for name, text in found if (time := re.search(TIME, text))]


def shown(cell: str) -> list[tuple[str, str]]:
    """The same of a cell of README's."""
    lines = [re.fullmatch(rf"([a-z-]+)(?: x\d+)? ({TIME})", line) for line in cell.split("<br>")]
    return [line.groups() for line in lines if line]  # type: ignore[misc]


@pytest.mark.parametrize("work", ["waits 0.3 s", "CPU 0.1 s", "CPU 1 s", "CPU 1 min", "1 ms or less"])
def test_the_readmes_table_is_the_sample_runs(work):
    assert list(map(shown, rows(ROOT / "README.md", "**Which Prefect")[work])) == list(
        map(told, rows(SAMPLE, "## Verdict")[work])
    )


def test_the_readmes_costs_of_a_task_are_the_sample_runs():
    """As many digits as the README gives."""
    sentence = SAMPLE.read_text().partition("An empty task costs ")[2].partition("\n")[0]
    sample = {arm: float(ms) for ms, arm in re.findall(r"([\d.]+) ms under ([a-z-]+)", sentence)}
    told = README.partition("In the sample run an empty task cost")[2].partition("\n\n")[0]
    found = re.findall(r"([\d.]+) ms under (lean )?(Ray|Dask|processes|threads)", " ".join(told.split()))

    assert len(found) >= 4
    for ms, lean, engine in found:
        assert float(f"{sample[('lean-' if lean else '') + engine.lower()]:.{len(ms.replace('.', ''))}g}") == float(ms)


def test_the_readmes_real_flows_are_those_of_their_page():
    page = (ROOT / "docs" / "real-flows.md").read_text().replace("&#95;", "_").partition("<!-- cases: begin -->")[2]
    table = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in page.splitlines() if line[:2] == "| "]
    head, whole = table[0], {cells[0].partition("<br>")[0]: cells for cells in table[2:]}
    shown = rows(ROOT / "README.md", "[Real flows](docs/real-flows.md) on two cores")

    assert set(shown) == set(whole)
    for flow, (threads, fastest, named, regret) in shown.items():
        cells = dict(zip(head, whole[flow], strict=True))
        times = {arm.partition(" (")[0]: time for arm, time in cells.items() if re.fullmatch(TIME, time)}
        best = cells["Best"].partition("<br>")[0]
        assert (threads, fastest) == (times["threads"], f"{best} {times[best]}")
        assert cells["Predicted"].startswith(named.partition(" x")[0])
        assert cells["Regret"] == regret


def test_the_readmes_regret_is_the_methods():
    runs = rows(ROOT / "docs" / "method.md", 'id="how-right-the-answers-are"')
    [(pieces, median, worst)] = [cells[:3] for name, cells in runs.items() if "sample-report" in name]

    text = " ".join(README.split())
    assert f"on {pieces} pieces of work" in text
    assert f"{median} times the best one's time in the median" in text
    assert f"{worst} times at worst" in text
