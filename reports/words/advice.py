"""The warnings: what in this run should lower a reader's trust, and what to do about it."""

from __future__ import annotations

from statistics import median

from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.analysis.task_stages import ALLOWED
from runner_lab.reports.words import comparison, units

ENOUGH_BLOCKS = 5
BUSY = 0.10
"""Share of the machine's CPU that others may use in a cell before the cell counts as disturbed."""

QUIET = 0.15
"""How far the same runner, measured twice, differs on a quiet machine: relative, in the median of its cells."""
APART = 1.5
"""Times as much that a task of the control may cost as one of the baseline, or the other way round."""


def warnings(summary: Summary) -> tuple[str, ...]:
    """One line each, the most serious first; empty if there are none."""
    found = [
        *_partial(summary),
        *_failures(summary),
        *_control(summary),
        *_blocks(summary),
        *_busy(summary),
        *_uncompiled(summary),
        *_missing_task_runs(summary),
        *_mixed(summary),
        *comparison.remarks(summary),
        *_probe(summary),
        *_bent(summary),
        *summary.notes,
    ]
    return tuple(found)


def _partial(summary: Summary) -> list[str]:
    if summary.run.partial is None:
        return []
    return [
        f"PARTIAL run: {summary.run.partial}. This is a preview: resume it with {_option(summary, 'resume')} and this "
        "folder."
    ]


def _probe(summary: Summary) -> list[str]:
    probe = summary.task_stages.probe
    if probe is None or probe.low is None or probe.low <= 1 + ALLOWED:
        return []
    return [
        f"The probe of the task_stages suite added more than {units.percent(ALLOWED)} to a task "
        f"({probe.value:.3f} times as long with it on): read its stages as shares, not as times."
    ]


def _failures(summary: Summary) -> list[str]:
    lines = []
    for arm in summary.arms:
        cells = [cell for cell in summary.cells if cell.arm == arm.name]
        measured = sum(cell.ok + cell.failed for cell in cells)
        failed = sum(cell.failed for cell in cells)
        if failed and failed == measured:
            # For a flow the verdict says it, with the reason.
            lines += [] if summary.flow else [f"{arm.label} failed every time; the reasons are under Failures."]
        elif failed:
            lines.append(
                f"{arm.label} failed {failed} of {measured} measurements; the reasons are under Failures. Its figures "
                "are from the rest."
            )
    return lines


def _control(summary: Summary) -> list[str]:
    noise, run = summary.noise, summary.run
    if not any(cell.ok for cell in summary.cells):
        # Nothing went well, which is said already.
        return []
    if run.control is None:
        return ["No noise check in this run: its noise is taken as 10 %. Run with the arm control to measure it."]
    if noise.ratio is None:
        return [
            "The control shares no cell with the baseline, so the noise of this run is not known: it is taken as 10 %."
        ]
    off = [
        units.printable(suite, 40)
        for suite, floor in summary.noise_by_suite.items()
        if not floor.covers_one and floor is not noise
    ]
    if not noise.covers_one:
        span = units.interval(noise.ratio)
        return [
            f"Noise check failed: the baseline against itself came out at {units.times(noise.ratio.value)} ({span}), "
            "which should cover 1. Verdicts claim less for it. Close other programs and add blocks."
        ]
    if (usual := _control_difference(summary)) > QUIET:
        return [
            f"The machine was busy: the same runner measured twice differs by {units.percent(usual)} in the median, "
            f"where a quiet machine gives {units.percent(QUIET)} or less. Times are less sure than usual: their "
            "intervals say how much. Close other programs and measure again."
        ]
    if (apart := _control_cost(summary)) is not None:
        return [
            f"A task under the control costs {units.times(apart)} what it costs under the baseline, which is the same "
            "runner: do not rely on the cost of a task in this run. Close other programs and measure again."
        ]
    if len(off) > 1:
        return [
            f"Noise check failed in {units.listed(off)}: two identical runners differed there. Verdicts in these "
            "suites claim less for it. Add blocks."
        ]
    return []


def _control_difference(summary: Summary) -> float:
    """How far control and baseline are apart in the median of their cells, relative; 0 without any.

    Not the noise threshold: from two blocks its interval says nothing.
    """
    ratios = [cell.versus.ratio.value for cell in summary.cells if cell.arm == summary.run.control and cell.versus]
    return median(max(ratio, 1 / ratio) for ratio in ratios) - 1 if ratios else 0.0


