"""The command line: `runner-lab`. Each command is one call into a package."""

from runner_lab.lab.app import main

__all__ = ["main"]
