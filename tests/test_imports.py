"""Data flows one way: which package may import which of the others, read from their source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "records": set(),
    "flows": {"records"},
    "runners": {"records"},
    "reports": {"records"},
    "benchmarks": {"records", "flows", "runners", "reports"},
    "lab": {"records", "flows", "runners", "reports", "benchmarks"},
    "runners/lean": set(),
}


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and package of every import of one of the lab's own, wherever in the file it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # One dot stays in its own folder; more of them are not used.
            assert node.level < 2, f"{path}:{node.lineno}"
            names = [] if node.level else [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [(node.lineno, name.split(".")[1]) for name in names if name.startswith("runner_lab.")]
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_arrow_runs_back(package: str) -> None:
    others = MAY_IMPORT.keys() - {package}
    inner = [ROOT / other for other in others if other.startswith(f"{package}/")]
    files = [p for p in (ROOT / package).rglob("*.py") if not any(p.is_relative_to(folder) for folder in inner)]
    files = [path for path in files if ".venv" not in path.parts and "tests" not in path.parts]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports(path)
        if name not in MAY_IMPORT[package] | {package}
    ]

    assert files
    assert wrong == []
