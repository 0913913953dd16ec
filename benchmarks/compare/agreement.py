"""Do all arms return the same result? The first one of a run is what the others are compared with."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any

from runner_lab.records.record import FlowRun, Result

RELATIVE = 1e-9
"""Floats this close are the same: the order in which results arrive, and are summed, differs from run to run."""
_DEEPEST = 50


class IncomparableError(Exception):
    """Two values of which nobody can say whether they are the same; the message is why."""


class Agreement:
    """Judges one result after another.

    Args:
        check: whether results are compared at all.
        alike: arms that are one and the same. Where these differ from each other, the flow's result is not its
            parameters' alone, and nothing more is compared.
    """

    def __init__(self, check: bool, alike: Sequence[str]) -> None:
        self.checks = check
        self._alike = alike
        self._first: tuple[str, Any] | None = None
        self._given_up: tuple[Result, str] | None = None

    @property
    def wants_result(self) -> bool:
        """Whether the next result matters."""
        return self.checks and not self.given_up

    @property
    def given_up(self) -> bool:
        """Nothing more is compared."""
        return self._given_up is not None

    def judge(self, arm: str, value: Any) -> tuple[Result, str]:
        """What is to be said of a result, and a remark in one line."""
        if not self.checks:
            return "unasked", ""
        if self._given_up:
            return self._given_up
        if self._first is None:
            self._first = arm, value
        first_arm, first = self._first
        if first is None and value is None:
            return "nothing", ""
        try:
            found = difference(value, first)
        except IncomparableError as reason:
            return "unchecked", str(reason)
        except Exception as error:
            return "unchecked", f"comparing them failed: {type(error).__name__}: {error}"
        if found is None:
            return "same", ""
        if arm == first_arm or {arm, first_arm} <= set(self._alike):
            unsteady: tuple[Result, str] = "unsteady", f"two runs under {first_arm} alone differ already ({found})"
            self._given_up = unsteady
            return unsteady
        return "different", f"{found} under {first_arm}"

    def recall(self, flow_run: FlowRun) -> None:
        """Take in what was measured before the run was resumed: a flow whose result varied by itself still does."""
        if flow_run.result == "unsteady":
            self._given_up = flow_run.result, flow_run.remark

    def give_up(self, reason: str) -> None:
        """Compare nothing more, for a reason in one line."""
        self._given_up = "unchecked", reason


def difference(value: Any, other: Any, where: str = "", depth: int = 0) -> str | None:
    """`at ['total']: 5, but 4`, or None where the two are the same.

    By `==`; containers item by item, floats within 1e-9 of each other, NaN like NaN, arrays and frames as a whole,
    objects without an `==` of their own by what they hold.

    Raises:
        IncomparableError: objects that hold nothing to compare.
    """
    if value is other:
        return None
    told = f"{f'at {where}: ' if where else ''}{short(value)}, but {short(other)}"
    if depth > _DEEPEST:
        raise IncomparableError(f"the results are nested more than {_DEEPEST} deep")
    if isinstance(value, bool) or isinstance(other, bool):
        return None if value == other and type(value) is type(other) else told
    if isinstance(value, int) and isinstance(other, int):
        return None if value == other else told
    if isinstance(value, float | int) and isinstance(other, float | int):
        both_nan = value != value and other != other
        return None if both_nan or value == other or math.isclose(value, other, rel_tol=RELATIVE) else told
    if type(value) is not type(other):
        return f"{f'at {where}: ' if where else ''}{type(value).__name__} {told.removeprefix(f'at {where}: ')}"
    if isinstance(value, str | bytes):
        return None if value == other else told
    if isinstance(value, Mapping):
        return _of_mappings(value, other, where, depth, told)
    if isinstance(value, Set):
        return None if value == other else told
    if isinstance(value, Sequence):
        return _of_sequences(value, other, where, depth, told)
    if isinstance(value, BaseException):
        return difference(value.args, other.args, where, depth + 1)
    return _of_objects(value, other, where, depth, told)


def short(value: Any) -> str:
    """A representation of one line, cut to some 60 characters."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 60
    try:
        return " ".join(shown.repr(value).split())
    except Exception:
        return f"a {type(value).__name__}"


def _of_mappings(value: Mapping[Any, Any], other: Mapping[Any, Any], where: str, depth: int, told: str) -> str | None:
    if value.keys() != other.keys():
        return told
    found = (difference(value[key], other[key], f"{where}[{short(key)}]", depth + 1) for key in value)
    return next((line for line in found if line is not None), None)


def _of_sequences(value: Sequence[Any], other: Sequence[Any], where: str, depth: int, told: str) -> str | None:
    if len(value) != len(other):
        return f"{f'at {where}: ' if where else ''}{len(value)} items, but {len(other)}"
    pairs = enumerate(zip(value, other, strict=True))
    found = (difference(a, b, f"{where}[{i}]", depth + 1) for i, (a, b) in pairs)
    line = next((line for line in found if line is not None), None)
    if line is not None and _counted(value) == _counted(other):
        return f"{line}; the same items in another order"
    return line


def _counted(items: Sequence[Any]) -> Counter[str]:
    return Counter(map(repr, items))


def _of_objects(value: Any, other: Any, where: str, depth: int, told: str) -> str | None:
    if callable(getattr(value, "equals", None)):
        return None if bool(value.equals(other)) else told
    if hasattr(value, "__array__"):
        return None if _same_array(value, other) else told
    if is_dataclass(value) and not isinstance(value, type):
        one, two = ({f.name: getattr(x, f.name) for f in fields(x)} for x in (value, other))
        return difference(one, two, where, depth + 1)
    if type(value).__eq__ is not object.__eq__:
        return None if bool(value == other) else told
    if getattr(value, "__dict__", None):
        return difference(vars(value), vars(other), where, depth + 1)
    return _of_pickles(value, other, told)


def _same_array(value: Any, other: Any) -> bool:
    import numpy

    one, two = numpy.asarray(value), numpy.asarray(other)
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    if one.dtype.kind in "fc":
        return bool(numpy.allclose(one, two, rtol=RELATIVE, atol=0.0, equal_nan=True))
    return bool(numpy.array_equal(one, two))


def _of_pickles(value: Any, other: Any, told: str) -> str | None:
    """The same bytes are the same value; other bytes say nothing."""
    import cloudpickle

    try:
        alike = cloudpickle.dumps(value) == cloudpickle.dumps(other)
    except Exception as error:
        raise IncomparableError(f"a {type(value).__name__} cannot be compared ({type(error).__name__})") from None
    if not alike:
        raise IncomparableError(f"a {type(value).__name__} has no == to compare it by")
    return None
