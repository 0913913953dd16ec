"""The `--lab-*` options, and what of them makes no run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from runner_lab.benchmarks.profiles import PROFILES, Profile
from runner_lab.runners import far_api

DEFAULT_PROFILE = "quick"


class UsageError(ValueError):
    """Options that make no run; the message is one line that says what to do."""


@dataclass(frozen=True)
class Options:
    """The `--lab-*` options, as given. `profile` is `DEFAULT_PROFILE` where it is not; a resumed run has its own.

    draws: pieces of work to draw, and the seed that they are drawn by; None: as the profile has it.
    api_latency: round trip to put between the run and Prefect's API, such as `80ms`.
    draws_latency: the same for the drawn work alone.
    command: what the user typed, where that is not this process's own command line.
    """

    profile: str | None = None
    runners: str | None = None
    blocks: int | None = None
    workers: int | None = None
    out: Path | None = None
    resume: Path | None = None
    config: Path | None = None
    api_url: str | None = None
    database_url: str | None = None
    cell_timeout_s: float | None = None
    server_settings: tuple[str, ...] = ()
    draws: tuple[int, int] | None = None
    api_latency: str | None = None
    draws_latency: str | None = None
    command: str | None = None


def check(options: Options) -> None:
    """
    Raises:
        UsageError: options that make no run.
    """
    if options.profile is not None and options.profile not in PROFILES:
        raise UsageError(f"--lab-profile {options.profile}: there are {', '.join(PROFILES)}")
    for name, value in (("--lab-blocks", options.blocks), ("--workers", options.workers)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: at least 1 is needed")
    if options.draws is not None and options.draws[0] < 1:
        raise UsageError(f"--lab-draws {options.draws[0]}: at least 1 is needed")
    if options.cell_timeout_s is not None and not 0 < options.cell_timeout_s < float("inf"):
        raise UsageError("--lab-cell-timeout: more than 0 seconds are needed")
    if options.api_url and options.database_url:
        raise UsageError("--lab-api-url uses a server that runs, --lab-database-url starts one: give one of them")
    if options.api_url and options.server_settings:
        raise UsageError("--lab-api-url uses a server that runs: --lab-server-setting is for one that the lab starts")
    server_settings(options.server_settings)
    near_s = round_trip_s("--lab-api-latency", options.api_latency)
    drawn_s = round_trip_s("--lab-draws-latency", options.draws_latency)
    if (near_s or drawn_s) and options.api_url:
        far_api.refuse_https(options.api_url)
    if options.resume:
        _check_resumed(options)


def _check_resumed(options: Options) -> None:
    """
    Raises:
        UsageError: an option of a run that is resumed, and has that settled.
    """
    if options.out:
        raise UsageError("--lab-resume goes on in its own folder: leave --lab-out away")
    for name, value in (
        ("--lab-runners", options.runners),
        ("--workers", options.workers),
        ("--lab-api-latency", options.api_latency),
    ):
        if value is not None:
            raise UsageError(f"--lab-resume goes on as the run was begun: leave {name} away")


def profile(options: Options, resumed: str | None) -> Profile:
    """What is asked for, or that of the run that is `resumed`, by its name.

    Raises:
        UsageError: the run's profile is not known here, or another one is asked for.
    """
    name = resumed or options.profile or DEFAULT_PROFILE
    if name not in PROFILES:
        raise UsageError(f"--lab-resume {options.resume}: there is no profile {name!r}")
    if options.profile not in (None, name):
        raise UsageError(f"--lab-resume goes on with the profile {name} of its run: leave --lab-profile away")
    return PROFILES[name] if options.draws is None else replace(PROFILES[name], draws=options.draws)


def blocks(options: Options, planned: int) -> int:
    """As many as are asked for, or planned: by the profile, or by the run that is resumed, which may get more of them.

    Raises:
        UsageError: fewer than that run is to have.
    """
    given = options.blocks or planned
    if options.resume and given < planned:
        raise UsageError(f"--lab-blocks {given}: the run in {options.resume} is to have {planned}, and may get more")
    return given


def server_settings(given: Iterable[str]) -> dict[str, str]:
    """By name, from the `NAME=VALUE` of each `--lab-server-setting`.

    Raises:
        UsageError: one that is no setting of Prefect's.
    """
    found = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not equals or not name.startswith("PREFECT_"):
            raise UsageError(f"--lab-server-setting {setting}: PREFECT_NAME=VALUE is needed")
        found[name] = value
    return found


def round_trip_s(option: str, text: str | None) -> float:
    """The round trip that an option asks for, seconds; 0 where the API stays where it is.

    Raises:
        AskError: what is given is no duration, or longer than Prefect's clients would wait.
    """
    if text is None:
        return 0.0
    # Not at the top: it brings scipy, which is no module of the measuring side's.
    from runner_lab.reports.choose import asking

    return asking.api_latency_s(option, text)


def names(runners: str | None, profile: Profile) -> list[str]:
    """The arms that are named, or the profile's.

    Raises:
        UsageError: none is named.
    """
    if runners is None:
        return list(profile.arms)
    chosen = separated(runners)
    if not chosen:
        raise UsageError("--lab-runners names no arm")
    return chosen


def separated(text: str) -> list[str]:
    """The names in a text that has commas between them, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
