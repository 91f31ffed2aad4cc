"""Parameters of passes are read strictly, and described as they are."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.passes.parameters import describe, parse_parameters
from servemesh.optimizer.domain.passes.spec import PassSpec

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
SPECS = st.sampled_from(sorted(PASSES.values(), key=lambda spec: spec.pass_id))


@st.composite
def requests(draw: st.DrawFn) -> tuple[PassSpec, dict[str, Any]]:
    spec = draw(SPECS)
    names = [field.name for field in dataclasses.fields(spec.parameters)]
    keys = st.sampled_from(names) if names else st.text(min_size=1, max_size=5)
    return spec, draw(st.dictionaries(keys, VALUES, max_size=4))


def parsed(spec: PassSpec, values: dict[str, Any]) -> tuple[Any, InvalidError | None]:
    try:
        return parse_parameters(spec, values), None
    except InvalidError as error:
        return None, error


@given(requests())
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_for_is_either_taken_within_bounds_or_refused_by_name(
    request: tuple[PassSpec, dict[str, Any]],
):
    spec, values = request
    parameters, refusal = parsed(spec, values)
    if refusal is not None:
        assert refusal.reason == "PASS_PARAMETER_INVALID"
        assert refusal.metadata["field"] in values
        assert {"expected", "got", "pass"} <= refusal.metadata.keys()
        return
    for field in dataclasses.fields(parameters):
        value, declared = getattr(parameters, field.name), field.metadata["parameter"]
        assert type(value) is type(field.default)
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert math.isfinite(value)
            assert declared.least is None or value >= declared.least
            assert declared.most is None or value <= declared.most
        if declared.choices:
            assert set([value] if isinstance(value, str) else value) <= set(declared.choices)


@pytest.mark.parametrize("spec", PASSES.values(), ids=lambda spec: spec.pass_id)
def test_every_default_is_a_value_that_may_be_asked_for(spec: PassSpec):
    described = describe(spec.parameters)
    assert [each.parameter_id for each in described] == sorted(each.parameter_id for each in described)
    values = {each.parameter_id: json.loads(each.default_json) for each in described}
    assert parse_parameters(spec, values) == parse_parameters(spec, {})


@pytest.mark.parametrize("spec", PASSES.values(), ids=lambda spec: spec.pass_id)
def test_every_pass_and_parameter_says_what_it_does(spec: PassSpec):
    assert spec.description.endswith(".")
    assert spec.origin
    assert spec.applies_to
    assert all(each.description for each in describe(spec.parameters))


def test_whole_numbers_may_come_as_the_floats_of_json():
    assert parse_parameters(PASSES["int8_static"], {"rows_max": 64.0}).rows_max == 64


def test_an_unknown_parameter_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidError, match=r"it has: .*sparsity") as caught:
        parse_parameters(PASSES["prune_magnitude"], {"sparcity": 0.5})
    assert caught.value.metadata["field"] == "sparcity"
