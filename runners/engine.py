"""`Engine`: what executes tasks. One subclass, and its arms, in each file of `runners/engines`.

Nothing else of the lab knows an engine by its name: what others need to know of one, it says of itself here.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import SplitResult, urlsplit

from runner_lab.records.traits import ArmTraits, Nested, Reach, Slots
from runner_lab.runners.spec import ArmError, RunnerSpec, one_line

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


CLUSTER_VALUES: Mapping[str, type | tuple[type, ...]] = {
    "text": str,
    "a table": dict,
    "a number of seconds": (int, float),
    "a number": (int, float),
    "true or false": bool,
}
"""What a key of an engine's table in `runners.toml` may be, in the words of a refusal."""
RUNNING_CLUSTER: Mapping[str, str] = {"address": "text", "timeout_s": "a number of seconds"}
"""The keys of every engine that finds its cluster by an address."""


@dataclass(frozen=True)
class ClusterSettings:
    """Where an engine's cluster comes from: started here by default, or one that runs, or one of another class.

    address: of a running cluster.
    cluster_class: dotted path of a Dask cluster class, started with `cluster_kwargs`.
    timeout_s: how long a running cluster may take to answer.
    more: any other key that the engine takes (`Engine.cluster_keys`).
    """

    address: str | None = None
    cluster_class: str | None = None
    cluster_kwargs: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 10.0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dependency:
    """What an engine needs: the name it is installed by, and the top-level module that it brings."""

    distribution: str
    module: str


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs, shared by the arms of its engine.

    address: what to connect to; None for engines without a cluster.
    local: its processes are this process's children, so that their CPU and memory can be seen. They have its code and
        files as well, which workers elsewhere need not have.
    """

    address: str | None = None
    local: bool = True


class BareSubmitter(Protocol):
    """The engine's own submit, with no Prefect: handles may be arguments of later submits."""

    def submit(self, node: Any, *args: Any) -> Any: ...

    def on_done(self, handle: Any, callback: Callable[[], None]) -> None: ...

    def result(self, handle: Any) -> Any: ...


