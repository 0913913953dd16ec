"""The command `completion`: a script for the user's shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from cyclopts import App, Parameter

from runner_lab.lab.console import OUT


def completion_of(app: App) -> Callable[..., None]:
    """The command, for the commands and options of `app`."""

    def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="bash, zsh or fish.")]) -> None:
        """Print a shell completion script.

        Example: source <(runner-lab completion bash)
        """
        OUT.file.write(app.generate_completion(shell=shell))

    return completion
