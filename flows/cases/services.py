"""What real flows talk to: a service that answers by HTTP, and a database. Each runs while it is needed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import companion, inputs

_POSTGRES = "/usr/lib/postgresql/*/bin/initdb"
_CONNECTIONS = 1000
"""A runner without a limit of slots opens as many at once as it has tasks."""


@contextmanager
def order_service(slowest_ms: int) -> Iterator[str]:
    """A service that answers `/orders/NUMBER` after 50 to `slowest_ms` milliseconds, on a port of its own.

    Yields:
        Its address.
    """
    folder = Path(tempfile.mkdtemp(prefix="orders-"))
    port = folder / "port"
    program = Path(__file__).with_name("slow_server.py")
    with companion.beside([sys.executable, program, folder, str(slowest_ms)], folder, port.exists):
        yield f"http://127.0.0.1:{port.read_text()}"


@contextmanager
def database() -> Iterator[str]:
    """A new PostgreSQL of the flow's own where there is one, else an SQLite file.

    Yields:
        Its address for SQLAlchemy.
    """
    initdb = _initdb()
    if initdb is None:
        with tempfile.TemporaryDirectory(prefix="sqlite-") as home:
            yield f"sqlite:///{home}/orders.db?timeout=120"
        return
    empty = inputs.prepared(f"postgres-{_version(initdb)}", lambda new: _initialise(initdb, new))
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    shutil.copytree(empty / "data", folder / "data", copy_function=shutil.copy)
    user = _nobody()
    if user is not None:
        _give([folder, *folder.rglob("*")], user)
    (folder / "data").chmod(0o700)
    # By a socket in its folder: no port that somebody else may take.
    command: list[str | Path] = [
        initdb.with_name("postgres"),
        "-D",
        folder / "data",
        "-k",
        folder,
        "-c",
        "listen_addresses=",
    ]
    command += ["-c", f"max_connections={_CONNECTIONS}"]
    asked: list[str | Path] = [initdb.with_name("pg_isready"), "-q", "-h", folder]
    with companion.beside(command, folder, lambda: not subprocess.run(asked).returncode, user):
        yield f"postgresql+psycopg://lab@/postgres?host={folder}"


def _initdb() -> Path | None:
    """Of the newest PostgreSQL of this machine; what is on the PATH comes first."""
    on_path = shutil.which("initdb")
    installed = sorted(
        Path("/").glob(_POSTGRES[1:]), key=lambda path: [int(part) for part in path.parents[1].name.split(".")]
    )
    return Path(on_path).resolve() if on_path else installed[-1] if installed else None


def _version(initdb: Path) -> str:
    """`15.8`, say: the data of one major release are no other's."""
    told = subprocess.run([initdb, "--version"], capture_output=True, text=True, check=True).stdout
    return told.split()[2]


def _initialise(initdb: Path, new: Path) -> None:
    """Make an empty database once: its copies are quicker."""
    with tempfile.TemporaryDirectory(prefix="initdb-") as folder:
        user, data = _nobody(), Path(folder) / "data"
        if user is not None:
            _give([Path(folder)], user)
        command: list[str | Path] = [initdb, "-D", data, "-U", "lab", "-A", "trust", "-E", "UTF8", "--locale", "C"]
        groups: list[int] | None = None if user is None else []
        made = subprocess.run(
            [*command, "--no-sync"],
            capture_output=True,
            text=True,
            cwd=folder,
            user=user,
            group=user,
            extra_groups=groups,
        )
        if made.returncode:
            raise RuntimeError(f"{initdb} failed: {' '.join(made.stderr.split())}")
        shutil.copytree(data, new / "data", copy_function=shutil.copy)


def _nobody() -> int | None:
    """Who runs PostgreSQL, which refuses to be run by root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _give(paths: list[Path], user: int) -> None:
    for path in paths:
        os.chown(path, user, user)
