"""The arms there are: those of each file in this package, and those a `runners.toml` declares."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from runner_lab.runners import engines as engine_files
from runner_lab.runners.engine import ClusterSettings, Engine, load_runner_class
from runner_lab.runners.spec import ArmError, EngineName, RunnerSpec

BASELINE = "threads"
CONTROL = "control"
"""The baseline a second time: what it differs by is noise."""

_ARM_KEYS = {"class", "engine", "options", "lean", "summary"}
_CLUSTER_KEYS = {f.name for f in fields(ClusterSettings)}


class ConfigError(ValueError):
    """A `runners.toml` that cannot be used; the message is one line that names the key."""


@dataclass(frozen=True)
class Catalog:
    """All arms by name, in the order they are shown; the engines; and where the engines' clusters come from."""

    arms: Mapping[str, RunnerSpec]
    engines: Mapping[EngineName, Engine]
    clusters: Mapping[EngineName, ClusterSettings] = field(default_factory=dict)

    def engine(self, spec: RunnerSpec) -> Engine:
        return self.engines[spec.engine]

    def settings(self, spec: RunnerSpec) -> ClusterSettings:
        return self.clusters.get(spec.engine, ClusterSettings())

    def select(self, names: Iterable[str], workers: int) -> list[RunnerSpec]:
        """The named arms, each with as many worker slots.

        Raises:
            ArmError: no such arm.
        """
        chosen = []
        for name in names:
            if name not in self.arms:
                raise ArmError(name, f"there is no such arm; there are {', '.join(self.arms)}")
            spec = self.arms[name]
            chosen.append(spec if spec.direct else spec.with_workers(workers))
        return chosen

    def check(self, spec: RunnerSpec) -> None:
        """
        Raises:
            ArmError: the arm cannot start here.
        """
        self.engine(spec).check(spec, self.settings(spec))


def load(config: Path | None = None) -> Catalog:
    """The arms of this package, then those of `config`.

    Imports Prefect only where an arm names a class and no engine: then the class says which.

    Raises:
        ConfigError: not TOML, a key that is not known, a value of the wrong type.
        ArmError: the same, within an arm.
    """
    found = _engines()
    arms = {spec.name: spec for engine in found.values() for spec in engine.arms}
    arms[CONTROL] = _renamed(arms[BASELINE], CONTROL, "the baseline a second time (A/A)")
    clusters: dict[EngineName, ClusterSettings] = {}
    if config is not None:
        declared = _read(config)
        tables = declared.pop("arms", {})
        if not isinstance(tables, dict):
            raise ConfigError('arms: must hold tables: [arms.NAME] with class = "..."')
        for name, table in tables.items():
            if name in arms:
                raise ArmError(name, "is the lab's own and keeps its meaning: give yours another name")
            if not name.strip() or "," in name:
                raise ArmError(name, "a name must not be empty or hold a comma: --lab-runners could not name it")
            if re.search(r".@\d+$", name):
                raise ArmError(
                    name, "a name must not end in @ and a number: that is how the lab names an arm it resizes"
                )
            arms[name] = _arm(name, table)
        for key, table in declared.items():
            engine = _engine_name(key, found)
            clusters[engine] = _cluster(engine, table)
    return Catalog(arms, found, clusters)


def default_config() -> Path | None:
    """The `runners.toml` of the working folder, if there is one."""
    path = Path("runners.toml")
    return path if path.exists() else None


def _engines() -> dict[EngineName, Engine]:
    order = list(get_args(EngineName))
    names = [
        f"{engine_files.__name__}.{info.name}" for info in pkgutil.iter_modules(engine_files.__path__) if not info.ispkg
    ]
    modules = [import_module(name) for name in names]
    engines = [module.ENGINE for module in modules if hasattr(module, "ENGINE")]
    return {engine.name: engine for engine in sorted(engines, key=lambda engine: order.index(engine.name))}


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {config}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config} is not TOML: {error}") from None


def _arm(name: str, table: Any) -> RunnerSpec:
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
    engine = table.get("engine") or _guess_engine(name, class_path)
    if engine not in get_args(EngineName):
        raise ArmError(name, f"engine: {engine!r} is not one of {', '.join(get_args(EngineName))}")
    lean, summary = table.get("lean", False), table.get("summary", class_path)
    if not isinstance(lean, bool):
        raise ArmError(name, "lean: must be true or false")
    if not isinstance(summary, str):
        raise ArmError(name, "summary: must be text")
    return RunnerSpec(name, engine, class_path, options, lean=lean, summary=summary)


def _guess_engine(name: str, class_path: str) -> EngineName:
    """The engine of a class that says nothing of it: that of the runner it is a subclass of."""
    ancestors = {base.__name__ for base in load_runner_class(RunnerSpec(name, "none", class_path)).__mro__}
    known: dict[str, EngineName] = {
        "ThreadPoolTaskRunner": "threads",
        "ProcessPoolTaskRunner": "processes",
        "DaskTaskRunner": "dask",
        "RayTaskRunner": "ray",
    }
    return next((engine for base, engine in known.items() if base in ancestors), "none")


def _cluster(key: str, table: Any) -> ClusterSettings:
    if not isinstance(table, dict):
        raise ConfigError(f'{key}: must be a table, such as {key}.address = "..."')
    if unknown := sorted(table.keys() - _CLUSTER_KEYS):
        raise ConfigError(f"{key}.{unknown[0]}: unknown key; known are {', '.join(sorted(_CLUSTER_KEYS))}")
    for name, kind, what in (
        ("address", str, "text"),
        ("cluster_class", str, "text"),
        ("cluster_kwargs", dict, "a table"),
        ("timeout_s", (int, float), "a number of seconds"),
    ):
        if name in table and (not isinstance(table[name], kind) or isinstance(table[name], bool)):
            raise ConfigError(f"{key}.{name}: must be {what}")
        if name in table and table[name] == "":
            raise ConfigError(f"{key}.{name}: must not be empty")
    if not 0 < table.get("timeout_s", 1) < float("inf"):
        raise ConfigError(f"{key}.timeout_s: must be more than 0 seconds")
    if key != "dask" and (extra := sorted(table.keys() & {"cluster_class", "cluster_kwargs"})):
        raise ConfigError(f"{key}.{extra[0]}: only dask takes one; give {key}.address")
    if "address" in table and "cluster_class" in table:
        raise ConfigError(f"{key}.address and {key}.cluster_class: give one of them")
    if "cluster_kwargs" in table and "cluster_class" not in table:
        raise ConfigError(f"{key}.cluster_kwargs: they are for {key}.cluster_class, which is missing")
    return ClusterSettings(**table)


def _engine_name(key: str, engines: Mapping[EngineName, Engine]) -> EngineName:
    for name, engine in engines.items():
        if name == key and engine.shares_cluster:
            return name
    raise ConfigError(f"unknown key {key!r}; known are arms, dask and ray")


def _renamed(spec: RunnerSpec, name: str, summary: str) -> RunnerSpec:
    return RunnerSpec(name, spec.engine, spec.class_path, spec.options, summary=summary)
