"""Both wheels, environments that have them, and a project of somebody else's that has folders of the same names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runner_lab.runners.isolation import environment as isolation

ROOT = Path(__file__).parents[2]
LIMIT_S = 600.0

FILES = {
    "flows/__init__.py": "",
    "flows/steps.py": "def clean(value):\n    return value * 10\n",
    "flows/etl.py": """
from prefect import flow, task

from flows.steps import clean
from reports.table import table


@task
def extract(rows: int) -> list[int]:
    return list(range(1, rows + 1))


@task
def transform(value: int) -> int:
    return clean(value)


@flow
def etl(rows: int = 3) -> str:
    return table(transform.map(extract.submit(rows).result()).result())
""",
    "reports/__init__.py": "",
    "reports/table.py": """
from runners import COLUMN


def table(values):
    return "".join(f"{value:>{COLUMN}}" for value in values)
""",
    "runners.py": "COLUMN = 4\n",
    "benchmarks/__init__.py": "raise ImportError('the user has not asked for this')\n",
    "benchmarks/conftest.py": "raise ImportError('the user has not asked for this')\n",
    "lab/__init__.py": "",
    "records.py": "",
    "tests/test_table.py": "def test_table():\n    raise AssertionError('the user has not asked for this')\n",
    "conftest.py": "raise ImportError('the user has not asked for this')\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--no-such-option'\n",
    "under_lean.py": """
import sys

import prefect_lean
from flows.etl import etl

RUNNERS = {
    "threads": lambda: prefect_lean.LeanThreadPoolTaskRunner(max_workers=2),
    "processes": lambda: prefect_lean.LeanProcessPoolTaskRunner(max_workers=2),
    "dask": lambda: prefect_lean.LeanDaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1}),
    "ray": lambda: prefect_lean.LeanRayTaskRunner(init_kwargs={"num_cpus": 2, "include_dashboard": False}),
    "attached-dask": lambda: prefect_lean.LeanDaskTaskRunner(address=sys.argv[2]),
}

if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        print(name, etl.with_options(task_runner=RUNNERS[name]())())
""",
}
ETL = "  10  20  30"
"""What the project's flow returns."""


@dataclass(frozen=True)
class Wheels:
    """Of each distribution: the wheel made of the checkout, and the one made of the sdist."""

    direct: dict[str, Path]
    from_sdist: dict[str, Path]


@dataclass(frozen=True)
class Python:
    """An environment, and the variables of a shell in which it is active."""

    folder: Path
    variables: dict[str, str]

    def run(self, *words: str, cwd: Path, code: int = 0, **variables: str) -> str:
        """Run a program of the environment to its end, and return what it said.

        Raises:
            AssertionError: another exit code than `code`.
        """
        done = subprocess.run(
            [self.program(words[0]), *words[1:]],
            cwd=cwd,
            env=self.variables | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == code, f"{' '.join(words)}: {done.stdout[-4000:]}"
        return done.stdout

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)


def uv(*words: str) -> None:
    found = shutil.which("uv")
    assert found, "uv builds the wheels: pip install uv"
    done = subprocess.run([found, *words], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, f"uv {' '.join(words)}: {done.stderr[-4000:]}"


def build(folder: Path) -> Wheels:
    found: list[dict[str, Path]] = []
    # Without --wheel the wheel is made of the sdist.
    for kind, option in (("direct", ["--wheel"]), ("from-sdist", [])):
        made = {}
        for package in ("runner-lab", "prefect-lean"):
            out = folder / kind / package
            uv("build", "--quiet", "--package", package, *option, "--out-dir", str(out))
            (made[package],) = out.glob("*.whl")
        found.append(made)
    return Wheels(*found)


def install(folder: Path, home: Path, *requirements: str) -> Python:
    """A new environment with `requirements`, and a shell of somebody who has nothing set up."""
    uv("venv", "--quiet", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    uv("pip", "install", "--quiet", "--python", python, "--constraints", "constraints.txt", *requirements)
    home.mkdir(exist_ok=True)
    left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", isolation.MARK)
    variables = {name: value for name, value in isolation.without_foreign(os.environ).items() if name not in left_out}
    return Python(folder, {**variables, "HOME": str(home), "COLUMNS": "200", "TMPDIR": "/tmp"})


def write_project(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
