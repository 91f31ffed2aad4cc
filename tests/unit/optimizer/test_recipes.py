"""Recipes are read from YAML and checked against the catalogue before anything runs."""

from pathlib import Path

import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.recipe_files import load_recipes
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.recipes import completed, own_steps, parse_recipe
from servemesh.optimizer.domain.results import PassStep

GOOD = "description: Does it.\nsteps:\n  - pass: simplify\n"


def test_the_shipped_recipes_are_good_and_complete():
    recipes = load_recipes(None, PASSES)
    assert list(recipes) == ["distill", "fast", "int8", "safe", "small"]
    for recipe in recipes.values():
        for each in recipe.steps:
            assert completed(each.step, PASSES) == each.step


def test_a_recipe_of_the_users_own_takes_the_place_of_a_shipped_one(tmp_path: Path):
    (tmp_path / "safe.yaml").write_text(GOOD)
    (tmp_path / "mine.yml").write_text(
        "description: Mine.\nsteps: [{pass: int8_static, parameters: {rows_max: 32}, required: true}]\n"
    )
    recipes = load_recipes(tmp_path, PASSES)
    assert len(recipes["safe"].steps) == 1
    assert recipes["mine"].steps[0].required
    assert recipes["mine"].steps[0].step.parameters["rows_max"] == 32
    assert recipes["mine"].steps[0].step.parameters["calibration"] == "minmax"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", "recipe"),
        ("steps: [{pass: simplify}]", "description"),
        ("description: x\nsteps: []", "steps"),
        ("description: x\nsteps: [{pass: simplify, parametres: {}}]", "steps[0].parametres"),
        ("description: x\nsteps: [{pass: 3}]", "steps[0].pass"),
        ("description: x\nsteps: [{pass: simplify}, {pass: prune}]", "steps[1].pass"),
        ("description: x\nsteps: [{pass: simplify, parameters: {tolerance: 7}}]", "steps[0].tolerance"),
        ("description: x\nsteps: [{pass: simplify, parameters: {tol: 0}}]", "steps[0].tol"),
        ("description: x\nsteps: [{pass: simplify, required: 1}]", "steps[0].required"),
        ("description: x\nsteps: &a [*a]", "bad.yaml"),
        ("description: [x", "bad.yaml"),
        ("description: !!python/object/apply:os.system [ls]\nsteps: []", "bad.yaml"),
    ],
)
def test_what_is_wrong_is_named(text: str, place: str, tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InvalidError) as raised:
        load_recipes(tmp_path, PASSES)
    assert raised.value.metadata["field"] == place
    assert "bad" in raised.value.message


@pytest.mark.parametrize("name", ["auto", "Upper", "a b", ""])
def test_a_name_that_is_none_is_refused(name: str):
    with pytest.raises(InvalidError):
        parse_recipe(name, {"description": "x", "steps": [{"pass": "simplify"}]}, PASSES)


def test_a_users_own_steps_are_all_required():
    steps = own_steps([PassStep(pass_id="fuse")], PASSES)
    assert [each.required for each in steps] == [True]
    with pytest.raises(InvalidError):
        own_steps([PassStep(pass_id="fuse")] * 17, PASSES)
