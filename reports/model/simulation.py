"""A flow's profile, replayed under another runner: a discrete-event simulation over the cost model.

The flow's own code goes on step by step, as it was profiled; what it hands to the runner takes the runner's terms
(`costs.Costs`) and a slot. All that computes at the same time shares the cores, and in one process the GIL: between two
events every activity goes on at its own constant rate, so that

    sum of n r u <= cores,    sum of n r g <= 1    with    r = 1 / (1 - c + (c - g) a + g b)

over groups of n like activities. Alone, each computes for a share c of its time, on u cores, and holds the GIL for a
share g; a and b >= 1 say how much slower computing and holding the GIL are. That is processor sharing with two
resources, and the limits are those of operational analysis (Denning and Buzen, 1978).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from runner_lab.records.flow_profile import FlowProfile, Step, TaskProfile
from runner_lab.reports.model.costs import STIRRED_S, Costs


@dataclass(frozen=True)
class Handling:
    """What a runner does to a task, in the terms of the cost model.

    driver_s:   the flow's thread handing it over, `driver_cpu_s` of it computing under the GIL of its process.
    slot_s:     its slot beyond its body, `slot_cpu_s` of it computing.
    server_cpu_s: Prefect's server, which does it when it can.
    payload_s:  seconds for each byte that is handed on, in the flow's thread.
    through_flow: a result comes to the flow's process, and goes out again to each task that takes it; else it goes from
        worker to worker.
    in_process: bodies run in the flow's process, under its GIL.
    event_loop: bodies run in the flow's own thread, whatever they do there.
    lends:      a task that waits for one that it has handed on gives its slot to others.
    own_pools:  what a task hands on runs in a pool of its own, whose start takes `pool_s`.
    direct_s:   a task that is called and not handed over, beyond its body.
    """

    driver_s: float
    driver_cpu_s: float
    slot_s: float
    slot_cpu_s: float
    server_cpu_s: float
    payload_s: float
    in_process: bool
    through_flow: bool = True
    event_loop: bool = False
    lends: bool = False
    own_pools: bool = False
    pool_s: float = 0.0
    direct_s: float = 0.0

    @classmethod
    def of(
        cls,
        costs: Costs,
        direct: Costs | None,
        lends: bool,
        stirring: float = 1.0,
        through_flow: bool = True,
        own_pools: bool = False,
    ) -> Handling:
        """Of a user's tasks.

        Args:
            direct: terms of direct calls, where the run has them.
            stirring: the share of the tasks whose bodies take a while.
            own_pools: a task that submits tasks starts a pool for them.
        """
        more = float(costs.prefect_factor(stirring, STIRRED_S))
        driver_s, slot_s, cpu_s = (more * each for each in (costs.driver_s, costs.slot_s, costs.cpu_s))
        driver_cpu_s = min(driver_s, cpu_s)
        # The lab's tasks make what they hand on, as many at a time as compute; direct calls do nothing else with it.
        made_s = (direct.payload_s or 0.0) / (1 if costs.shares_gil else costs.measured_slots) if direct else 0.0
        return cls(
            driver_s=driver_s,
            driver_cpu_s=driver_cpu_s,
            slot_s=slot_s,
            slot_cpu_s=min(max(cpu_s - driver_cpu_s, 0.0), slot_s),
            server_cpu_s=costs.server_cpu_s,
            payload_s=max((costs.payload_s or 0.0) - made_s, 0.0),
            in_process=costs.shares_gil or costs.event_loop,
            through_flow=through_flow,
            event_loop=costs.event_loop,
            lends=lends,
            own_pools=own_pools,
            pool_s=costs.fixed_s if own_pools else 0.0,
            direct_s=float(direct.prefect_factor(stirring, STIRRED_S)) * (direct.driver_s + direct.slot_s)
            if direct
            else 0.0,
        )


@dataclass(frozen=True)
class Bar:
    """A task run, by its place in the profile; seconds from the start of the flow's function.

    lane: its slot; None: the flow's own thread.
    """

    run: int
    lane: int | None
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Replay:
    """
    seconds: of the flow's function; infinite where its tasks wait for each other for ever.
    bars:    the task runs that have a body.
    path:    what the end waited for, and so on back to the beginning: places of task runs, None for own code, and the
        seconds that each contributes, in their order.
    """

    seconds: float
    bars: tuple[Bar, ...]
    path: tuple[tuple[int | None, float], ...]


def replay(profile: FlowProfile, handling: Handling, slots: int, cores: int) -> Replay:
    """The profiled flow with its tasks under a runner of `slots` slots, on a machine of `cores` cores."""
    return _Replay(profile, handling, slots, cores).run()


_Key = tuple[float, float, float]
"""Of a group of activities: shares of its time alone that it computes and holds the flow's GIL, and cores it uses."""
_SERVER: _Key = (1.0, 0.0, 1.0)
"""Prefect's server at work: one core."""
_BISECTIONS = 30
_SLOWEST = 1e4