class Engine:
    """Without a cluster by default: a runner makes what it needs when the flow starts."""

    name: str
    """In `runners.toml`, in records; `title` is the one that is shown."""
    title: str
    arms: tuple[RunnerSpec, ...] = ()
    rank: int = 50
    """Place among all engines, from the simplest to run to the one with the most to look after. Direct calls are 0,
    an event loop 5, threads 10, processes 20, Dask 30, Ray 40. Arms are listed, and equally fast ones recommended, in
    this order."""
    reach: Reach = "process"
    """How far tasks go from the flow: no further than its own `process`, processes of its `host`, or a `cluster`."""
    concurrent = True
    """Two tasks may run at the same time."""
    nested: Nested = "held"
    """What becomes of the slot of a task that waits for tasks of its own, under the stock runner: it is `held`, it is
    `lent` to others, or those tasks have a pool of their `own`."""
    warm_for: Literal["run", "stage", "flow run"] = "stage"
    """How long what a first flow run has warmed up stays so: as long as the lab's process, while the arm's cluster is
    up, or not beyond the flow run, as where each starts workers of its own."""
    runner_classes: frozenset[str] = frozenset()
    """Names of the `TaskRunner` classes that run on this engine; their subclasses do so too."""
    requires: tuple[Dependency, ...] = ()
    """What must be installed for it."""
    install = ""
    """What `pip install` takes to bring all of that; the distributions of `requires` by default."""
    cluster_keys: Mapping[str, str] = {}
    """Keys of its table in `runners.toml`, and what each must be (`CLUSTER_VALUES`)."""
    caveat = ""
    """What no stopwatch shows, in one sentence: it stands beside an answer that names one of its arms."""
    palette: int | None = None
    """Place in the charts' palette; by default one is drawn from the arm's name, and so keeps."""
    worker_option: str | None = None
    """The keyword of the runner's class that sets the number of worker slots."""
    unlimited = False
    """Its runner may have no limit of worker slots, which 0 of them stands for."""
    shares_cluster = False
    """One cluster serves all arms of this engine for a block, and is warm when they are measured."""
    own_place: frozenset[str] = frozenset()
    """Options of the runner's class that say where it runs: an arm that has one is not on the shared cluster."""
    forbids_reruns = ""
    """What a user sets to keep its runner from running a task again whose worker has died; empty where nothing does."""

    def check(self, spec: RunnerSpec, settings: ClusterSettings) -> None:
        """See that the arm can start here, without starting it.

        Raises:
            ArmError: it cannot; the message names the arm and the key.
        """
        if lacking := self.missing():
            raise ArmError(spec.name, lacking)
        if spec.class_path:
            runner_class = load_runner_class(spec)
            try:
                inspect.signature(runner_class).bind(**self.options(spec, None))
            except TypeError as error:
                raise ArmError(spec.name, f"options: {spec.class_path} {error}") from None
        if address := spec.options.get("address"):
            check_address(spec.name, "options.address", str(address), settings.timeout_s)
        elif settings.address and self.shares_cluster:
            check_address(spec.name, f"{self.name}.address", settings.address, settings.timeout_s)

    def cool(self) -> None:
        """End what its runners keep in this process for the next flow run: a cold one begins without."""

    def missing(self) -> str | None:
        """One line where something that the engine needs is not installed; nothing is imported to see it."""
        if all(map(_installed, self.requires)):
            return None
        install = self.install or " ".join(package.distribution for package in self.requires)
        return f"{self.title} is not installed: pip install '{install}'"

    def slots_share_gil(self, spec: RunnerSpec, settings: ClusterSettings) -> bool | None:
        """Whether all worker slots of the arm are in one process, or each in its own; None where it is neither, or
        not known before a cluster is asked."""
        return self.reach == "process"

    def traits(self, spec: RunnerSpec, settings: ClusterSettings) -> ArmTraits:
        """What readers of a run, who need not have this engine, are told of one of its arms."""
        slots: Slots = "counted" if spec.workers else "no limit" if self.unlimited else "unknown"
        return ArmTraits(
            rank=self.rank,
            reach=self.reach,
            slots_share_gil=self.slots_share_gil(spec, settings),
            caveat=self.caveat,
            event_loop=spec.event_loop,
            palette=self.palette if spec.name in {own.name for own in self.arms} else None,
            slots=slots,
            nested="lent" if spec.lean and self.nested == "held" else self.nested,
        )

    def shares(self, spec: RunnerSpec) -> bool:
        """Whether the arm runs on the engine's shared cluster."""
        return self.shares_cluster and not spec.as_declared and not self.own_place & spec.options.keys()

    def attached(self, spec: RunnerSpec, settings: ClusterSettings) -> str | None:
        """The address of the cluster that the arm runs on, where that one runs already."""
        return spec.options.get("address") or (settings.address if self.shares(spec) else None)

    def own_cluster(self, spec: RunnerSpec) -> Cluster:
        """Stands for the cluster of an arm that is not on the shared one: the runner's to start, or to find where its
        options say, in every flow run."""
        address = spec.options.get("address")
        return Cluster(address, local=address is None)

    def resizable(self, spec: RunnerSpec, settings: ClusterSettings) -> bool:
        """Whether the number of workers is the lab's to set: not of a cluster it attaches to, or of options given."""
        if spec.as_declared:
            return False
        if self.shares_cluster:
            return self.shares(spec) and not settings.address and not settings.cluster_class
        return self.worker_option is not None and self.worker_option not in spec.options

    def where(self, spec: RunnerSpec, settings: ClusterSettings) -> str:
        """Where its tasks would run, in words."""
        return "this process"

    def place_of(self, spec: RunnerSpec) -> str:
        """What the options of an arm say of where it runs."""
        return "; ".join(f"{key} {spec.options[key]}" for key in sorted(self.own_place & spec.options.keys()))

    def suitable_slots(self, spec: RunnerSpec, cores: int) -> int:
        """Worker slots of an arm that nobody has set: the cores, and at least 2; or what its own options say."""
        own = spec.options.get(self.worker_option) if self.worker_option else None
        return own if isinstance(own, int) and own > 0 else max(2, cores)

    def declared(self, runner: TaskRunner[Any]) -> tuple[int, dict[str, Any]]:
        """Worker slots of a runner that a user has made, 0 where they are not known, and its options that say where it
        runs."""
        return 0, {}

    @contextmanager
    def cluster(self, workers: int, settings: ClusterSettings, scratch: Path) -> Iterator[Cluster]:
        """The cluster all arms of this engine share, started here or attached to.

        Args:
            workers: worker slots.
            settings: where it comes from.
            scratch: folder for its files, with a short path.
        """
        yield Cluster()

    def slots(self, cluster: Cluster) -> int | None:
        """Tasks that a running cluster, entered by `cluster`, runs at a time; None where it does not tell."""
        return None

    def address(self, host: str, port: int) -> str:
        """How its runner's class is told of a cluster there."""
        return f"{host}:{port}"

    def on_workers(self, address: str, function: Callable[..., str], *args: Any, limit_s: float) -> dict[str, str]:
        """What a function that travels by value returns on each worker of a running cluster, by worker; or why it does
        not run there. Nothing where the engine has no way to ask."""
        return {}

    def task_runner(self, spec: RunnerSpec, cluster: Cluster | None, scratch: Path) -> TaskRunner[Any]:
        """The Prefect runner, on the shared cluster, or with None on one of its own that it starts and stops."""
        return load_runner_class(spec)(**self.options(spec, cluster, scratch))

    def options(self, spec: RunnerSpec, cluster: Cluster | None, scratch: Path = Path()) -> dict[str, Any]:
        """Keyword arguments for the runner's class: the user's own go before the lab's."""
        workers = {self.worker_option: spec.workers} if self.worker_option else {}
        return {**workers, **spec.options}

    def in_code(self, spec: RunnerSpec) -> str:
        """What a flow declares to have the arm's runner: `ThreadPoolTaskRunner(max_workers=8)`."""
        name = spec.class_path.rpartition(".")[2]
        return f"{name}({', '.join(f'{key}={value!r}' for key, value in self.keywords(spec).items())})"

    def keywords(self, spec: RunnerSpec) -> dict[str, Any]:
        """The keywords of `in_code`: what a user would write, and nothing that only the lab needs."""
        return self.options(spec, None)

    @contextmanager
    def bare(self, spec: RunnerSpec, cluster: Cluster, limit_s: float) -> Iterator[BareSubmitter]:
        """The engine without Prefect; a result that takes longer than `limit_s` raises TimeoutError."""
        raise ArmError(spec.name, f"engine {self.name!r} has no bare form")
        yield


