"""Which ports a mesh gets."""

import pytest

from servemesh.local.domain.ports import BLOCKS, GUARD, NoPortError, block_order, chosen

BLOCK = BLOCKS[3]


def test_the_block_of_last_time_is_tried_first_and_each_block_once():
    order = block_order({GUARD: BLOCK}, list)
    assert order[0] == BLOCK
    assert sorted(order) == list(BLOCKS)


def test_a_block_that_is_none_is_not_tried():
    assert block_order({GUARD: 22}, list) == list(BLOCKS)


def test_a_port_of_last_time_is_taken_again_if_it_is_free():
    ports = chosen(["a"], block=BLOCK, previous={"a": BLOCK + 7}, is_free=lambda port: True)
    assert ports == {GUARD: BLOCK, "a": BLOCK + 7}


def test_a_port_of_last_time_that_is_taken_is_replaced():
    ports = chosen(["a"], block=BLOCK, previous={"a": BLOCK + 7}, is_free=lambda port: port != BLOCK + 7)
    assert ports["a"] == BLOCK + 1


def test_a_port_of_another_block_is_given_up():
    ports = chosen(["a"], block=BLOCK, previous={"a": BLOCKS[0] + 7}, is_free=lambda port: True)
    assert ports["a"] == BLOCK + 1


def test_no_two_names_get_the_same_port():
    ports = chosen(["a", "b", "c"], block=BLOCK, previous={"c": BLOCK + 1}, is_free=lambda port: True)
    assert ports == {GUARD: BLOCK, "a": BLOCK + 2, "b": BLOCK + 3, "c": BLOCK + 1}


def test_no_port_of_the_next_block_is_given():
    names = [str(number) for number in range(BLOCKS.step)]
    with pytest.raises(NoPortError):
        chosen(names, block=BLOCK, previous={}, is_free=lambda port: True)
