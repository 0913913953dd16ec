"""Direct calls in the flow's own thread: no task runner takes part. What a task costs before any runner's share."""

from runner_lab.runners.engine import Engine
from runner_lab.runners.spec import RunnerSpec


class Sequential(Engine):
    name = "none"
    arms = (RunnerSpec("sequential", "none", workers=1, summary="tasks called directly, no runner"),)


ENGINE = Sequential()
