"""The command `doctor`: whether this machine is fit to measure."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from runner_lab.lab.console import ERR, OUT, AsJson, Config, end

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(*, config: Config = None, as_json: AsJson = False) -> None:
    """Check that this machine, Prefect and your clusters are ready.

    It checks versions, server, workers, storage, load and ports. Each line is ok, warn or fail, with what to do. Your
    settings are read, never written.

    Exit code 0: no check fails. 1: a check fails.

    Example: runner-lab doctor --json
    """
    from runner_lab.lab.health import examination, facts

    with ERR.status("checking this machine, and Prefect as a worker process sees it"):
        findings = examination.examine(facts.gather(config))
    if as_json:
        OUT.print_json(json.dumps([asdict(finding) for finding in findings]))
    else:
        table = Table("", Column("check", no_wrap=True), "result, and what to do", box=SIMPLE_HEAD)
        for finding in findings:
            said = Text(finding.said)
            if finding.status != "ok" and finding.remedy:
                said.append(f"\n-> {finding.remedy}", style="bold")
            table.add_row(Text(finding.status, style=COLOURS[finding.status]), Text(finding.check), said)
        OUT.print(table)
    if examination.worst(findings) == "fail":
        end(1)
