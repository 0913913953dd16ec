"""The command line: `runner-lab`. Each command is one call into a package."""

from runner_lab.lab.program import main

__all__ = ["main"]