def _control_cost(summary: Summary) -> float | None:
    """The control's cost of a task over the baseline's, where they are further apart than two equal ones may be."""
    rows = [summary.row(name) for name in (summary.run.control or "", summary.run.baseline)]
    costs = [row.marginal.per_task_s.value for row in rows if row and row.marginal]
    if len(costs) < 2 or min(costs) <= 0:
        return None
    apart = costs[0] / costs[1]
    return apart if max(apart, 1 / apart) > APART else None


def _blocks(summary: Summary) -> list[str]:
    most = summary.paired_blocks
    if not most:
        # Nothing went well, which is said already.
        return []
    if most < ENOUGH_BLOCKS and summary.model.median_error is not None:
        return [
            f"Most cells were measured {'once' if most == 1 else f'{most} times or less'}: enough for the answers, "
            "whose intervals say how sure they are. To compare single cells, use "
            f"{_option(summary, 'blocks')} 7 or the full profile."
        ]
    if most == 1:
        return [
            "One block only: there is no interval and no verdict. Run at least 5 blocks "
            f"({_option(summary, 'blocks')} 5)."
        ]
    if most < ENOUGH_BLOCKS:
        profile = "" if summary.flow else " or the full profile"
        return [
            f"Only {most} blocks: intervals are wide, and small differences stay inconclusive. To decide on less than "
            f"a factor of 1.5, use {_option(summary, 'blocks')} 7{profile}."
        ]
    return []


def _option(summary: Summary, name: str) -> str:
    """The option as the command that made the run spells it: for pytest the lab's begin with --lab-."""
    return f"--{name}" if summary.flow else f"--lab-{name}"


def _busy(summary: Summary) -> list[str]:
    known = [cell for cell in summary.cells if cell.background_cpu is not None]
    busy = [cell for cell in known if (cell.background_cpu or 0) > BUSY]
    if not busy:
        return []
    worst = max(busy, key=lambda cell: cell.background_cpu or 0)
    return [
        f"The CPU was busy with something else in {len(busy)} of {units.plural(len(known), 'cell')} (up to "
        f"{units.percent(worst.background_cpu or 0)} of the machine): close other programs and measure again."
    ]


def _uncompiled(summary: Summary) -> list[str]:
    if "False" not in summary.environment.get("bytecode", ()):
        return []
    return [
        "Prefect is installed without bytecode and PYTHONDONTWRITEBYTECODE is set: every worker compiles it again when "
        "it starts, so cold starts and process pools look slower than they are. Install it with `uv sync "
        "--compile-bytecode`."
    ]


def _missing_task_runs(summary: Summary) -> list[str]:
    short = [row for row in summary.rows if row.recorded is not None and row.recorded < row.expected_recorded]
    if not short:
        return []
    which = units.listed([f"{row.arm.label} {row.recorded} of {row.expected_recorded}" for row in short])
    return [
        f"Task runs missing on the server ({which}): their flows ended well, but Prefect's record of them is "
        "incomplete. Do not trust the UI or automations for such runs. Let the server record in batches "
        "(PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE and _READ_BATCH_SIZE of 100), or give it less load."
    ]


def _mixed(summary: Summary) -> list[str]:
    lines = []
    if len(summary.run_ids) > 1:
        lines.append(
            f"Records of {len(summary.run_ids)} runs are mixed in this folder: compare arms with care, or split it."
        )
    if mixed := [name for name, values in summary.environment.items() if len(values) > 1]:
        shown = ", ".join(mixed[:5]) + (" and more" if len(mixed) > 5 else "")
        lines.append(
            f"The environment changed during the run ({shown}): blocks before and after differ. Measure again."
        )
    return lines


def _bent(summary: Summary) -> list[str]:
    bent = [row for row in summary.rows if row.marginal and row.marginal.bent and row.arm.role != "control"]
    if not bent:
        return []
    how = [
        f"{row.arm.label} {units.percent(row.marginal.curvature.value, signed=True)}"
        for row in bent
        if row.marginal and row.marginal.curvature
    ]
    return [
        f"The cost of a task is not constant over the widths measured ({units.listed(how)} from the narrowest to "
        "the widest graph): do not extrapolate these arms' ms a task beyond the widest."
    ]
