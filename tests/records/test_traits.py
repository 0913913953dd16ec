"""What a run tells of its arms' engines, and what is known of runs that do not tell."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runner_lab.records import run_plan
from runner_lab.records.run_plan import RunPlan
from runner_lab.records.traits import ArmTraits, before
from runner_lab.records.validation import RecordError
from runner_lab.runners import catalog


def test_runs_that_do_not_tell_are_of_the_labs_engines_as_they_are():
    arms = catalog.load()

    told_since = {"asyncio"}
    for name, spec in arms.arms.items():
        if spec.engine in told_since:
            continue
        assert before(spec.engine, name, spec.lean or spec.bare) == arms.traits(spec), name


def test_an_arm_of_the_users_has_its_engines_traits_and_no_colour_of_its_own():
    told = before("dask", "dask-threads", variant=False)

    assert (told.rank, told.reach, told.palette) == (30, "cluster", None)
    assert before("theirs", "mine", variant=False) == ArmTraits()


@pytest.mark.parametrize(
    "value",
    [
        3,
        ["dask"],
        {"dask": 3},
        *({"dask": {name: 1.5}} for name in ("rank", "reach", "palette", "caveat", "event_loop")),
    ],
)
def test_a_plan_whose_traits_are_none_is_one_line(tmp_path, value):
    plan = RunPlan("a", "smoke", ("dask",), 1, 2, "threads", "pytest", "2026-01-01T00:00:00+00:00")
    run_plan.write(tmp_path, replace(plan, traits={"dask": ArmTraits(rank=3)}))
    assert run_plan.read(tmp_path).traits == {"dask": ArmTraits(rank=3)}
    told = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**told, "traits": value}))

    with pytest.raises(RecordError, match=r"^run.json is not a run's \(traits[^\n]+\)$"):
        run_plan.read(tmp_path)
