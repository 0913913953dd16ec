"""A flow of the user's: found in its file, with its parameters checked and its source read."""

from __future__ import annotations

import difflib
import inspect
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from runner_lab.benchmarks.compare import call_sites, user_module
from runner_lab.benchmarks.compare.user_module import FlowError
from runner_lab.records.graph import UserFlowSpec

if TYPE_CHECKING:
    from prefect import Flow

_LONGEST_VALUES = 40
"""Characters of the parameters that a flow's name may carry."""


@dataclass(frozen=True)
class LoadedFlow:
    """The flow, and the values it is called with.

    module, name: by which another process imports it (`again`).
    """

    spec: UserFlowSpec
    module: str
    name: str
    flow: Flow[Any, Any]
    parameters: dict[str, Any]


def load(target: str, given: Sequence[str], scratch: Path, values_shown: bool = True) -> LoadedFlow:
    """Import the flow that `target` names; workers that are started afterwards can import its module as well.

    Imports Prefect: its environment must be set.

    Args:
        target: `FILE.py:FLOW`, or `FILE.py` where the file has one flow.
        given: its parameters, each as `NAME=VALUE` with a JSON value or plain text.
        scratch: folder for a stand-in of a module whose name is taken.
        values_shown: the flow's name has the values of its parameters with it, and not their names alone.

    Raises:
        FlowError: no such file or flow, a file that cannot be imported, a parameter that is missing, unknown or of the
            wrong type.
    """
    file_name, name = _split(target)
    path = Path(file_name)
    if not path.is_file():
        raise FlowError(f"{file_name}: there is no such file; name the flow as FILE.py:FLOW")
    if path.suffix != ".py":
        raise FlowError(f"{file_name}: is no Python file; name the flow as FILE.py:FLOW")
    module = user_module.load(path.resolve(), scratch)
    name, flow = _find(module, name, path.name)
    parameters, shown = _parameters(flow, name, given)
    shown = shown if values_shown else ",".join(parameters)
    sites = call_sites.of(flow)
    spec = UserFlowSpec(
        name=f"{name}({shown})" if shown else name,
        file=path.name,
        direct_calls=sites.direct,
        submits=sites.may_submit,
        own_runner=_own_runner(flow),
    )
    return LoadedFlow(spec, module.__name__, name, flow, parameters)


def again(module: str, name: str, parameters: dict[str, Any]) -> LoadedFlow:
    """The flow in another process than the one that has loaded it, whose path this one has.

    Raises:
        Exception: what the import raises.
    """
    flow = _named(import_module(module), name)
    return LoadedFlow(UserFlowSpec(name), module, name, flow, parameters)


def _split(target: str) -> tuple[str, str]:
    file_name, colon, name = target.rpartition(":")
    return (file_name, name) if colon and "/" not in name and not name.endswith(".py") else (target, "")


def _find(module: ModuleType, name: str, file_name: str) -> tuple[str, Flow[Any, Any]]:
    from prefect import Flow, Task

    flows = {key: value for key, value in vars(module).items() if isinstance(value, Flow)}
    # What the file imports is not its own, unless it has none.
    flows = {key: flow for key, flow in flows.items() if flow.fn.__module__ == module.__name__} or flows
    listed = f"there are {', '.join(flows)}" if flows else "there is no flow in it"
    if not name:
        if len(flows) == 1:
            return next(iter(flows.items()))
        chosen = f"say which: {' or '.join(f'{file_name}:{key}' for key in flows)}" if flows else listed
        raise FlowError(f"{file_name}: {chosen}")
    found = _named(module, name)
    if isinstance(found, Flow):
        return name, found
    if isinstance(found, Task):
        raise FlowError(f"{file_name}:{name} is a task: name a flow; {listed}")
    if found is not None:
        raise FlowError(f"{file_name}:{name} is no flow: it needs @flow above it; {listed}")
    near = difflib.get_close_matches(name, flows, n=1)
    raise FlowError(f"{file_name} has no {name}; {f'did you mean {near[0]}?' if near else listed}")


def _named(module: ModuleType, name: str) -> Any:
    """What a name with dots stands for, such as a flow that is a method of an instance; None where there is none."""
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _parameters(flow: Flow[Any, Any], name: str, given: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The values to call the flow with, and how they are shown."""
    texts: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise FlowError(f"--param {text}: must be NAME=VALUE, such as n=100")
        texts[key.strip()] = value
    signature = inspect.signature(flow.fn)
    # A flow that is a method gives itself its instance, or its class.
    bound = hasattr(flow.fn, "__prefect_self__") or hasattr(flow.fn, "__prefect_cls__")
    known = dict([*signature.parameters.items()][bound:])
    free = any(p.kind is p.VAR_KEYWORD for p in known.values())
    if (unknown := [key for key in texts if key not in known]) and not free:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise FlowError(f"--param {unknown[0]}: {name} has no such parameter; {takes}")
    needed = [
        p.name for p in known.values() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if missing := [key for key in needed if key not in texts]:
        raise FlowError(f"{name} needs {', '.join(missing)}: give it as --param {missing[0]}=VALUE")
    values = {key: _json(text) for key, text in texts.items()}
    shown = ",".join(f"{key}={text}" for key, text in texts.items())
    if len(shown) > _LONGEST_VALUES:
        # Two flows are one where this is the same.
        rest = f"…{zlib.crc32(shown.encode()):08x}"
        shown = f"{shown[: _LONGEST_VALUES - len(rest)]}{rest}"
    return _checked(flow, texts, values), shown


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _checked(flow: Flow[Any, Any], texts: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    """`values`; where the flow takes text for what looks like a number, the text."""
    if not flow.should_validate_parameters:
        return values
    refused = _refused(flow, values)
    as_text = {**values, **{key: texts[key] for key in refused if key in texts}}
    if not refused or not _refused(flow, as_text):
        return as_text
    key, reason = next(iter(refused.items()))
    raise FlowError(f"--param {key}={texts[key]}: {reason}" if key in texts else f"{key}: {reason}")


def _refused(flow: Flow[Any, Any], values: dict[str, Any]) -> dict[str, str]:
    """By parameter, why the flow does not take its value."""
    from prefect.exceptions import ParameterBindError, ParameterTypeError
    from prefect.utilities.callables import get_call_parameters

    try:
        flow.validate_parameters(get_call_parameters(flow.fn, (), values))
    except (ParameterTypeError, ParameterBindError) as error:
        first, *reasons = str(error).split("\n - ")
        told = [reason.partition(": ") for reason in reasons] or [("its parameters", "", first)]
        return {place.partition(".")[0]: " ".join(reason.split()) for place, _, reason in told}
    return {}


def _own_runner(flow: Flow[Any, Any]) -> str:
    """Class and workers of a task runner that is not what Prefect takes by default."""
    from prefect.task_runners import ThreadPoolTaskRunner

    runner = flow.task_runner
    if type(runner) is ThreadPoolTaskRunner and runner == ThreadPoolTaskRunner():
        return ""
    return type(runner).__name__
