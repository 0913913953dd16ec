"""`Findings`: the results of one command's experiments, in one file such as `faults.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from runner_lab.records import json_file
from runner_lab.records.validation import LARGEST, RecordError, first_complaint

SCHEMA: Literal[2] = 2
NAMES = ("faults", "equivalence", "placement", "hosts")
"""The commands that write findings, in the order in which a report shows them."""
Symbol = Literal["ok", "warn", "bad", "unknown"]
End = Literal["done", "failed", "hangs", "dies", "not set up"]

_MOST = 10_000
_Name = Annotated[str, Field(pattern=r"^[a-z]{1,40}$")]
_Seconds = Annotated[float, Field(ge=0, lt=LARGEST, allow_inf_nan=False)]


@dataclass(frozen=True)
class Judgement:
    """What the facts of an experiment mean.

    symbol: `ok`: fine. `warn`: it has a catch. `bad`: work is lost, hangs or is done twice, or the record
        of it is wrong. `unknown`: the experiment did not show it.
    words: a few, for one cell of a table.
    remedy: what a user should do; empty where it is `ok`.
    """

    symbol: Symbol
    words: str
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """The result of one experiment under one arm: a judgement, and the facts behind it.

    experiment: its id.
    facts: what was measured, name by name.
    seconds: how long it took.
    end: `done`; `failed`, with the error of the experiment itself; `hangs`, stopped at its limit; `dies`, its process
        ended; `not set up`, what it needs did not start.
    error: one line, where it did not end well.
    """

    experiment: str
    arm: str
    symbol: Symbol
    words: str
    remedy: str
    facts: Mapping[str, JsonValue]
    seconds: _Seconds
    end: End = "done"
    error: str = ""


@dataclass(frozen=True)
class ExperimentInfo:
    """What a reader should know about an experiment.

    id: what `--only` takes, as it takes the name of its group.
    code: path in the repository of what it does.
    arms: those it means something for; none where the file does not say.
    about: more of it, by the headings of a table.
    """

    id: str
    group: str
    title: str
    code: str
    arms: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """One file.

    name: of the command.
    finished_at: None where the run was interrupted, or is not over.
    environment: machine and versions, as a record has them.
    experiments, arms: all that the command has, in the order of a table's rows and columns.
    """

    name: _Name
    title: str
    started_at: str | None
    finished_at: str | None
    environment: Mapping[str, JsonValue]
    experiments: Annotated[tuple[ExperimentInfo, ...], Field(max_length=_MOST)]
    arms: Annotated[tuple[str, ...], Field(max_length=_MOST)]
    findings: Annotated[tuple[Finding, ...], Field(max_length=_MOST)] = ()
    schema: Literal[2] = SCHEMA

    def tried(self) -> list[ExperimentInfo]:
        """The experiments that have findings."""
        ids = {finding.experiment for finding in self.findings}
        return [experiment for experiment in self.experiments if experiment.id in ids]

    def measured_arms(self) -> list[str]:
        """The arms that have findings."""
        arms = {finding.arm: None for finding in self.findings}
        return list(dict.fromkeys([*(arm for arm in self.arms if arm in arms), *arms]))

    def of(self, experiment: ExperimentInfo) -> list[Finding]:
        """The findings of one experiment, in the order of the arms."""
        arms = self.measured_arms()
        found = [finding for finding in self.findings if finding.experiment == experiment.id]
        return sorted(found, key=lambda finding: arms.index(finding.arm))

    def with_finding(self, finding: Finding) -> Findings:
        """With one more finding, in place of an earlier one; without experiments that the command no longer has."""
        ids, arms = [experiment.id for experiment in self.experiments], list(self.arms)
        kept = [
            one
            for one in self.findings
            if (one.experiment, one.arm) != (finding.experiment, finding.arm) and one.experiment in ids
        ]
        order = sorted(
            (one for one in [*kept, finding] if one.arm in arms),
            key=lambda one: (ids.index(one.experiment), arms.index(one.arm)),
        )
        return replace(self, findings=tuple(order))

    def finished(self, at: str) -> Findings:
        """With the time at which the last experiment ended."""
        return replace(self, finished_at=at)


_FILE = TypeAdapter(Findings)


def file_name(name: str) -> str:
    """The file of a command."""
    return f"{name}.json"


def write(folder: Path, findings: Findings) -> Path:
    """Write the file, complete at any moment; returns its path.

    Raises:
        RecordError: the findings could not be read back.
    """
    path = folder / file_name(findings.name)
    data = _FILE.dump_python(findings, mode="json")
    _parsed(data)
    json_file.write(path, data)
    return path


def read(path: Path) -> Findings:
    """Read a file of findings. Nothing in it is trusted: types are checked, texts may be anything.

    Raises:
        RecordError: not a file of findings; one line.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise RecordError(f"{path} is not JSON") from None
    try:
        return _parsed(data)
    except RecordError as error:
        raise RecordError(f"{path} holds no findings: {error}") from None


def _parsed(data: Any) -> Findings:
    if not isinstance(data, dict):
        raise RecordError("a JSON object is needed")
    if data.get("schema") == 1:
        data = _from_schema_1(data)
    if data.get("schema") != SCHEMA:
        raise RecordError(f"schema version {ascii(data.get('schema'))[:40]}, and this lab reads 1 and {SCHEMA}")
    try:
        findings = _FILE.validate_python(data)
    except ValidationError as error:
        raise RecordError(first_complaint(error)) from None
    known = {experiment.id for experiment in findings.experiments}
    if stray := next((one.experiment for one in findings.findings if one.experiment not in known), None):
        raise RecordError(f"a finding of {ascii(stray)[1:-1][:80]}, which is not one of its experiments")
    return findings


def _from_schema_1(data: dict[str, Any]) -> dict[str, Any]:
    """Findings of schema 1, where facts were called details."""
    findings = data.get("findings")
    if isinstance(findings, list):
        findings = [
            {**one, "facts": one.get("details")} if isinstance(one, dict) and "facts" not in one else one
            for one in findings
        ]
    return {"started_at": None, "finished_at": None, **data, "schema": SCHEMA, "findings": findings}
