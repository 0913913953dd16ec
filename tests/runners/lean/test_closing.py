"""How the runners end: without a cluster, what they lean on is faked."""

from __future__ import annotations

import threading
from uuid import uuid4


def test_threads_that_end_while_they_are_cancelled():
    """A task that is over takes its cancel event out, also while upstream sets them one by one."""
    from runners.lean import LeanThreadPoolTaskRunner

    class Ends(threading.Event):
        def set(self) -> None:
            super().set()
            runner._forget(other, None, None)

    first, other = uuid4(), uuid4()
    with LeanThreadPoolTaskRunner(max_workers=1) as runner:
        runner._cancel_events.update({first: Ends(), other: threading.Event()})
        runner.cancel_all()
        assert runner._executor is None
