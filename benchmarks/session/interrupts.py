"""A Ctrl-C that does not get lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupts:
    """Remembers that Ctrl-C was pressed, for as long as it is entered.

    Python raises KeyboardInterrupt wherever the main thread happens to be. In the callback of a weak reference, or in
    a `__del__`, it is printed and forgotten, and Dask and Ray have many of both: the run would go on for an hour.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._before: object = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]

    def raise_lost(self) -> None:
        """
        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, and what it raised has not ended the run.
        """
        if self._pressed:
            raise KeyboardInterrupt

    def _press(self, signum: int, frame: FrameType | None) -> None:
        self._pressed = True
        signal.default_int_handler(signum, frame)
