"""What the commands about conclusions print."""

from datetime import UTC, datetime, timedelta

import pytest

from servemesh.cli.commands.analysing import exceeded, sentence
from servemesh.cli.commands.local_mesh import scaling_bounds
from servemesh.client import Capacity
from servemesh.errors import InvalidError

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def test_the_need_is_one_sentence():
    found = Capacity(
        worker_count=4,
        needed_now=3,
        needed_at_peak=5,
        needed_at_peak_low=4,
        needed_at_peak_high=7,
        peak_time=NOW.replace(hour=18),
        models=(),
    )
    assert sentence(found) == "workers needed by 18:00 UTC: 5 (4 to 7); needed now: 3; there are 4"


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (None, "no"),
        (timedelta(), "now"),
        (timedelta(minutes=45), "in 45 min"),
        (timedelta(hours=3), "in 3 h"),
    ],
)
def test_when_capacity_is_exceeded_is_said_as_people_say_it(ahead: timedelta | None, said: str):
    assert exceeded(None if ahead is None else NOW + ahead, NOW) == said


def test_the_bounds_of_scaling_are_two_numbers_in_order():
    assert scaling_bounds("1:4", "--autoscale") == (1, 4)


@pytest.mark.parametrize("text", ["4", "4:1", "0:3", "1:65", "a:b", "1:"])
def test_other_bounds_are_refused_with_an_example(text: str):
    with pytest.raises(InvalidError, match=r"--autoscale is .*, expected MIN:MAX .*for example 1:4"):
        scaling_bounds(text, "--autoscale")
