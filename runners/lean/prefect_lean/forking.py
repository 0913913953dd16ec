"""Processes that begin with Prefect imported: forked from one that has imported it and does nothing else.

As `multiprocessing`'s fork server, which is one for all that use it, in the environment that it began with and with the
modules that somebody has named. This one is the pool's own. It has one thread of Python's, no open files and no
connections, so that nothing is lost by a fork. It ends with the processes that have been forked from it and the one
that began it, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import multiprocessing.context
import os
import pickle
import socket
import sys
import threading
from collections.abc import Mapping
from multiprocessing import reduction, spawn, util
from multiprocessing.context import SpawnContext, set_spawning_popen
from multiprocessing.process import BaseProcess
from typing import Any

# Elsewhere a fork is not to be had, or not safe. What is repeated here of `multiprocessing` is that of these versions.
AVAILABLE = sys.platform == "linux" and sys.version_info < (3, 14)

_PRELOADED = "prefect_lean.preloaded"

_MAIN = """
import os, pickle, sys
with open({data}, "rb") as file:
    environment, sys.path[:] = pickle.load(file)
os.environ.clear()
os.environ.update(environment)
from multiprocessing.forkserver import main
main({listener}, {alive}, [{preloaded!r}])
"""


def imports_as(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment the import of Prefect depends on: its settings, and where their files are."""
    return {name: value for name, value in environment.items() if name.startswith(("PREFECT_", "HOME", "XDG_"))}


_lock = threading.Lock()
_server: _Server | None = None

if AVAILABLE:
    from multiprocessing import connection, forkserver, popen_forkserver, resource_tracker

    class _Server(forkserver.ForkServer):
        """A fork server with Prefect in it, in the environment that it is given."""

        _forkserver_pid: Any
        _forkserver_address: Any
        _forkserver_alive_fd: Any

        def __init__(self, environment: Mapping[str, str]) -> None:
            super().__init__()
            self.imports = imports_as(environment)
            self._environment = dict(environment)

        def ensure_running(self) -> None:
            with self._lock:  # type: ignore[attr-defined]
                resource_tracker.ensure_running()
                if self._forkserver_pid is not None:
                    if not os.waitpid(self._forkserver_pid, os.WNOHANG)[0]:
                        return
                    os.close(self._forkserver_alive_fd)
                    self._forkserver_pid = None
                self._begin()

        def _begin(self) -> None:
            data = pickle.dumps((self._environment, spawn.get_preparation_data("ignore")["sys_path"]))
            with socket.socket(socket.AF_UNIX) as listener:
                address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
                listener.bind(address)
                if not util.is_abstract_socket_namespace(address):
                    os.chmod(address, 0o600)
                listener.listen()
                alive_r, alive_w = os.pipe()
                data_r, data_w = os.pipe()
                try:
                    command = _MAIN.format(data=data_r, listener=listener.fileno(), alive=alive_r, preloaded=_PRELOADED)
                    executable: Any = spawn.get_executable()
                    arguments = [executable, *util._args_from_interpreter_flags(), "-c", command]  # type: ignore[attr-defined]
                    pid = util.spawnv_passfds(executable, arguments, [listener.fileno(), alive_r, data_r])
                except BaseException:
                    os.close(alive_w)
                    os.close(data_w)
                    raise
                finally:
                    os.close(alive_r)
                    os.close(data_r)
                self._forkserver_address, self._forkserver_alive_fd, self._forkserver_pid = address, alive_w, pid
            # More than the pipe holds waits until it is read.
            threading.Thread(target=_write, args=(data_w, data), name="LeanForkServerData", daemon=True).start()

        def retire(self) -> None:
            """Have it end as soon as the processes that were forked from it have ended."""
            with self._lock:  # type: ignore[attr-defined]
                pid, self._forkserver_pid = self._forkserver_pid, None
                if pid is not None:
                    os.close(self._forkserver_alive_fd)
                    # Else it would be left as a zombie.
                    threading.Thread(target=_reap, args=(pid,), name="LeanForkServerEnd", daemon=True).start()

    class _Popen(popen_forkserver.Popen):
        _fds: list[int]

        def __init__(self, process: BaseProcess, server: _Server) -> None:
            self._server = server
            super().__init__(process)

        def _launch(self, process: BaseProcess) -> None:
            preparation = spawn.get_preparation_data(process._name)  # type: ignore[attr-defined]
            buffer = io.BytesIO()
            set_spawning_popen(self)
            try:
                reduction.dump(preparation, buffer)
                reduction.dump(process, buffer)
            finally:
                set_spawning_popen(None)
            self.sentinel, write = self._server.connect_to_new_process(self._fds)
            # By which the process notices the end of this one.
            parent = os.dup(write)
            self.finalizer = util.Finalize(self, util.close_fds, (parent, self.sentinel))  # type: ignore[attr-defined]
            with open(write, "wb", closefd=True) as file:
                file.write(buffer.getbuffer())
            self.pid = forkserver.read_signed(self.sentinel)

    class ForkedProcess(multiprocessing.context.ForkServerProcess):
        """A process that is forked from the server of this one."""

        @staticmethod
        def _Popen(process: BaseProcess) -> Any:
            return _Popen(process, _running(None))

        def _bootstrap(self, parent_sentinel: int | None = None) -> int:
            try:
                return super()._bootstrap(parent_sentinel)  # type: ignore[misc]
            finally:
                # What is forked ends by `os._exit`, and would leave out what libraries and tasks want done at exit.
                atexit._run_exitfuncs()
                util._flush_std_streams()  # type: ignore[attr-defined]

    class ForkedContext(SpawnContext):
        """As `spawn`, with Prefect imported."""

        Process = ForkedProcess  # type: ignore[assignment]

    def _running(environment: Mapping[str, str] | None) -> _Server:
        global _server
        with _lock:
            if environment is not None and (_server is None or _server.imports != imports_as(environment)):
                if _server is not None:
                    _server.retire()
                _server = _Server(environment)
            if _server is None:
                raise RuntimeError("no fork server")
            _server.ensure_running()
            return _server


def retire() -> None:
    """End the server as soon as the processes that were forked from it have ended. The next pool begins another."""
    global _server
    with _lock:
        server, _server = _server, None
    if server is not None:
        server.retire()


def context(environment: Mapping[str, str]) -> Any:
    """How processes are started that import Prefect in this environment. Where they are forked, the import begins now.

    A server of an environment in which Prefect's settings were others is given up.
    """
    if not AVAILABLE:
        return multiprocessing.get_context("spawn")
    try:
        _running(environment)
    except OSError:
        return multiprocessing.get_context("spawn")
    return ForkedContext()


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _write(descriptor: int, data: bytes) -> None:
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except BrokenPipeError:
        # It has been ended meanwhile.
        return
