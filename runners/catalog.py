"""The arms there are: those of each engine, and those a `runners.toml` declares.

An engine is a file in `runners/engines` with an `ENGINE`, or one that an installed distribution names by an entry point
of the group `runner_lab.engines`.
"""

from __future__ import annotations

import pkgutil
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_lab.records.record import BASELINE, CONTROL, YOURS
from runner_lab.records.traits import ArmTraits
from runner_lab.runners import engines as engine_files
from runner_lab.runners.engine import CLUSTER_VALUES, ClusterSettings, Engine, load_runner_class
from runner_lab.runners.spec import ArmError, RunnerSpec, one_line

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

ENTRY_POINTS = "runner_lab.engines"
"""The group of entry points by which a distribution brings engines: each names an `Engine` or a class of one."""
STOCK, LEAN, BARE = "(stock)", "(lean)", "(bare)"
"""Groups of arms in a default selection: every engine's own runner, the lean one, the engine without Prefect."""

_CONTROL_PALETTE = 2
_RESIZED = re.compile(r".@\d+$")
_ARM_KEYS = {"class", "engine", "options", "lean", "summary"}
_CLUSTER_FIELDS = {f.name for f in fields(ClusterSettings)} - {"more"}


class ConfigError(ValueError):
    """A `runners.toml` or an engine that cannot be used; the message is one line that names the key or engine."""


