"""The command line: `runner-lab`. Each command is one call into a package."""

from lab.app import main

__all__ = ["main"]
