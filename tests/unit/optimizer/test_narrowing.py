"""Which units a layer loses: the least of them, in whole vectors, and never all."""

from __future__ import annotations

import numpy as np

from servemesh.optimizer.domain.narrowing import Layer, Narrowing, dropped_units


def a_layer(*scores: float, width: int = 1) -> Layer:
    return Layer(scores=np.array(scores), width=width)


def a_narrowing(
    ratio: float = 0.5, everywhere: bool = False, multiple: int = 1, keep_least: float = 0.1
) -> Narrowing:
    return Narrowing(ratio=ratio, everywhere=everywhere, multiple=multiple, keep_least=keep_least)


def kept(layer: Layer, narrowing: Narrowing) -> int:
    return len(layer.scores) - len(dropped_units([layer], narrowing)[0])


def test_the_units_that_matter_least_go():
    dropped = dropped_units([a_layer(0.1, 0.9, 0.3, 0.8)], a_narrowing())
    assert dropped[0].tolist() == [0, 2]


def test_what_stays_is_a_multiple():
    layer = a_layer(*range(20))
    assert kept(layer, a_narrowing(multiple=8)) == 8
    assert kept(layer, a_narrowing(ratio=0.25, multiple=8)) == 16


def test_a_layer_narrower_than_the_multiple_is_not_rounded():
    assert kept(a_layer(*range(6)), a_narrowing(multiple=8)) == 3


def test_attention_heads_are_vectors_already():
    assert kept(a_layer(*range(12), width=32), a_narrowing(ratio=0.25, multiple=8)) == 9


def test_one_unit_always_stays():
    assert kept(a_layer(1.0, 1.0), a_narrowing(ratio=0.95, keep_least=0.01)) == 1


def test_over_the_whole_model_layers_that_matter_less_lose_more():
    even, uneven = a_layer(*[1.0] * 8), a_layer(*[0.1] * 6, 3.7, 3.7)
    dropped = dropped_units([even, uneven], a_narrowing(ratio=0.375, everywhere=True))
    assert [len(units) for units in dropped] == [0, 6]


def test_a_layer_keeps_its_least_share_whatever_the_others_are():
    tiny, large = a_layer(*[0.0] * 7, 1.0), a_layer(*range(1, 9))
    dropped = dropped_units([tiny, large], a_narrowing(ratio=0.9, everywhere=True, keep_least=0.5))
    assert [len(units) for units in dropped] == [4, 4]