@dataclass(frozen=True)
class Catalog:
    """All arms by name, in the order they are shown; the engines; and where the engines' clusters come from."""

    arms: Mapping[str, RunnerSpec]
    engines: Mapping[str, Engine]
    clusters: Mapping[str, ClusterSettings] = field(default_factory=dict)

    def engine(self, spec: RunnerSpec) -> Engine:
        return self.engines[spec.engine]

    def settings(self, spec: RunnerSpec) -> ClusterSettings:
        return self.clusters.get(spec.engine, ClusterSettings())

    def select(self, names: Iterable[str], workers: int | None, cores: int = 1) -> list[RunnerSpec]:
        """The named arms, each that has slots with as many; with None each with as many as suit it on so many cores.

        Raises:
            ArmError: no such arm.
        """
        chosen = []
        for name in names:
            if name not in self.arms:
                raise ArmError(name, f"there is no such arm; there are {', '.join(self.arms)}")
            spec = self.arms[name]
            if spec.has_slots and not spec.as_declared and not _RESIZED.search(name):
                spec = spec.with_workers(workers or self.engine(spec).suitable_slots(spec, cores))
            chosen.append(spec)
        return chosen

    def resized(self, names: Iterable[str]) -> Catalog:
        """With an arm for each name such as `threads@32`: that arm in so many slots, whatever others have.

        Raises:
            ArmError: an arm that has no slots to set, or none.
        """
        arms = {}
        for name in names:
            arm, _, slots = name.rpartition("@")
            if not _RESIZED.search(name) or (spec := self.arms.get(arm)) is None:
                continue
            if not spec.has_slots or spec.as_declared:
                raise ArmError(name, f"{arm} has no slots to set: name {arm}")
            if int(slots) < 1:
                raise ArmError(name, "at least 1 slot is needed")
            arms[name] = replace(spec.with_workers(int(slots)), name=name)
        return replace(self, arms={**self.arms, **arms})

    def with_yours(self, runner: TaskRunner[Any]) -> Catalog:
        """With the runner that a flow declares as an arm, which the control then is a second time."""
        runner_class = type(runner)
        class_path = f"{runner_class.__module__}.{runner_class.__qualname__}"
        engine = _engine_of(runner_class, self.engines)
        slots, options = self.engines[engine].declared(runner)
        summary = "the flow's own runner, as it declares it"
        yours = RunnerSpec(YOURS, engine, class_path, options, slots, summary=summary, as_declared=True)
        control = replace(yours, name=CONTROL, summary="the same a second time (A/A)")
        return replace(self, arms={YOURS: yours, **self.arms, CONTROL: control})

    def default(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """A default selection: `names`, its groups resolved, less the arms whose engine is not installed; and a line
        for each such engine."""
        chosen = dict.fromkeys(arm for name in names for arm in self._group(name))
        left_out: dict[str, list[str]] = {}
        for name in chosen:
            if lacking := self.missing(self.arms[name]):
                left_out.setdefault(lacking, []).append(name)
        lines = [f"{lacking}; left out: {', '.join(arms)}" for lacking, arms in left_out.items()]
        return [name for name in chosen if not self.missing(self.arms[name])], lines

    def _group(self, name: str) -> list[str]:
        sorts = {
            STOCK: lambda arm: bool(arm.class_path) and not arm.lean,
            LEAN: lambda arm: arm.lean,
            BARE: lambda arm: arm.bare,
        }
        if name not in sorts:
            return [name]
        return [arm.name for engine in self.engines.values() for arm in engine.arms if sorts[name](arm)]

    def missing(self, spec: RunnerSpec) -> str | None:
        """One line where the arm's engine is not installed."""
        return self.engine(spec).missing()

    def refuse_missing(self, specs: Iterable[RunnerSpec]) -> None:
        """
        Raises:
            ArmError: an arm's engine is not installed.
        """
        for spec in specs:
            if lacking := self.missing(spec):
                raise ArmError(spec.name, lacking)

    def traits(self, spec: RunnerSpec) -> ArmTraits:
        """What readers of a run are told of the arm."""
        traits = self.engine(spec).traits(spec, self.settings(spec))
        return replace(traits, palette=_CONTROL_PALETTE) if spec.name == CONTROL else traits

    def check(self, spec: RunnerSpec) -> None:
        """
        Raises:
            ArmError: the arm cannot start here.
        """
        if spec.as_declared:
            # Its author has made it already.
            return
        self.engine(spec).check(spec, self.settings(spec))


def load(config: Path | None = None) -> Catalog:
    """The arms of all engines, then those of `config`.

    Imports Prefect only where an arm names a class and no engine: then the class says which.

    Raises:
        ConfigError: not TOML, a key that is not known, a value of the wrong type; an engine that cannot be loaded.
        ArmError: the same, within an arm.
    """
    found = _engines()
    arms = _own_arms(found)
    arms[CONTROL] = replace(arms[BASELINE], name=CONTROL, summary="the baseline a second time (A/A)")
    clusters: dict[str, ClusterSettings] = {}
    if config is not None:
        declared = _read(config)
        tables = declared.pop("arms", {})
        if not isinstance(tables, dict):
            raise ConfigError('arms: must hold tables: [arms.NAME] with class = "..."')
        for name, table in tables.items():
            if name in (*arms, YOURS):
                raise ArmError(name, "is the lab's own and keeps its meaning: give yours another name")
            if not name.strip() or "," in name:
                raise ArmError(name, "a name must not be empty or hold a comma: --lab-runners could not name it")
            if _RESIZED.search(name):
                raise ArmError(
                    name, "a name must not end in @ and a number: that is how the lab names an arm it resizes"
                )
            arms[name] = _arm(name, table, found)
        for key, table in declared.items():
            clusters[key] = _cluster(_clustered(key, found), table, found)
    return Catalog(arms, found, clusters)


def default_config() -> Path | None:
    """The `runners.toml` of the working folder, if there is one."""
    path = Path("runners.toml")
    return path if path.exists() else None


def _engines() -> dict[str, Engine]:
    """All there are, from the simplest to run on.

    Raises:
        ConfigError: one cannot be loaded, or has the name of another.
    """
    engines: dict[str, tuple[Engine, str]] = {}
    too_late = "prefect" in sys.modules
    for source, load_engine in _sources():
        try:
            engine = load_engine()
            engine = engine() if isinstance(engine, type) else engine
        except Exception as error:  # what it brings is its author's: its import may raise anything
            raise ConfigError(f"{source} cannot be loaded ({one_line(error)}): mend or uninstall it") from None
        if "prefect" in sys.modules and not too_late:
            # Prefect reads its settings once, when it is imported: the lab sets its own before.
            raise ConfigError(f"{source} imports Prefect when it is loaded: import it in the functions that use it")
        if not isinstance(engine, Engine) or not getattr(engine, "name", "") or not getattr(engine, "title", ""):
            raise ConfigError(f"{source} is not an Engine with a name and a title")
        if engine.name in (*engines, "arms"):
            other = engines[engine.name][1] if engine.name in engines else "a table of runners.toml"
            raise ConfigError(f"{source} has the name of {other}, {engine.name!r}: give it another one")
        if wrong := next((key for key, value in engine.cluster_keys.items() if value not in CLUSTER_VALUES), None):
            raise ConfigError(f"{source}: cluster_keys[{wrong!r}] must be one of {', '.join(CLUSTER_VALUES)}")
        engines[engine.name] = (engine, source)
    return {engine.name: engine for engine, _ in sorted(engines.values(), key=lambda pair: pair[0].rank)}


def _sources() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Where engines come from, in words, and how to get each."""
    for info in pkgutil.iter_modules(engine_files.__path__):
        yield f"the engine of runners/engines/{info.name}.py", partial(_of_file, info.name)
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        source = f"the engine {point.name!r} of {point.dist.name if point.dist else point.value}"
        yield source, point.load


def _of_file(name: str) -> Any:
    return import_module(f"{engine_files.__name__}.{name}").ENGINE


def _own_arms(engines: Mapping[str, Engine]) -> dict[str, RunnerSpec]:
    """
    Raises:
        ConfigError: two engines have arms of one name, or an engine's arm names another engine.
    """
    arms: dict[str, RunnerSpec] = {}
    for engine in engines.values():
        for spec in engine.arms:
            if spec.engine != engine.name:
                raise ConfigError(f"engine {engine.name!r}: its arm {spec.name!r} names the engine {spec.engine!r}")
            if spec.name in (*arms, YOURS, CONTROL):
                raise ConfigError(f"engine {engine.name!r}: there is an arm {spec.name!r} already")
            arms[spec.name] = spec
    return arms


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {config}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config} is not TOML: {error}") from None


def _arm(name: str, table: Any, engines: Mapping[str, Engine]) -> RunnerSpec:
    if not isinstance(table, dict):
        raise ArmError(name, 'must be a table: [arms.NAME] with class = "..."')
    if unknown := sorted(table.keys() - _ARM_KEYS):
        raise ArmError(name, f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_ARM_KEYS))}")
    class_path = table.get("class")
    if not isinstance(class_path, str) or "." not in class_path:
        raise ArmError(name, "class: a dotted path is needed, such as prefect.task_runners.ThreadPoolTaskRunner")
    options = table.get("options", {})
    if not isinstance(options, dict):
        raise ArmError(name, "options: must be a table of keyword arguments")
    engine = table.get("engine") or _guess_engine(name, class_path, engines)
    if engine not in engines:
        raise ArmError(name, f"engine: {engine!r} is not one of {', '.join(engines)}")
    lean, summary = table.get("lean", False), table.get("summary", class_path)
    if not isinstance(lean, bool):
        raise ArmError(name, "lean: must be true or false")
    if not isinstance(summary, str):
        raise ArmError(name, "summary: must be text")
    return RunnerSpec(name, engine, class_path, options, lean=lean, summary=summary)


def _guess_engine(name: str, class_path: str, engines: Mapping[str, Engine]) -> str:
    """The engine of a class that says nothing of it: that of the nearest runner it is a subclass of."""
    module = class_path.partition(".")[0]
    for engine in engines.values():
        if module in {package.module for package in engine.requires} and engine.missing():
            # It cannot be imported to be asked: as an arm of an engine that is missing it is listed as such.
            return engine.name
    return _engine_of(load_runner_class(RunnerSpec(name, "none", class_path)), engines)


def _engine_of(runner_class: type[TaskRunner[Any]], engines: Mapping[str, Engine]) -> str:
    """That of the nearest class with an engine; `none` where there is none."""
    for base in runner_class.__mro__:
        for engine in engines.values():
            if base.__name__ in engine.runner_classes:
                return engine.name
    return "none"


def _clustered(key: str, engines: Mapping[str, Engine]) -> Engine:
    known = [name for name, engine in engines.items() if engine.cluster_keys]
    if key not in known:
        *others, last = ["arms", *known]
        raise ConfigError(f"unknown key {key!r}; known are {', '.join(others)} and {last}")
    return engines[key]


def _cluster(engine: Engine, table: Any, engines: Mapping[str, Engine]) -> ClusterSettings:
    key = engine.name
    if not isinstance(table, dict):
        raise ConfigError(f'{key}: must be a table, such as {key}.address = "..."')
    for name, value in table.items():
        if name not in engine.cluster_keys:
            takers = [other.name for other in engines.values() if name in other.cluster_keys]
            known = ", ".join(sorted(engine.cluster_keys))
            raise ConfigError(
                f"{key}.{name}: {f'only {takers[0]} takes one' if takers else 'unknown key'}; known are {known}"
            )
        what = engine.cluster_keys[name]
        kind = CLUSTER_VALUES[what]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"{key}.{name}: must be {what}")
        if value == "":
            raise ConfigError(f"{key}.{name}: must not be empty")
    if not 0 < table.get("timeout_s", 1) < float("inf"):
        raise ConfigError(f"{key}.timeout_s: must be more than 0 seconds")
    if "address" in table and "cluster_class" in table:
        raise ConfigError(f"{key}.address and {key}.cluster_class: give one of them")
    if "cluster_kwargs" in table and "cluster_class" not in table:
        raise ConfigError(f"{key}.cluster_kwargs: they are for {key}.cluster_class, which is missing")
    own = {name: value for name, value in table.items() if name in _CLUSTER_FIELDS}
    return ClusterSettings(**own, more={name: value for name, value in table.items() if name not in own})
