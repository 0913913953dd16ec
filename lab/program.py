"""The program: its commands, and how an error is shown."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError, Group

from runner_lab.lab.advise import advise
from runner_lab.lab.capacity import capacity
from runner_lab.lab.cases import cases
from runner_lab.lab.choose import choose
from runner_lab.lab.compare import compare
from runner_lab.lab.completion import completion_of
from runner_lab.lab.console import ERR, end, one_line
from runner_lab.lab.demo import demo
from runner_lab.lab.diff import diff
from runner_lab.lab.doctor import doctor
from runner_lab.lab.equivalence import equivalence
from runner_lab.lab.faults import faults
from runner_lab.lab.history import history
from runner_lab.lab.hosts import hosts
from runner_lab.lab.open import open_report
from runner_lab.lab.placement import placement
from runner_lab.lab.publish import publish
from runner_lab.lab.regret import regret
from runner_lab.lab.report import report
from runner_lab.lab.run import run
from runner_lab.lab.runners import runners
from runner_lab.lab.scale import scale

app = App(
    name="runner-lab",
    help="Which Prefect task runner should I use, and what will it cost me?\n\n"
    "For your own flow: runner-lab compare my_flow.py:my_flow. For any work: runner-lab run, then runner-lab choose."
    "\n\n"
    "An error is one line; --debug shows its traceback.",
    version_flags=["--version"],
    version=lambda: version("runner-lab"),
)

MEASURE, DECIDE, CHECK, LEARN = (
    Group(name, sort_key=place) for place, name in enumerate(("Measure", "Decide", "Check", "Learn"))
)
for group, commands in (
    (MEASURE, (run, compare, scale, cases)),
    (DECIDE, (advise, choose, capacity, report, diff, history, publish)),
    (CHECK, (doctor, runners, regret, placement, faults, equivalence, hosts)),
    (LEARN, (demo, completion_of(app))),
):
    for command in commands:
        app.command(command, group=group)
app.command(open_report, name="open", group=DECIDE)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. User errors print one line and exit with code 2; `--debug` shows where they were raised."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        end(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (CycloptsError, ValueError, OSError) as error:
        if debug:
            raise
        # What was printed before stays before it, in a log as well.
        sys.stdout.flush()
        ERR.print(f"runner-lab: {one_line(error)}", markup=False, soft_wrap=True)
        end(2)
