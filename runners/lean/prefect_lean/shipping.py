"""Bring `internals` and `worker` to workers that do not have this project.

The source of both travels with each call, or with the remote function. A worker imports them from it once, as a package
whose name holds the digest of the source: the package keeps what tasks share there (settings, clients), and two
versions of this project on one cluster do not meet. Functions shipped by value alone would bring globals of their own
with every call, and share nothing.
"""

from __future__ import annotations

import hashlib
import importlib
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
        import importlib
        import sys

        if name not in sys.modules:
            install(name, sources)
        # Threads of one worker may get here together: the import of a module is one thread's, the others wait for it.
        return importlib.import_module(f"{name}.worker").run(call, shared, upstream)

    install = _installer()
    return lean_task


@cache
def pickled_runner() -> bytes:
    """`runner`, for an engine that evaluates `pickle.loads` in the worker by itself."""
    return cloudpickle.dumps(runner())


@cache
def package() -> types.ModuleType:
    """The shipped package in this process. What is pickled as a reference into it is found in a worker too."""
    name, sources = _sources()
    _installer()(name, sources)
    importlib.import_module(f"{name}.worker")
    return importlib.import_module(name)


@cache
def _sources() -> tuple[str, bytes]:
    folder = Path(__file__).parent
    files = [folder / "worker.py", *sorted((folder / "internals").glob("*.py"))]
    modules = {"__init__.py": ""} | {file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in files}
    sources = zlib.compress(json.dumps(modules).encode(), 9)
    return f"_lean_worker_{hashlib.blake2b(sources, digest_size=8).hexdigest()}", sources


def _installer() -> Callable[[str, bytes], None]:
    def install(name: str, sources: bytes) -> None:
        """Make the package importable."""
        import importlib.abc
        import importlib.util
        import json
        import sys
        import zlib

        files: dict[str, str] = json.loads(zlib.decompress(sources))

        class Shipped(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
            def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
                if self.file(fullname) is None:
                    return None
                return importlib.util.spec_from_loader(fullname, self, is_package=self.is_package(fullname))

            def file(self, fullname: str) -> str | None:
                package, *parts = fullname.split(".")
                stem = "/".join(parts)
                candidates = (f"{stem}/__init__.py" if stem else "__init__.py", f"{stem}.py")
                return next((file for file in candidates if package == name and file in files), None)

            def is_package(self, fullname: str) -> bool:
                return (self.file(fullname) or "").endswith("__init__.py")

            # Tracebacks and `inspect` find the source by these two.
            def get_filename(self, fullname: str) -> str:
                return f"{name}/{self.file(fullname)}"

            def get_source(self, fullname: str) -> str:
                return files[self.file(fullname) or ""]

        sys.meta_path.append(Shipped())

    return install
