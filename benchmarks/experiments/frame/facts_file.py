"""Facts that a process has seen, in a file that another one reads, whole at any moment."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner_lab.records import json_file


class FactsFile:
    """What has been noted so far is in the file, also after the process was killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts: dict[str, Any] = {}
        self._lock = threading.Lock()

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add facts, from any thread; a later one of a name replaces the earlier. What is no JSON is kept as text."""
        with self._lock:
            self._facts.update(facts)
            text = json.dumps(self._facts, default=str)
            json_file.write(self.path, json.loads(text, parse_constant=str))


def read(path: Path) -> dict[str, Any]:
    """The facts so far; none where nothing was noted yet."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
