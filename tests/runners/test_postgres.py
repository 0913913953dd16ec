"""The lab's server on PostgreSQL, where it is installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from runner_lab.benchmarks.measuring import serving
from runner_lab.runners import counted, server
from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation.waiting import wait_for
from tests.suite import LIMIT_S

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not INSTALLED, reason="PostgreSQL is not installed here")]


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of the test's own on loopback. It refuses to run as root: then `nobody` runs it."""
    folder, bin_folder, port = Path(tempfile.mkdtemp(prefix="pg-")), INSTALLED[-1].parent, isolation.free_port()
    user = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    (password := folder / "password").write_text("s3cret")
    password.chmod(0o644)
    subprocess.run(
        [bin_folder / "initdb", "-D", folder / "data", "-U", "lab", "-A", "scram-sha-256", "--pwfile", password],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **user,
    )
    process = subprocess.Popen(
        [bin_folder / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        **user,
    )
    try:
        ready = [bin_folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_for("Postgres", lambda: not subprocess.run(ready).returncode or process.poll() is not None, LIMIT_S)
        assert process.poll() is None
        yield f"postgresql+asyncpg://lab:s3cret@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute(statement)
    await connection.close()


def test_the_labs_server_runs_on_postgres_and_ends(postgres_url, tmp_path):
    with server.lab_server(tmp_path, postgres_url, counted=True) as started:
        with urllib.request.urlopen(f"{started.api_url}/flows/count", data=b"{}") as answer:
            assert answer.read() == b"0"
        asked = counted.counts(started.api_url)
        assert asked is not None
        assert asked["requests"]["flows"] == 1

        # An error that a client may retry: counted, and in the log, where it is found.
        before = serving.complaints(started.log.read_bytes())
        asyncio.run(_execute(postgres_url, "ALTER TABLE flow RENAME TO gone"))
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{started.api_url}/flows/count", data=b"{}")
        assert counted.counts(started.api_url)["failed"] == 1
        assert serving.complaints(started.log.read_bytes())["errors"] > before["errors"]
        assert b"Encountered retryable exception in request" in started.log.read_bytes()
        process = psutil.Process(started.pid)
        assert started.database == "postgresql"
        assert list(tmp_path.glob("*.db")) == []

    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
