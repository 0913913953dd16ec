"""Parts of the documentation's pages that a command writes, between two markers."""

from __future__ import annotations

from pathlib import Path

from runner_lab.records.validation import RecordError


def put(page: Path, name: str, body: str) -> None:
    """Replace what stands between the markers `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

    Raises:
        RecordError: the page cannot be read or written, or has no such markers.
    """
    try:
        text = page.read_text(encoding="utf-8")
        page.write_text(replaced(text, name, body, page), encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {page}: {error}") from None


def check(page: Path, *names: str) -> None:
    """
    Raises:
        RecordError: as `put` would for one of these.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot read {page}: {error.strerror}") from None
    for name in names:
        replaced(text, name, "", page)


def replaced(text: str, name: str, body: str, page: Path) -> str:
    """The page's text with another body between the markers."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found or not found_end:
        raise RecordError(f"{page} has no place for it: put the lines {begin} and {end} there")
    return f"{head}{begin}\n\n{body.strip()}\n\n{end}{tail}"
