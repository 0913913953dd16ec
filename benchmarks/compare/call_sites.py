"""Where a flow calls its tasks, read from its source: what goes through `.submit` and `.map`, and what past the runner.

A call of a task runs it then and there, in the flow's own thread: no task runner takes part, so none can help.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect import Flow

_SUBMITS = ("submit", "map")
_ANYTHING = object()
"""The value of a name that the source does not tell: it may be a task."""


@dataclass(frozen=True)
class CallSites:
    """
    direct: `FILE:LINE TASK` of each call of a task, in the flow's function and the functions of its file it calls.
    may_submit: there is a `.submit` or `.map`, or a call that cannot be followed and might hold one.
    """

    direct: tuple[str, ...]
    may_submit: bool


def of(flow: Flow[Any, Any]) -> CallSites:
    """As far as the source tells; nothing direct, and all possible, where there is no source."""
    reader = _Reader(flow.fn.__module__)
    reader.read(flow.fn)
    return CallSites(tuple(dict.fromkeys(reader.direct)), reader.submits or reader.unread)


class _Reader:
    """Follows the functions of one module from one to the next."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._seen: set[Any] = set()
        self.direct: list[str] = []
        self.submits = False
        self.unread = False

    def read(self, function: Callable[..., Any]) -> None:
        function = inspect.unwrap(function)
        if function in self._seen:
            return
        self._seen.add(function)
        try:
            lines, first = inspect.getsourcelines(function)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError):
            self.unread = True
            return
        names = _names(function)
        _add_local_tasks(tree, names)
        file = Path(inspect.getsourcefile(function) or "?").name
        for call in _calls(tree):
            self._judge(call, names, f"{file}:{first + call.lineno - 1}")

    def _judge(self, call: ast.Call, names: Mapping[str, Any], where: str) -> None:
        if isinstance(call.func, ast.Attribute) and call.func.attr in _SUBMITS:
            # Of a task, or of something that cannot be told from one.
            submitter = _value(call.func.value, names)
            unknown = submitter is _ANYTHING or (submitter is None and call.func.attr == "submit")
            self.submits = self.submits or _is_task(submitter) or unknown
            return
        called = _value(call.func, names)
        if _is_task(called):
            self.direct.append(f"{where} {called.fn.__name__}")
        elif _is_flow(called):
            # A sub-flow has a task runner of its own: what it submits is not this one's.
            return
        elif inspect.isfunction(called):
            if called.__module__ == self._module:
                self.read(called)
            elif _mentions_prefect(called):
                self.unread = True


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls in the function's body: what decorates it is no part of it."""
    function = next(ast.iter_child_nodes(tree), tree)
    body = getattr(function, "body", [])
    for statement in body if isinstance(body, list) else [body]:
        yield from (node for node in ast.walk(statement) if isinstance(node, ast.Call))


def _names(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        closure = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return dict(getattr(function, "__globals__", {}))
    return {**getattr(function, "__globals__", {}), **closure.nonlocals}


def _add_local_tasks(tree: ast.AST, names: dict[str, Any]) -> None:
    """`fetch3 = fetch.with_options(retries=3)`: the name is a task as well. Other local names hide the module's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            names[node.targets[0].id] = _value(node.value, names)
        elif isinstance(node, ast.arg):
            names[node.arg] = _ANYTHING
        elif isinstance(node, ast.For | ast.comprehension | ast.AsyncFor):
            names.update(dict.fromkeys(_targets(node.target), _ANYTHING))


def _targets(target: ast.expr) -> list[str]:
    """The names that a loop gives values to."""
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]


def _value(expression: ast.expr, names: Mapping[str, Any]) -> Any:
    """What an expression stands for, where it is a name, an attribute of one, or a task's `with_options`; else None."""
    if isinstance(expression, ast.Name):
        return names.get(expression.id)
    if isinstance(expression, ast.Attribute):
        owner = _value(expression.value, names)
        return getattr(owner, expression.attr, None) if inspect.ismodule(owner) or inspect.isclass(owner) else None
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute):
        owner = _value(expression.func.value, names)
        return owner if expression.func.attr == "with_options" and (_is_task(owner) or _is_flow(owner)) else None
    return None


def _is_task(value: Any) -> bool:
    from prefect import Task

    return isinstance(value, Task)


def _is_flow(value: Any) -> bool:
    from prefect import Flow

    return isinstance(value, Flow)


def _mentions_prefect(function: Callable[..., Any]) -> bool:
    """A helper of another file that has tasks or flows at hand might submit one."""
    return any(_is_task(value) or _is_flow(value) for value in getattr(function, "__globals__", {}).values())
