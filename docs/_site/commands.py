"""Write docs/commands.md, the reference of all commands and options: uv run python docs/_site/commands.py

`tests/lab/test_site.py` says when it is not what the commands themselves say.
"""

from __future__ import annotations

import re
from pathlib import Path

from runner_lab.lab.program import app

PAGE = Path(__file__).parents[1] / "commands.md"
HEAD = """# Commands

Every command, with its options. `runner-lab COMMAND --help` says the same. `--debug` shows the traceback behind an
error. What is measured, and how to read it: [running](running.md).
"""


def text() -> str:
    """The page, from the commands' own help."""
    found = app.generate_docs(output_format="markdown", heading_level=1)
    # The head is this page's own, and the list by groups is contents enough.
    body = found[found.index("**Measure**") :]
    return f"{HEAD}\n{re.sub(r'[ ]+$', '', body, flags=re.MULTILINE).strip()}\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
