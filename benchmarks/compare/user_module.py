"""The user's file as a module, imported as at home: from its package's root, or from its own folder as a script.

Its folders are put on the path of this process and, by PYTHONPATH, of every process that is started afterwards: what a
worker gets by reference it can import.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_MOST_FOLDERS = 8
"""Folders that the imports of one file may put on the path."""


class FlowError(ValueError):
    """A flow that cannot be compared as it was named; the message is one line that says what to do."""


def load(path: Path, scratch: Path) -> ModuleType:
    """Import `path`, an absolute one.

    Args:
        scratch: folder for a stand-in of a module whose name is taken.

    Raises:
        FlowError: it cannot be imported, or would start a flow when it is.
    """
    _refuse_what_runs(path)
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    _put_on_path(root)
    name = _unshadowed(name, path, scratch)
    for _ in range(_MOST_FOLDERS):
        try:
            with _no_flow_begins():
                return importlib.import_module(name)
        except ModuleNotFoundError as error:
            # A script that lies in a package, or one that is started from the folder above.
            folder = _folder_of(error.name or "", path)
            if folder is None or str(folder) in sys.path:
                raise FlowError(_reason(path, error)) from error
            _put_on_path(folder)
        except (Exception, SystemExit, _FlowBegins) as error:
            raise FlowError(_reason(path, error)) from error
    raise FlowError(f"{path.name} cannot be imported: its modules lie in too many folders")


class _FlowBegins(BaseException):
    """No exception that the file itself would catch."""


@contextmanager
def _no_flow_begins() -> Iterator[None]:
    """Let no flow be run, served or deployed meanwhile, however it is called.

    Raises:
        _FlowBegins: by what would begin one.
    """
    from prefect import Flow

    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise _FlowBegins

    before = {name: getattr(Flow, name) for name in ("__call__", "serve", "deploy")}
    for name in before:
        setattr(Flow, name, refuse)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(Flow, name, function)


def _unshadowed(name: str, path: Path, scratch: Path) -> str:
    """The name to import by: `name`, unless this process has another module of that name, such as an installed one."""
    taken = sys.modules.get(name)
    if "." in name or ((taken is None or getattr(taken, "__file__", None) == str(path)) and name.isidentifier()):
        return name
    stand_in = f"user_{''.join(c if c.isalnum() else '_' for c in name)}"
    folder = scratch / "modules"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stand_in}.py").write_text(
        f"__file__ = {str(path)!r}\nexec(compile(open(__file__, 'rb').read(), __file__, 'exec'))\n"
    )
    _put_on_path(folder)
    return stand_in


def _put_on_path(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    earlier = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([earlier] if earlier else [])])
    importlib.invalidate_caches()


def _folder_of(module: str, path: Path) -> Path | None:
    """Where a module lies that the file imports: beside it, or above it as far as the working folder."""
    top = module.partition(".")[0]
    here = Path.cwd()
    above = [folder for folder in path.parents if folder == here or here in folder.parents]
    for folder in dict.fromkeys([path.parent, *above]):
        if top and ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
            return folder
    return None


def _reason(path: Path, error: BaseException) -> str:
    """One line, with the line of the user's file that failed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f"{path.name}:{lines[-1]}" if lines else path.name
    if isinstance(error, _FlowBegins):
        # The outermost line is the one that runs at the import.
        return _starts_at_import(path, lines[0] if lines else None)
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or path).name}:{error.lineno} is not Python: {error.msg}"
    if isinstance(error, SystemExit):
        return f"{where} ends the program when the file is imported: put it under if __name__ == '__main__':"
    why = f"{where} cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"
    if type(error).__name__ == "ConnectError":
        # The lab's server is started later.
        return f"{why} (where it asks Prefect for a block or a variable: do that in the flow or in a task)"
    return what_to_do(why)


_NOT_ON_THE_SERVER = ("Unable to find block document", "must be created before acquiring slots")
"""What Prefect says of a block or a limit that its server has not."""


def what_to_do(line: str) -> str:
    """Why a flow failed, with what to do where it needs what only the user's own server has."""
    missing = any(text in line for text in _NOT_ON_THE_SERVER)
    return f"{line} (it is not on this server: --api-url URL names one that has it)" if missing else line


def _starts_at_import(path: Path, line: int | None) -> str:
    where = path.name if line is None else f"{path.name}:{line}"
    return f"{where} starts a flow when the file is imported: put it under if __name__ == '__main__':"


def _refuse_what_runs(path: Path) -> None:
    """
    Raises:
        FlowError: a line of the file that is not in a function calls, serves or deploys one of its flows.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise FlowError(_reason(path, error)) from None
    flows = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_is_flow, node.decorator_list))
    }
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or _is_main_guard(statement):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and _starts(node.func, flows):
                raise FlowError(_starts_at_import(path, node.lineno))


def _is_flow(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) == "flow"


def _is_main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test)
    )


def _starts(called: ast.expr, flows: set[str]) -> bool:
    if isinstance(called, ast.Attribute) and called.attr in ("serve", "deploy"):
        called = called.value
    return isinstance(called, ast.Name) and called.id in flows
