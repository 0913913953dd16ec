"""`Engine`: what executes tasks. One subclass, and its arms, in each file of this package."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from runner_lab.runners.spec import ArmError, EngineName, RunnerSpec

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


@dataclass(frozen=True)
class ClusterSettings:
    """Where an engine's cluster comes from: started here by default, or one that runs, or one of another class.

    address: of a running cluster.
    cluster_class: dotted path of a Dask cluster class, started with `cluster_kwargs`.
    timeout_s: how long a running cluster may take to answer.
    """

    address: str | None = None
    cluster_class: str | None = None
    cluster_kwargs: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 10.0


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

    name: EngineName = "none"
    arms: tuple[RunnerSpec, ...] = ()
    worker_option: str | None = None
    """The keyword of the runner's class that sets the number of worker slots."""
    shares_cluster = False
    """One cluster serves all arms of this engine for a block, and is warm when they are measured."""
    own_place: frozenset[str] = frozenset()
    """Options of the runner's class that say where it runs: an arm that has one is not on the shared cluster."""

    def check(self, spec: RunnerSpec, settings: ClusterSettings) -> None:
        """See that the arm can start here, without starting it.

        Raises:
            ArmError: it cannot; the message names the arm and the key.
        """
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

    def shares(self, spec: RunnerSpec) -> bool:
        """Whether the arm runs on the engine's shared cluster."""
        return self.shares_cluster and not self.own_place & spec.options.keys()

    def attached(self, spec: RunnerSpec, settings: ClusterSettings) -> str | None:
        """The address of the cluster that the arm runs on, where that one runs already."""
        return spec.options.get("address") or (settings.address if self.shares(spec) else None)

    def resizable(self, spec: RunnerSpec, settings: ClusterSettings) -> bool:
        """Whether the number of workers is the lab's to set: not of a cluster it attaches to, or of options given."""
        if self.shares_cluster:
            return self.shares(spec) and not settings.address and not settings.cluster_class
        return self.worker_option is not None and self.worker_option not in spec.options

    def where(self, spec: RunnerSpec, settings: ClusterSettings) -> str:
        """Where its tasks would run, in words."""
        return "this process"

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

    def task_runner(self, spec: RunnerSpec, cluster: Cluster | None, scratch: Path) -> TaskRunner[Any]:
        """The Prefect runner, on the shared cluster, or with None on one of its own that it starts and stops."""
        return load_runner_class(spec)(**self.options(spec, cluster, scratch))

    def options(self, spec: RunnerSpec, cluster: Cluster | None, scratch: Path = Path()) -> dict[str, Any]:
        """Keyword arguments for the runner's class: the user's own go before the lab's."""
        workers = {self.worker_option: spec.workers} if self.worker_option else {}
        return {**workers, **spec.options}

    @contextmanager
    def bare(self, spec: RunnerSpec, cluster: Cluster, limit_s: float) -> Iterator[BareSubmitter]:
        """The engine without Prefect; a result that takes longer than `limit_s` raises TimeoutError."""
        raise ArmError(spec.name, f"engine {self.name!r} has no bare form")
        yield


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
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArmError(spec.name, f"class: {spec.class_path!r} cannot be imported ({reason})") from None
    if not (isinstance(found, type) and issubclass(found, TaskRunner)):
        raise ArmError(spec.name, f"class: {spec.class_path!r} is not a subclass of prefect.task_runners.TaskRunner")
    return found


def check_address(arm: str, key: str, address: str, timeout_s: float) -> None:
    """
    Raises:
        ArmError: nothing accepts a connection there within `timeout_s`.
    """
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
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
