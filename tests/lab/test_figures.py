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


def told(cell: str) -> tuple[str, str]:
    """The runner of a cell of the sample's table, and its time."""
    runner, _, rest = cell.replace("&#126;", "~").partition("<br>")
    time = re.search(TIME, rest)
    assert time
    return runner, time.group()


def block(row: str) -> list[str]:
    """The lines of README's table from one sort of work to the next."""
    lines = README.partition(" a task  ")[2].partition("```")[0].splitlines()
    [at] = [number for number, line in enumerate(lines) if line.strip().startswith(f"{row}  ")]
    rest = [number for number, line in enumerate(lines) if number > at and re.match(r" (\S| \S)", line[:3])]
    return lines[at : rest[0] if rest else len(lines)]


@pytest.mark.parametrize("work", ["waits 0.3 s", "CPU 0.1 s", "CPU 1 s", "CPU 1 min", "1 ms or less"])
def test_the_readmes_table_is_the_sample_runs(work):
    cells = [told(cell) for cell in rows(SAMPLE, "## Verdict")[work]]
    lines = block(work)

    named = lines[0].strip().removeprefix(work).split()
    assert [word for word in named if not re.fullmatch(r"x\d+", word)] == [runner for runner, _ in cells]
    assert re.findall(TIME, lines[1]) == [time for _, time in cells]


def test_the_readmes_costs_of_a_task_are_the_sample_runs():
    """As many digits as the README gives."""
    sentence = SAMPLE.read_text().partition("An empty task costs ")[2].partition("\n")[0]
    sample = {arm: float(ms) for ms, arm in re.findall(r"([\d.]+) ms under ([a-z-]+)", sentence)}
    told = README.partition("In the sample run an empty task cost")[2].partition("\n\n")[0]
    found = re.findall(r"([\d.]+) ms under (lean )?(Ray|Dask|processes|threads)", " ".join(told.split()))

    assert len(found) >= 4
    for ms, lean, engine in found:
        assert float(f"{sample[('lean-' if lean else '') + engine.lower()]:.{len(ms.replace('.', ''))}g}") == float(ms)


def test_the_readmes_regret_is_the_methods():
    runs = rows(ROOT / "docs" / "method.md", 'id="how-right-the-answers-are"')
    [(pieces, median, worst)] = [cells[:3] for name, cells in runs.items() if "sample-report" in name]

    text = " ".join(README.split())
    assert f"on {pieces} pieces of work" in text
    assert f"{median} times the best one's time in the median" in text
    assert f"{worst} times at worst" in text
