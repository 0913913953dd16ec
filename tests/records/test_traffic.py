"""What arrived at the server, in records and back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from runner_lab.records import record as records
from runner_lab.records.record import RecordError
from runner_lab.records.traffic import Traffic
from tests.reports import synthetic

TRAFFIC = Traffic({"task_runs": 2000, "logs": 500}, events=15006, logs=5002)


def test_a_record_keeps_its_traffic(tmp_path):
    line = replace(synthetic.records(synthetic.SMOKE, blocks=1)[0], traffic=TRAFFIC)

    assert records.parse(records.to_json(line)).traffic == line.traffic


@pytest.mark.parametrize(
    "traffic", [[], {"requests": 3}, {"requests": {"a": -1}}, {"requests": {}, "events": "x"}, {"requests": {}, "b": 1}]
)
def test_traffic_that_is_none_is_refused(traffic):
    line = replace(synthetic.records(synthetic.SMOKE, blocks=1)[0], traffic=TRAFFIC)
    data = {**asdict(line), "traffic": traffic}

    with pytest.raises(RecordError, match="not a record"):
        records.parse(json.dumps(data))
