"""What `servemesh metrics` prints of a reading."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from servemesh.cli.commands.metrics import bars, document
from servemesh.cli.output import plain
from servemesh.client import Reading, Track

NOW = datetime(2026, 11, 21, tzinfo=UTC)
READING = Reading(
    metric="servemesh.worker.calls",
    measure="rate",
    unit="/s",
    begin_time=NOW,
    step_s=15.0,
    tracks=(Track(labels={"model": "iris"}, values=(1.0, math.nan, 3.0)),),
)


def test_where_nothing_was_measured_json_has_null():
    shown = json.loads(json.dumps(plain(document(READING)), allow_nan=False))
    assert shown["tracks"] == [{"labels": {"model": "iris"}, "values": [1.0, None, 3.0]}]
    assert (shown["step_s"], shown["unit"]) == (15.0, "/s")


def test_a_reading_knows_the_time_of_each_step():
    assert READING.times == (NOW, NOW + timedelta(seconds=15), NOW + timedelta(seconds=30))


@pytest.mark.parametrize(
    ("values", "drawn"),
    [((0.0, 1.0), "▁█"), ((math.nan, 4.0, 4.0), "·██"), ((0.0, 0.0), "▁▁"), ((), "")],
)
def test_bars_stand_on_zero(values: tuple[float, ...], drawn: str):
    assert bars(values) == drawn


def test_many_steps_are_drawn_together():
    assert len(bars(tuple(float(value) for value in range(1_000)))) <= 32