def _installed(package: Dependency) -> bool:
    found = find_spec(package.module)
    # A mere folder of that name, such as a project's own `ray/`, is found as well, and has no origin.
    return found is not None and found.origin is not None


def load_runner_class(spec: RunnerSpec) -> type[TaskRunner[Any]]:
    """
    Raises:
        ArmError: the path does not lead to a subclass of Prefect's TaskRunner.
    """
    from prefect.task_runners import TaskRunner

    module_name, _, name = spec.class_path.rpartition(".")
    try:
        found = getattr(import_module(module_name), name)
    except Exception as error:  # the module is the user's: its import may raise anything
        raise ArmError(spec.name, f"class: {spec.class_path!r} cannot be imported ({one_line(error)})") from None
    if not (isinstance(found, type) and issubclass(found, TaskRunner)):
        raise ArmError(spec.name, f"class: {spec.class_path!r} is not a subclass of prefect.task_runners.TaskRunner")
    return found


def split_address(address: str) -> SplitResult:
    """The parts of a cluster's address, which may be without a scheme: `HOST:PORT`."""
    return urlsplit(address if "://" in address else f"tcp://{address}")


def check_address(arm: str, key: str, address: str, timeout_s: float) -> None:
    """
    Raises:
        ArmError: nothing accepts a connection there within `timeout_s`.
    """
    parts = split_address(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise ArmError(arm, f"{key}: {address!r} is no address; it looks like tcp://HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise ArmError(
            arm, f"{key}: {address} does not answer within {timeout_s:g} s ({reason}); is it running?"
        ) from None
