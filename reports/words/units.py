"""Numbers as a reader sees them: three significant digits at most, with a unit."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner_lab.reports.analysis.estimate import Estimate

NONE = "-"
SIGNS = {"ok": "\N{CHECK MARK}", "warn": "!", "bad": "\N{BALLOT X}", "unknown": "?"}
"""What an experiment found, told by the shape with or without colour."""
TOO_WIDE = "too wide"
"""Stands for an interval whose ends are so far apart that they tell nothing."""


def digits(value: float | None) -> str:
    """Three significant digits, never an exponent below a million: `0.0123`, `1.23`, `123`, `12300`."""
    if value is None or not math.isfinite(value):
        return NONE
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    if abs(rounded) >= 1e6 or abs(rounded) < 1e-4:
        return f"{rounded:.2g}"
    places = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{places}f}"


def seconds(value: float | None) -> str:
    """With the unit that suits: `840 µs`, `12.3 ms`, `1.23 s`, `2.05 min`, `3.10 h`."""
    if value is None:
        return NONE
    size = abs(value)
    if size >= 7200:
        return f"{digits(value / 3600)} h"
    if size >= 100:
        return f"{digits(value / 60)} min"
    if size >= 0.9995:
        return f"{digits(value)} s"
    if size >= 0.0009995:
        return f"{digits(value * 1e3)} ms"
    return f"{digits(value * 1e6)} µs" if value else "0 s"


def about(value: float) -> str:
    """A duration of which one or two digits are known: `50 ms`, `1.2 s`, `15 s`."""
    return exactly(float(f"{value:.2g}"))


def exactly(value: float) -> str:
    """A duration that was set, not measured: `20 ms`, `0.5 ms`, `1 s`, `90 s`."""
    for limit, scale, unit in ((1, 1, "s"), (1e-3, 1e3, "ms")):
        if value >= limit:
            return f"{float(f'{value * scale:.6g}'):g} {unit}"
    return f"{float(f'{value * 1e6:.6g}'):g} \u00b5s" if value else "0 s"


def size(value: float) -> str:
    """Bytes with the unit that suits: `512 B`, `100 kB`, `1 MB`, `16.8 GB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            shown = float(f"{value / limit:.3g}")
            return f"{shown:.0f} {unit}" if shown >= 100 else f"{shown:g} {unit}"
    return f"{value:.0f} B"


def times(value: float | None) -> str:
    """A ratio: `0.0098x`, `0.95x`, `8.31x`, `24x`, `131x`."""
    if value is None:
        return NONE
    if value < 0.0995:
        return f"{value:.2g}x"
    return (
        f"{value:.2f}x" if value < 9.995 else f"{digits(value).removesuffix('.0') if value >= 99.95 else round(value)}x"
    )


def two_digits(value: float) -> str:
    """A ratio in a sentence: `1.1x`, `8.3x`, `24x`, `131x`."""
    return f"{value:.1f}x" if value < 9.95 else f"{value:.0f}x"


def percent(share: float, signed: bool = False) -> str:
    """A share of 1: `3 %`, `0.4 %`, `120 %`; signed `+73 %`."""
    value = share * 100
    text = f"{value:.1f} %" if 0 < abs(value) < 0.95 else f"{value:.0f} %"
    return f"+{text}" if signed and value > 0 else text


def interval(estimate: Estimate | None, scale: float = 1.0, told: Callable[[float], str] = digits) -> str:
    """`1.10 to 1.31` with an en dash, or nothing where there is no interval; `told` writes each end."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return TOO_WIDE if estimate.vague else span(told(estimate.low * scale), told(estimate.high * scale))


def span(low: str, high: str) -> str:
    """Both ends; a unit that they share is said once, and ends below zero are kept apart by a word."""
    (first, _, unit), (_, _, other) = low.partition(" "), high.partition(" ")
    if "-" in low + high:
        return f"{low} to {high}"
    return f"{first if unit == other else low}\N{EN DASH}{high}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str, limit: int = 200) -> str:
    """One line that is safe to show: no control, format or surrogate characters, no longer than `limit`."""
    clean = "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c for c in _one_line(text))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def counted(counts: Mapping[str, int]) -> str:
    """`30 Completed, 1 Failed`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def sentence(parts: Sequence[str]) -> str:
    """`Do this; do that.`, or nothing where there are no parts."""
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
