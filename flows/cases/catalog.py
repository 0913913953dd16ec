"""The real flows by name: where each is, what it needs, and what its time is made of."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """
    module: its file's stem; the flow has the case's name.
    does: one sentence for a table, without a full stop.
    libraries: modules it imports that neither Prefect nor the lab brings.
    """

    name: str
    module: str
    does: str
    libraries: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        return Path(__file__).with_name(f"{self.module}.py")

    @property
    def target(self) -> str:
        """As `runner-lab compare` takes it."""
        return f"{self.file}:{self.name}"


CASES = {
    case.name: case
    for case in (
        Case("http_calls", "http_calls", "HTTP calls that wait 50 to 500 ms each"),
        Case("http_calls_async", "http_calls", "The same calls by async tasks"),
        Case("csv_etl", "csv_etl", "CSV files cleaned by polars, which has threads of its own", ("polars",)),
        Case("thumbnails", "thumbnails", "Photos made small by Pillow, which releases the GIL", ("PIL",)),
        Case("text_features", "text_features", "Features of texts in pure Python, under the GIL"),
        Case("model_grid", "model_grid", "Models cross-validated by scikit-learn, each on all cores", ("sklearn",)),
        Case("sql_loads", "sql_loads", "Many writers into one database", ("psycopg",)),
        Case("big_frames", "big_frames", "Frames of 50 MB handed from task to task", ("polars",)),
        Case("many_small", "many_small", "Short tasks with retries and a cache"),
    )
}


def missing(names: Iterable[str]) -> dict[str, list[str]]:
    """By library that is not installed, the cases of these that need it."""
    needing: dict[str, list[str]] = {}
    for name in names:
        for library in CASES[name].libraries:
            if find_spec(library) is None:
                needing.setdefault(library, []).append(name)
    return needing


def not_installed(missing: ModuleNotFoundError, importer: str) -> BaseException:
    """The error that a flow raises where a library of its own is missing: one line that says what to install.

    Args:
        importer: `__name__` of the flow's module; as a program it prints the line, and ends with exit code 2.
    """
    line = f"{(missing.name or '').partition('.')[0]} is not installed: pip install 'runner-lab[cases]'"
    if importer != "__main__":
        return ModuleNotFoundError(line, name=missing.name)
    print(line, file=sys.stderr)
    return SystemExit(2)
