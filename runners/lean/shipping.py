"""Bring `internals` and `worker` to workers that do not have this project.

The source of both modules travels with each call, or with the remote function. A worker makes them once, as a package
whose name holds the digest of the source: the package keeps what tasks share there (settings, clients), and two
versions of this project on one cluster do not meet. Functions shipped by value alone would bring globals of their own
with every call, and share nothing.
"""

from __future__ import annotations

import hashlib
import json
import types
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cloudpickle


@cache
def runner() -> Callable[..., Any]:
    """`(call, shared, *upstream) -> State`: `worker.run`, in any process that has Prefect."""
    name, sources = _sources()

    # Nested and free of module globals: every flavour of cloudpickle takes it by value, and little with it.
    def lean_task(call: bytes, shared: bytes, *upstream: Any) -> Any:
        import sys

        package = sys.modules.get(name)
        if package is None or not hasattr(package, "worker"):
            package = install(name, sources)
        return package.worker.run(call, shared, upstream)

    install = _installer()
    return lean_task


@cache
def pickled_runner() -> bytes:
    """`runner`, for an engine that evaluates `pickle.loads` in the worker by itself."""
    return cloudpickle.dumps(runner())


@cache
def package() -> types.ModuleType:
    """The shipped package in this process. What is pickled as a reference into it is found in a worker too."""
    return _installer()(*_sources())


@cache
def _sources() -> tuple[str, bytes]:
    folder = Path(__file__).parent
    modules = {name: (folder / f"{name}.py").read_text("utf-8") for name in ("internals", "worker")}
    sources = zlib.compress(json.dumps(modules).encode(), 9)
    return f"_lean_worker_{hashlib.blake2b(sources, digest_size=8).hexdigest()}", sources


def _installer() -> Callable[[str, bytes], types.ModuleType]:
    def install(name: str, sources: bytes) -> Any:
        import json
        import linecache
        import sys
        import threading
        import types
        import zlib

        fresh: Any = types.ModuleType(name)
        fresh.__path__ = []
        fresh.lock = threading.RLock()
        # Threads of one worker may get here together: one of them wins, the others wait for it.
        package: Any = sys.modules.setdefault(name, fresh)
        with package.lock:
            if not hasattr(package, "worker"):
                for part, source in json.loads(zlib.decompress(sources)).items():
                    module = types.ModuleType(f"{name}.{part}")
                    module.__file__ = f"<{name}/{part}.py>"
                    linecache.cache[module.__file__] = (len(source), None, source.splitlines(True), module.__file__)
                    sys.modules[module.__name__] = module
                    try:
                        exec(compile(source, module.__file__, "exec"), module.__dict__)
                    except BaseException:
                        del sys.modules[module.__name__]
                        raise
                    setattr(package, part, module)
        return package

    return install