@dataclass
class _Pool:
    """Slots that are free, and runs that wait for one."""

    free: list[int]
    ready: deque[int] = field(default_factory=deque)


@dataclass
class _Script:
    """A thread of control: the flow's function, or a task that hands on tasks.

    end:    what is done when it has no steps left.
    nested: it runs in a slot's process, and not in the flow's own thread.
    slot:   that it holds; None where it holds none.
    last:   the run that it has waited for last.
    owed:   how many runs it waits for.
    pool:   where what it hands on runs; None until it has one.
    """

    steps: deque[Step]
    end: Callable[[], None]
    nested: bool = False
    slot: int | None = None
    last: int | None = None
    owed: int = 0
    pool: _Pool | None = None


@dataclass
class _Group:
    """Activities of one kind: how far each has come since the beginning, and at which progress those that go on end."""

    progress: float = 0.0
    ends: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)


class _Replay:
    def __init__(self, profile: FlowProfile, handling: Handling, slots: int, cores: int) -> None:
        self._runs = profile.runs
        self._handling = handling
        self._cores = cores
        self._keys = _keys(profile, handling)
        self._handed_bytes = handed_bytes(profile, handling)
        self._now = 0.0
        self._groups: dict[_Key, _Group] = {}
        self._rates: dict[tuple[object, ...], Mapping[_Key, float]] = {}
        self._count = itertools.count()
        self._behind_s = 0.0
        self._submitted: set[int] = set()
        self._started_s: dict[int, float] = {}
        self._done_s: dict[int, float] = {}
        self._before: dict[int, int | None] = {}
        self._missing: dict[int, int] = {}
        self._followers: dict[int, list[int]] = {}
        self._waiting: dict[int, list[_Script]] = {}
        self._slots = slots
        self._pool = _Pool(list(range(slots)))
        self._pools: dict[int, _Pool] = {}
        """In which a run has its slot."""
        self._loop: list[int] = []
        """Lanes in which no awaited task is drawn."""
        self._more = itertools.count(slots)
        self._bars: list[Bar] = []
        self._end_s: float | None = None
        self._main = _Script(deque(profile.steps), self._ended, pool=self._pool)

    def run(self) -> Replay:
        self._go_on(self._main)
        while (event := self._next()) is not None:
            event()
        if self._end_s is None or any(run not in self._done_s for run in self._submitted):
            return Replay(math.inf, (), ())
        seconds, last = self._end_s, self._main.last
        latest = max(self._done_s, key=self._done_s.__getitem__, default=None)
        # The runner is left when its last task is done, whether anybody waited for it or not.
        if latest is not None and self._done_s[latest] > seconds:
            seconds, last = self._done_s[latest], latest
        return Replay(seconds, tuple(self._bars), self._path(seconds, last))

    def _ended(self) -> None:
        self._end_s = self._now

    # What goes on at the same time.

    def _next(self) -> Callable[[], None] | None:
        """Let time pass to the next end of an activity, and give what is to be done then; None when nothing goes on."""
        active = tuple((key, len(group.ends)) for key, group in self._groups.items() if group.ends)
        if not active:
            return None
        serving = self._behind_s > 0
        state = (serving, active)
        rates = self._rates.get(state)
        if rates is None:
            rates = self._rates[state] = _rates([*active, (_SERVER, 1)] if serving else active, self._cores)
        after_s, first = math.inf, active[0][0]
        for key, _ in active:
            group = self._groups[key]
            to_end_s = (group.ends[0][0] - group.progress) / rates[key]
            if to_end_s < after_s:
                after_s, first = to_end_s, key
        served = serving and self._behind_s < after_s * rates[_SERVER]
        after_s = max(self._behind_s / rates[_SERVER] if served else after_s, 0.0)
        self._now += after_s
        for key, _ in active:
            self._groups[key].progress += after_s * rates[key]
        if serving:
            self._behind_s = 0.0 if served else self._behind_s - after_s * rates[_SERVER]
        return _nothing if served else heapq.heappop(self._groups[first].ends)[2]

    def _begin(self, key: _Key, alone_s: float, end: Callable[[], None]) -> None:
        """Start an activity that would take `alone_s` alone."""
        group = self._groups.setdefault(key, _Group())
        heapq.heappush(group.ends, (group.progress + alone_s, next(self._count), end))

    # What the flow's function and its tasks do.

    def _go_on(self, script: _Script) -> None:
        while script.steps:
            step = script.steps.popleft()
            if step.kind == "wait":
                if not self._has(script, step.runs):
                    return
            elif step.kind == "own":
                alone_s = step.wait_s + step.cpu_s
                self._begin(self._own_key(script, step.cpu_s, alone_s), alone_s, lambda: self._go_on(script))
                return
            elif step.kind == "submit":
                self._hand_over(script, step.runs[0])
                return
            elif step.kind == "threads":
                self._run_beside(script, step.threads)
                return
            else:
                self._call(script, step.runs[0])
                return
        script.end()

    def _own_key(self, script: _Script, cpu_s: float, alone_s: float) -> _Key:
        share = _share(cpu_s, alone_s)
        return share, 0.0 if script.nested and not self._handling.in_process else share, 1.0

    def _run_beside(self, script: _Script, threads: Sequence[Sequence[Step]]) -> None:
        """Threads of the flow's own, until the last of them ends."""
        owed = len(threads)

        def begin(steps: Sequence[Step]) -> None:
            inner = _Script(deque(steps), lambda: over(), script.nested, last=script.last, pool=script.pool)

            def over() -> None:
                nonlocal owed
                owed -= 1
                if not owed:
                    script.last = inner.last
                    self._go_on(script)

            self._go_on(inner)

        for steps in threads:
            begin(steps)

    def _pool_of(self, script: _Script) -> _Pool:
        if script.pool is None:
            own = script.nested and self._handling.own_pools
            script.pool = _Pool([next(self._more) for _ in range(self._slots)]) if own else self._pool
        return script.pool

    def _hand_over(self, script: _Script, run: int) -> None:
        task, handling = self._runs[run], self._handling
        awaited = task.direct and not handling.event_loop
        starts_pool = script.pool is None and script.nested and handling.own_pools and not awaited
        if awaited:
            # In the caller's loop: no runner takes part.
            alone_s = cpu_s = handling.direct_s
        else:
            alone_s, cpu_s = handling.driver_s + handling.payload_s * self._handed_bytes[run], handling.driver_cpu_s
            self._pools[run] = self._pool_of(script)
        alone_s += handling.pool_s if starts_pool else 0.0

        def handed() -> None:
            self._submitted.add(run)
            self._before[run] = script.last
            upstream = [i for i in task.upstream if i in self._submitted and i not in self._done_s]
            self._missing[run] = len(upstream)
            for i in upstream:
                self._followers.setdefault(i, []).append(run)
            if not upstream:
                self._enqueue(run)
            self._go_on(script)

        self._begin(self._own_key(script, cpu_s, alone_s), alone_s, handed)

    def _call(self, script: _Script, run: int) -> None:
        """In the caller's own thread."""
        task = self._runs[run]
        self._started_s[run], self._before[run] = self._now, script.last

        def done() -> None:
            self._done_s[run] = self._now
            if task.attempts:
                self._bars.append(Bar(run, script.slot, self._started_s[run], self._now))
            script.last = run
            self._go_on(script)

        if task.steps:
            inner = _Script(deque(task.steps), done, script.nested, last=script.last, pool=script.pool)
            self._begin((0.0, 0.0, 1.0), self._handling.direct_s, lambda: self._go_on(inner))
            return
        share, gil, width = self._keys[task.task]
        in_flow = not script.nested or self._handling.in_process
        self._begin((share, gil if in_flow else 0.0, width), task.alone_s + self._handling.direct_s, done)

    def _has(self, script: _Script, runs: Sequence[int]) -> bool:
        """Whether the script need not wait; else it goes on when the last of the runs is done."""
        owed = [run for run in runs if run in self._submitted and run not in self._done_s]
        for run in owed:
            self._waiting.setdefault(run, []).append(script)
        script.owed = len(owed)
        if owed and script.slot is not None and self._handling.lends:
            slot, script.slot = script.slot, None
            self._release(self._pool, slot, None)
        return not owed

    def _enqueue(self, run: int) -> None:
        if not self._runs[run].attempts:
            # A cached result, or a task that never began: what the runner does for it, and no body.
            self._started_s[run] = self._now
            self._begin((0.0, 0.0, 1.0), self._handling.slot_s, lambda: self._done(run))
            return
        if self._runs[run].direct and not self._handling.event_loop:
            self._start_awaited(run)
            return
        pool = self._pools[run]
        pool.ready.append(run)
        self._fill(pool)

    def _fill(self, pool: _Pool) -> None:
        while pool.ready and (pool.free or self._handling.event_loop):
            self._start(pool, pool.ready.popleft(), heapq.heappop(pool.free) if pool.free else next(self._more))

    def _start_awaited(self, run: int) -> None:
        """In an event loop: all that wait do so at once, those that compute take turns in its thread."""
        task = self._runs[run]
        self._started_s[run] = self._now
        lane = heapq.heappop(self._loop) if self._loop else next(self._more)

        def over() -> None:
            self._bars.append(Bar(run, lane, self._started_s[run], self._now))
            heapq.heappush(self._loop, lane)
            self._done(run)

        if task.steps:
            self._go_on(_Script(deque(task.steps), over, pool=self._pool))
            return
        share = _share(task.cpu_s / task.width, task.alone_s)
        self._begin((share, share, 1.0), task.alone_s, over)

    def _start(self, pool: _Pool, run: int, slot: int) -> None:
        task, handling = self._runs[run], self._handling
        self._started_s[run] = self._now
        self._behind_s += handling.server_cpu_s
        script = _Script(deque(task.steps), lambda: over(), nested=True, slot=slot)

        def over() -> None:
            self._bars.append(Bar(run, slot, self._started_s[run], self._now))
            if script.slot is not None:
                self._release(pool, slot, run)
            self._done(run)

        if task.steps:
            self._begin((0.0, 0.0, 1.0), handling.slot_s, lambda: self._go_on(script))
        else:
            self._begin(self._keys[task.task], task.alone_s + handling.slot_s, over)

    def _release(self, pool: _Pool, slot: int, by: int | None) -> None:
        heapq.heappush(pool.free, slot)
        if pool.ready and by is not None:
            self._before[pool.ready[0]] = by
        self._fill(pool)

    def _done(self, run: int) -> None:
        self._done_s[run] = self._now
        for follower in self._followers.pop(run, ()):
            self._missing[follower] -= 1
            if not self._missing[follower]:
                self._before[follower] = run
                self._enqueue(follower)
        for script in self._waiting.pop(run, ()):
            script.owed -= 1
            if not script.owed:
                script.last = run
                self._go_on(script)

    def _path(self, seconds: float, last: int | None) -> tuple[tuple[int | None, float], ...]:
        """Back from the end by what each run was waited for; what is between them is own code and handing over."""
        path: list[tuple[int | None, float]] = []
        at_s, run = seconds, last
        while run is not None and at_s > 0:
            end_s, start_s = min(self._done_s[run], at_s), min(self._started_s[run], at_s)
            path += [(None, at_s - end_s)] if at_s > end_s else []
            path.append((run, end_s - start_s))
            at_s, run = start_s, self._before.get(run)
        return tuple([*path, (None, at_s)][::-1]) if at_s > 0 else tuple(path[::-1])


