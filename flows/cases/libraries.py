"""What a real flow says where a library of its own is not installed."""

from __future__ import annotations

import sys


def not_installed(missing: ModuleNotFoundError, importer: str) -> BaseException:
    """The error to raise instead: one line that says what to install.

    Args:
        importer: `__name__` of the flow's module; as a program it prints the line, and ends with exit code 2.
    """
    line = f"{(missing.name or '').partition('.')[0]} is not installed: pip install 'runner-lab[cases]'"
    if importer != "__main__":
        return ModuleNotFoundError(line, name=missing.name)
    print(line, file=sys.stderr)
    return SystemExit(2)
