"""A Python environment that has everything installed here but this project, as the workers of another team would."""

from __future__ import annotations

import sysconfig
import venv
from collections.abc import Iterable
from pathlib import Path


def bare_python(folder: Path, without: Iterable[str] = ()) -> Path:
    """Make a virtual environment in `folder`, and give its interpreter.

    What is installed is linked to, so that nothing is downloaded. Nothing of this project can be imported there: its
    packages are left out, and so are the `.pth` files through which an editable install puts its folder on the path.

    Args:
        without: more packages to leave out.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    left_out = {"runner_lab", "prefect_lean", *without}
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        # A distribution's folder is its name, or that and its version.
        name = entry.name.partition("-")[0]
        if name not in left_out and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"
