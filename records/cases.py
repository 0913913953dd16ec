"""The real flows, measured: `cases.json` of a folder with a run folder for each, and what was predicted of each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from runner_lab.records import json_file
from runner_lab.records.flow_profile import ADVICE
from runner_lab.records.validation import Count, Number, Printable, RecordError, first_complaint

FILE_NAME = "cases.json"

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class CasesPlan(BaseModel):
    """What was asked for; a resumed run goes on with it.

    runners: arms beside the flow's own.
    workers: slots of each of them; None: as many as suit it.
    parameters: by case, each as `NAME=VALUE`.
    """

    model_config = _FROZEN

    cases: tuple[Printable, ...]
    runners: Printable
    blocks: Count
    workers: Count | None = None
    cell_timeout_s: Number = 300.0
    parameters: dict[str, tuple[str, ...]] = {}


class RankedArm(BaseModel):
    """What a runner was predicted to take, with that many slots; None: no limit, or none to choose. Seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    arm: Printable
    slots: Count | None = None
    seconds: Number
    low: Number | None = None
    high: Number | None = None


class NamedArm(BaseModel):
    """The runner that was recommended."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    arm: Printable
    slots: Count | None = None

    @property
    def resized(self) -> str:
        """As `compare --runners` names it in these slots."""
        return f"{self.arm}@{self.slots}"


class Predicted(BaseModel):
    """`advise.json`: what was predicted of a case from one run of it.

    usual_slots: every runner with the slots that it has by default, as it is measured; `ranked` has those advised.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    ranked: tuple[RankedArm, ...]
    named: NamedArm
    usual_slots: tuple[RankedArm, ...] = ()

    @property
    def of_named(self) -> RankedArm | None:
        """The prediction for the runner that was recommended."""
        of_arm = [ranked for ranked in self.ranked if ranked.arm == self.named.arm]
        return next((ranked for ranked in of_arm if ranked.slots == self.named.slots), next(iter(of_arm), None))


class ArmTime(BaseModel):
    """A case under one runner. Seconds of one run of the flow, the geometric mean over blocks with its interval.

    arm: `threads` where the flow's own runner is Prefect's default.
    slots: in words, such as `2 processes`; empty where there are none to tell.
    workers: worker slots; 0: no limit, or a number that is not known.
    seconds: None where it failed every time; `error` is the reason of the first failure.
    """

    model_config = _FROZEN

    arm: Printable
    slots: str = ""
    workers: Count = 0
    seconds: Number | None = None
    low: Number | None = None
    high: Number | None = None
    blocks: Count = 0
    failed: Count = 0
    error: str = ""


class NamedTime(BaseModel):
    """The runner that was recommended, in the slots that were, and the best one of the same run. Seconds.

    best: the other runner with the shortest time there.
    """

    model_config = _FROZEN

    seconds: Number
    best: Printable
    best_s: Number

    @property
    def regret(self) -> float:
        return self.seconds / min(self.seconds, self.best_s)


class MeasuredCase(BaseModel):
    """A case under every runner.

    folder: its run folder, relative.
    best: the runner with the shortest time; `level`: those that cannot be told from it, itself among them.
    results: whether all runners returned the same; `unknown` where that could not be compared.
    named: the runner that was recommended, as it was measured; None without a prediction, or if it was not measured.
    ratios: by runner, the predicted time over the measured one.
    """

    model_config = _FROZEN

    case: Printable
    does: str
    folder: str
    arms: tuple[ArmTime, ...] = ()
    best: str | None = None
    level: tuple[str, ...] = ()
    results: Literal["same", "different", "unknown"] = "unknown"
    predicted: Predicted | None = None
    named: NamedTime | None = None
    ratios: dict[str, float] = {}

    def of(self, arm: str) -> ArmTime | None:
        """The time under a runner, if it took part."""
        return next((time for time in self.arms if time.arm == arm), None)

    @property
    def measured_as_named(self) -> bool:
        """Whether the runner that was recommended had the slots that were."""
        named = self.predicted and self.predicted.named
        time = self.of(named.arm) if named else None
        return bool(named and time and named.slots == time.workers)


class MeasuredCases(BaseModel):
    """`cases.json`."""

    model_config = _FROZEN

    plan: CasesPlan
    cases: tuple[MeasuredCase, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Every runner that took part in any case, in their order."""
        return tuple(dict.fromkeys(time.arm for case in self.cases for time in case.arms))


def write(folder: Path, measured: MeasuredCases) -> None:
    """
    Raises:
        OSError: the file cannot be written.
    """
    json_file.write(folder / FILE_NAME, measured.model_dump(mode="json"))


def read(folder: Path) -> MeasuredCases:
    """
    Raises:
        RecordError: there is none, or it cannot be used; one line.
    """
    path = folder / FILE_NAME
    try:
        return MeasuredCases.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: no measured cases there ({error.strerror})") from None
    except ValidationError as error:
        raise RecordError(f"{path}: {first_complaint(error)}") from None


def read_predicted(case_folder: Path) -> Predicted | None:
    """What was predicted of a case; None where nothing was.

    Raises:
        RecordError: the file cannot be used; one line.
    """
    path = case_folder / ADVICE
    try:
        return Predicted.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise RecordError(f"{path}: {first_complaint(error)}") from None
