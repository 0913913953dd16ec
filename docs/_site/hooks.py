"""The documentation site has the same files as the repository: this gives it those outside docs/, and mends the links.

A link to another page leads there; one to a file that is no page, such as a flow's source, becomes its text. A link to
what does not exist stays as it is, and the strict build fails on it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "project/README.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "CHANGELOG.md": "project/CHANGELOG.md",
    "runners/lean/README.md": "project/prefect-lean.md",
}
"""Pages outside docs/, and where the site has them."""
_SHIM = re.compile(r'<script src="https://[^"]*iframe-worker[^"]*"></script>')
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    for source, place in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=mended(text, source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mend the links of a page of docs/; those of the others are mended already."""
    source = page.file.src_uri
    return markdown if source in PAGES.values() else mended(markdown, f"docs/{source}")


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Nothing is fetched from elsewhere: without this script the search needs the site to be served, by any server."""
    return _SHIM.sub("", output)


def mended(text: str, source: str) -> str:
    """`text`, a page at `source` in the repository, with links that hold in the site."""
    here = posixpath.dirname(place_of(source) or "")

    def link(found: re.Match[str]) -> str:
        picture, shown, target = found.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return found.group()
        path, _, anchor = target.partition("#")
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        place = place_of(wanted)
        if place is None:
            return shown if (ROOT / wanted).exists() and not picture else found.group()
        return f"{picture}[{shown}]({posixpath.relpath(place, here or '.')}{f'#{anchor}' if anchor else ''})"

    return _LINK.sub(link, text)


def place_of(path: str) -> str | None:
    """Where the site has a file of the repository; None where it has not."""
    if path in PAGES:
        return PAGES[path]
    inside = path.removeprefix("docs/")
    return inside if path.startswith("docs/") and (ROOT / path).is_file() else None
