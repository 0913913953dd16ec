"""Numbers and names as a record may hold them."""

from __future__ import annotations

from typing import Any

LARGEST = 1e15
"""Seconds or bytes that no measurement reaches."""


class RecordError(ValueError):
    """A record, or a file of records, that cannot be used; the message is one line for the user."""


def count(name: str, value: Any) -> None:
    """Raises RecordError unless `value` is a whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise RecordError(f"not a record: {name} must be a whole number from 0")


def text(name: str, value: Any) -> None:
    """Raises RecordError unless `value` is text of one line that a page, a chart and a terminal can show."""
    if not isinstance(value, str) or not value.isprintable():
        raise RecordError(f"not a record: {name} must be printable text")


def durations(values: dict[str, Any]) -> dict[str, Any]:
    """The values as they are, each a number or None; raises RecordError for anything else."""
    return {name: None if value is None else number(value) for name, value in values.items()}


def numbers(values: Any) -> tuple[float, ...]:
    """A list as a tuple, checked as a whole since a run holds millions; raises RecordError for anything but numbers."""
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float} or not abs(sum(values)) < LARGEST:
        raise RecordError("not a record: latencies must be lists of numbers")
    return tuple(values)


def number(value: Any) -> Any:
    """The value as it is; raises RecordError unless it is a plausible number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        raise RecordError(f"not a record: {str(value)[:40]} where a number is needed")
    return value
