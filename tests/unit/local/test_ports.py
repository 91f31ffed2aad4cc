"""Which ports a mesh gets."""

import itertools

import pytest

from servemesh.local.domain.ports import NoPortError, chosen


def test_a_port_of_last_time_is_taken_again_if_it_is_free():
    ports = chosen(["a"], previous={"a": 20_007}, is_free=lambda port: True, random_port=lambda: 20_001)
    assert ports == {"a": 20_007}


def test_a_port_of_last_time_that_is_taken_is_replaced():
    ports = chosen(
        ["a"], previous={"a": 20_007}, is_free=lambda port: port != 20_007, random_port=lambda: 20_001
    )
    assert ports == {"a": 20_001}


def test_no_two_names_get_the_same_port():
    numbers = itertools.cycle([20_001, 20_001, 20_002])
    ports = chosen(["a", "b"], previous={}, is_free=lambda port: True, random_port=lambda: next(numbers))
    assert sorted(ports.values()) == [20_001, 20_002]


def test_a_machine_without_free_ports_is_an_error():
    with pytest.raises(NoPortError):
        chosen(["a"], previous={}, is_free=lambda port: False, random_port=lambda: 20_001)
