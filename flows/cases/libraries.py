"""What a real flow says where a library of its own is not installed."""

from __future__ import annotations


def not_installed(missing: ModuleNotFoundError, importer: str) -> BaseException:
    """The error to raise instead: one line that says what to install.

    Args:
        importer: `__name__` of the flow's module; as a program it ends with the line alone.
    """
    line = f"{missing.name} is not installed: pip install 'runner-lab[cases]'"
    return SystemExit(line) if importer == "__main__" else ModuleNotFoundError(line, name=missing.name)
