"""A network of hosts on this machine: Linux network namespaces, each with a hostname and an address of its own.

Nothing of it is outside: the switch that joins the hosts is in a namespace too, so no packet can leave the machine, and
no address can be in use already. A namespace has no name and is there for as long as a process is in it: so all of it
is gone when the processes that hold it are ended, also by `runners.isolation.guard` after a kill.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from runner_lab.runners.isolation.supervised import supervised

_SUBNET = "10.77.0"
_TOOLS = ("unshare", "nsenter", "ip", "hostname")
_MAKE_LIMIT_S = 30.0


class NetworkError(ValueError):
    """This machine makes no such network; one line."""


@dataclass(frozen=True)
class Host:
    """
    name: its hostname.
    address: on the network.
    pid: of the process that holds it.
    """

    name: str
    address: str
    pid: int

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs `arguments` on this host."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--uts=/proc/{self.pid}/ns/uts", "--", *arguments]


@dataclass(frozen=True)
class Network:
    """Hosts by name, all joined by one switch."""

    hosts: dict[str, Host]
    switch: Host

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Network:
        """As `dataclasses.asdict` gives it, in another process of this machine."""
        return cls({name: Host(**host) for name, host in data["hosts"].items()}, Host(**data["switch"]))

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """The host's link is down at the switch while this is entered: to the host it is a cable that was pulled."""
        _run(self.switch.command("ip", "link", "set", name, "down"))
        try:
            yield
        finally:
            _run(self.switch.command("ip", "link", "set", name, "up"))


def check() -> None:
    """
    Raises:
        NetworkError: network namespaces cannot be made here; the message says what is missing.
    """
    if platform.system() != "Linux":
        raise NetworkError(f"hosts are Linux network namespaces, and this is {platform.system()}")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise NetworkError(f"{missing[0]} is not installed: hosts need util-linux, iproute2 and hostname")
    if os.geteuid() != 0:
        raise NetworkError("network namespaces are made by root: run it as root, on Linux")
    made = subprocess.run(
        ["unshare", "--net", "--uts", "ip", "link", "add", "name", "one", "type", "veth"],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        reason = " ".join(made.stderr.split()) or "no reason given"
        raise NetworkError(f"network namespaces cannot be made here: {reason}")


@contextmanager
def network(names: Sequence[str]) -> Iterator[Network]:
    """Make a network with these hosts, and remove it; `check` says beforehand whether that can be.

    Raises:
        NetworkError: it cannot be made.
    """
    with ExitStack() as stack:
        switch = stack.enter_context(_held("switch", ""))
        _run(switch.command("ip", "link", "add", "name", "bridge", "type", "bridge"))
        _run(switch.command("ip", "link", "set", "bridge", "up"))
        hosts = {}
        for number, name in enumerate(names, start=1):
            host = hosts[name] = stack.enter_context(_held(name, f"{_SUBNET}.{number}"))
            link = ["ip", "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid)]
            _run(switch.command(*link))
            _run(switch.command("ip", "link", "set", name, "master", "bridge", "up"))
            _run(host.command("ip", "address", "add", f"{host.address}/24", "dev", "eth0"))
            for device in ("lo", "eth0"):
                _run(host.command("ip", "link", "set", device, "up"))
            # Dask and Ray look for the way out of their host, which leads nowhere here.
            _run(host.command("ip", "route", "add", "default", "via", f"{_SUBNET}.254", "dev", "eth0", "onlink"))
        yield Network(hosts, switch)


@contextmanager
def _held(name: str, address: str) -> Iterator[Host]:
    """A namespace with a hostname, held by a process that sleeps."""
    script = f"hostname {name} && exec sleep infinity"
    with supervised(["unshare", "--net", "--uts", "sh", "-c", script]) as holder:
        if not holder.reaches(lambda: _sleeps(holder.pid), _MAKE_LIMIT_S):
            raise NetworkError(f"the namespace of {name} cannot be made here")
        yield Host(name, address, holder.pid)


def _sleeps(pid: int) -> bool:
    try:
        return psutil.Process(pid).name() == "sleep"
    except psutil.Error:
        return False


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NetworkError(f"{' '.join(command[4:])}: {' '.join(done.stderr.split())}")
