"""Direct calls in the flow's own thread: no task runner takes part. What a task costs before any runner's share."""

from runner_lab.runners.engine import ClusterSettings, Engine
from runner_lab.runners.spec import RunnerSpec


class Sequential(Engine):
    name = "none"
    title = "Direct calls"
    rank = 0
    concurrent = False
    caveat = "Direct calls run one after another in the flow's own process: nothing runs at the same time."
    palette = 0
    arms = (RunnerSpec("sequential", "none", workers=1, summary="tasks called directly, no runner"),)

    def slots_share_gil(self, spec: RunnerSpec, settings: ClusterSettings) -> bool | None:
        # A direct call has no slots, and a declared class of no known engine may run its tasks anywhere.
        return None


ENGINE = Sequential()
