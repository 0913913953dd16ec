"""The documentation site, built from the same files that the repository shows."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "_site" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_commands_is_what_they_say_themselves():
    """Else: uv run python docs/_site/commands.py"""
    spec = importlib.util.spec_from_file_location("site_commands", ROOT / "docs" / "_site" / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.text()


def test_the_site_builds_with_every_link_and_fetches_nothing(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)

    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    written = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"}
    assert {f"{name}.html" for name in written} <= pages
    assert "project/prefect-lean.html" in pages
    text = (tmp_path / "site" / "method.html").read_text()
    fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', text)
    assert fetched == []


@pytest.mark.parametrize(
    ("source", "link", "mended"),
    [
        ("docs/running.md", "[method](method.md#metg)", "[method](method.md#metg)"),
        ("docs/running.md", "[start](../README.md)", "[start](project/README.md)"),
        ("README.md", "[method](docs/method.md)", "[method](../method.md)"),
        ("docs/tutorial.md", "[hello](../flows/hello_flow.py)", "hello"),
        ("docs/running.md", "[gone](no-such-page.md)", "[gone](no-such-page.md)"),
        ("docs/running.md", "[Prefect](https://docs.prefect.io)", "[Prefect](https://docs.prefect.io)"),
    ],
)
def test_links_lead_where_the_site_has_the_page(hooks, source, link, mended):
    assert hooks.mended(link, source) == mended
