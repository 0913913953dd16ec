"""Numbers and names as a record may hold them, and the one error for what cannot be used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

SCHEMA: Literal[2] = 2
"""Of records and plans."""

LARGEST = 1e15
"""Seconds or bytes that no measurement reaches."""

STRICT = ConfigDict(extra="forbid")

Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(gt=-LARGEST, lt=LARGEST, allow_inf_nan=False)]
"""Seconds or bytes."""


class RecordError(ValueError):
    """A record, or a file of records, that cannot be used; the message is one line for the user."""


def _one_printable_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable text")
    return text


Printable = Annotated[str, AfterValidator(_one_printable_line)]
"""One line that a page, a chart and a terminal can show."""


def first_complaint(error: ValidationError) -> str:
    """Where the first wrong value stands, and what is wrong about it, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    message = " ".join(found["msg"].removeprefix("Value error, ").split())
    line = f"{place}: {message}" if place else message
    return "".join(character if character.isprintable() else "?" for character in line)[:200]
