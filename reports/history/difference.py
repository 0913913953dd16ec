"""Two runs against each other: per cell the ratio of times, its interval, and a verdict beyond the noise of both."""

from __future__ import annotations

import json
import math
import statistics as exact
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from scipy import stats

from runner_lab.reports.analysis.statistics import (
    CONFIDENCE,
    LARGEST_TIE_BAND,
    SMALLEST_TIE_BAND,
    Estimate,
    Verdict,
    from_logs,
    t_quantile,
)
from runner_lab.reports.history.timings import MACHINE, Timing, Timings
from runner_lab.reports.words import units

SHIFT = 0.05
"""Median ratio over all cells from which the machine as a whole is said to have been slower or faster."""
FEWEST_SHIFTED = 5


@dataclass(frozen=True)
class Changed:
    """One cell: time in B over time in A, below 1 is faster.

    p: two-sided, Welch's t on the logarithms, adjusted for the number of cells (Benjamini and Hochberg); `None` where
       either run measured the cell but once.
    threshold: what the controls of both runs together may differ by.
    """

    cell: str
    ratio: Estimate
    p: float | None
    threshold: float
    verdict: Verdict


@dataclass(frozen=True)
class Difference:
    """`facts`: what is not the same about machine and versions; `only_a`, `only_b`: cells the other run lacks."""

    a: str
    b: str
    facts: tuple[str, ...]
    cells: tuple[Changed, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    cautions: tuple[str, ...]

    def of(self, verdict: Verdict) -> list[Changed]:
        return [cell for cell in self.cells if cell.verdict == verdict]


def difference(a: Timings, b: Timings) -> Difference:
    """B against A, every cell that both have, the largest change first."""
    shared = [cell for cell in a.cells if cell in b.cells]
    tests = {cell: _welch(a.cells[cell], b.cells[cell]) for cell in shared}
    tested = [cell for cell in shared if tests[cell][1] is not None]
    adjusted = (
        dict(zip(tested, stats.false_discovery_control([tests[c][1] for c in tested]), strict=True)) if tested else {}
    )
    changed = []
    for cell in shared:
        threshold = (1 + a.threshold(cell)) * (1 + b.threshold(cell)) - 1
        p = float(adjusted[cell]) if cell in adjusted else None
        changed.append(Changed(cell, from_logs(tests[cell][0]), p, threshold, _verdict(tests[cell][0], p, threshold)))
    names = (a.name, b.name) if a.name != b.name else (f"{a.name} (A)", f"{b.name} (B)")
    return Difference(
        a=names[0],
        b=names[1],
        facts=_facts(a, b),
        cells=tuple(sorted(changed, key=lambda c: -abs(math.log(c.ratio.value)))),
        only_a=tuple(cell for cell in a.cells if cell not in b.cells),
        only_b=tuple(cell for cell in b.cells if cell not in a.cells),
        cautions=tuple(_cautions(replace(a, name=names[0]), replace(b, name=names[1]), changed)),
    )


def to_json(found: Difference) -> str:
    return json.dumps(asdict(found), allow_nan=False)


def _welch(a: Timing, b: Timing) -> tuple[Estimate, float | None]:
    """The logarithm of B over A with its interval, and the p of no difference; runs share no block, so no pairs."""
    apart, n = b.log_mean - a.log_mean, min(a.n, b.n)
    if n < 2:
        return Estimate(apart, None, None, n), None
    parts = [t.log_deviation**2 / t.n for t in (a, b)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Estimate(apart, apart, apart, n), 1.0 if apart == 0 else 0.0
    free = sum(parts) ** 2 / sum(part**2 / (t.n - 1) for part, t in zip(parts, (a, b), strict=True))
    reach = t_quantile(free) * error
    return Estimate(apart, apart - reach, apart + reach, n), float(2 * stats.t.sf(abs(apart) / error, free))


def _verdict(logs: Estimate, p: float | None, threshold: float) -> Verdict:
    if p is None or logs.low is None or logs.high is None:
        return "inconclusive"
    if p < 1 - CONFIDENCE and abs(logs.value) > math.log1p(threshold):
        return "faster" if logs.value < 0 else "slower"
    band = min(max(SMALLEST_TIE_BAND, threshold), LARGEST_TIE_BAND)
    return "tie" if max(abs(logs.low), abs(logs.high)) <= math.log1p(band) else "inconclusive"


def _facts(a: Timings, b: Timings) -> tuple[str, ...]:
    """Machine before versions; of facts that both runs tell."""
    differing = [name for name in a.facts if name in b.facts and a.facts[name] != b.facts[name]]
    machine = [name for name in differing if name in MACHINE]
    others = [name for name in differing if name not in MACHINE]
    return tuple(
        f"{title}: {'; '.join(f'{name} {a.facts[name]} -> {b.facts[name]}' for name in names)}."
        for title, names in (("Different machines", machine), ("Different versions or settings", others))
        if names
    )


def _cautions(a: Timings, b: Timings, changed: Sequence[Changed]) -> list[str]:
    lines = [*(f"{a.name}: {note}" for note in a.notes), *(f"{b.name}: {note}" for note in b.notes)]
    lines += [
        f"{side.name} has no A/A control: 10 % is taken for its noise." for side in (a, b) if side.whole.ratio is None
    ]
    lines += [
        f"{side.name}: the A/A control is off, so its threshold is {units.percent(side.whole.threshold)}."
        for side in (a, b)
        if not side.whole.covers_one
    ]
    if changed and all(cell.p is None for cell in changed):
        lines.append("One of the runs measured each cell only once: no verdict is possible. Add blocks.")
    if len(changed) >= FEWEST_SHIFTED:
        middle = math.exp(exact.median(math.log(cell.ratio.value) for cell in changed))
        if abs(math.log(middle)) > math.log1p(SHIFT):
            lines.append(
                f"All cells together shifted to {units.times(middle)}: that may be the machine, not the code; "
                "a control compares arms within a run and cannot see it."
            )
    return lines