def handed_bytes(profile: FlowProfile, handling: Handling) -> tuple[float, ...]:
    """Of each run, what it is given and returns; a result that another run takes from its worker counts there."""
    taken = set() if handling.through_flow else {i for run in profile.runs for i in run.upstream}
    return tuple(
        (run.arg_bytes or 0.0) + (0.0 if i in taken else run.out_bytes or 0.0) for i, run in enumerate(profile.runs)
    )


def _nothing() -> None:
    """The server has caught up: nobody waits for that."""


def _share(part: float, whole: float) -> float:
    """Rounded, so that like activities make one group."""
    return round(min(part / whole, 1.0), 2) if whole > 0 else 0.0


def _keys(profile: FlowProfile, handling: Handling) -> dict[str, _Key]:
    """By task, what its runs compute and hold, in their slots: one figure for all runs of a task."""
    return {name: _key(runs, handling) for name, runs in profile.by_task().items()}


def _key(runs: Sequence[TaskProfile], handling: Handling) -> _Key:
    submitted = sum(not run.direct for run in runs)
    alone_s = sum(run.alone_s for run in runs) + submitted * handling.slot_s
    cpu_s = sum(run.cpu_s for run in runs)
    computing_s = sum(run.cpu_s / run.width for run in runs)
    share = _share(computing_s + submitted * handling.slot_cpu_s, alone_s)
    holding_s = computing_s if handling.event_loop else sum(run.gil_s for run in runs)
    holding = min(_share(holding_s, alone_s), share) if handling.in_process else 0.0
    return share, holding, round(max(cpu_s / computing_s, 1.0), 1) if computing_s > 0 else 1.0


def _rates(active: Sequence[tuple[_Key, int]], cores: int) -> Mapping[_Key, float]:
    """Progress a second of an activity of each group, at most 1."""

    def rate(key: _Key, slower: float, holding: float) -> float:
        share, gil, _ = key
        return 1.0 / (1.0 - share + (share - gil) * slower + gil * max(slower, holding))

    def used(slower: float, holding: float) -> float:
        return sum(n * rate(key, slower, holding) * key[0] * key[2] for key, n in active)

    def held(slower: float, holding: float) -> float:
        return sum(n * rate(key, slower, holding) * key[1] for key, n in active)

    slower = holding = 1.0
    for _ in range(3):
        slower = _least(lambda value: used(value, holding) <= cores, slower)  # noqa: B023
        holding = _least(lambda value: held(slower, value) <= 1.0, slower)  # noqa: B023
    return {key: rate(key, slower, holding) for key, _ in active}


def _least(enough: Callable[[float], bool], low: float) -> float:
    """The least factor from `low` on that is enough, by bisection of its logarithm."""
    if enough(low):
        return low
    high = _SLOWEST
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
