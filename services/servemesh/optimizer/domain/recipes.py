"""Recipes: named sequences of passes, checked against the catalogue before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servemesh import names
from servemesh.errors import InvalidError
from servemesh.optimizer.domain.passes.parameters import parse_parameters
from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.results import PassStep
from servemesh.optimizer.domain.specs import OptimizationSpec

AUTO = "auto"
"""Not a recipe: it searches."""
STEPS_MAX = 16
_DESCRIPTION_CHARS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeStep:
    """A pass with all its parameters. Where it does not apply to a model it is left out with a note, unless it is
    `required`: then the job fails."""

    step: PassStep
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named sequence of passes."""

    recipe_id: str
    description: str
    steps: tuple[RecipeStep, ...]


def parse_recipe(recipe_id: str, document: object, passes: Mapping[str, PassSpec]) -> Recipe:
    """Return the recipe in a YAML document; InvalidError names the step and the parameter that is wrong.

    The document has `description` and `steps`; a step has `pass`, and may have `parameters` and `required`.
    """
    if not names.is_id(recipe_id) or recipe_id == AUTO:
        raise _wrong(recipe_id, "name", f"{names.ID_PATTERN}, not {AUTO!r}", recipe_id)
    fields = _mapping(recipe_id, "recipe", document, {"description", "steps"})
    description = fields.get("description")
    if not isinstance(description, str) or not 0 < len(description.strip()) <= _DESCRIPTION_CHARS_MAX:
        raise _wrong(
            recipe_id,
            "description",
            f"a sentence of at most {_DESCRIPTION_CHARS_MAX} characters",
            description,
        )
    steps = fields.get("steps")
    if not isinstance(steps, list) or not 0 < len(steps) <= STEPS_MAX:
        raise _wrong(recipe_id, "steps", f"a list of 1 to {STEPS_MAX} steps", steps)
    return Recipe(
        recipe_id=recipe_id,
        description=" ".join(description.split()),
        steps=tuple(_step(recipe_id, number, step, passes) for number, step in enumerate(steps)),
    )


def steps_to_follow(
    spec: OptimizationSpec, recipes: Mapping[str, Recipe], passes: Mapping[str, PassSpec]
) -> tuple[RecipeStep, ...]:
    """Return the user's own steps or those of the recipe; InvalidError if there are none such, or if one that is
    required needs rows and no Dataset is named."""
    if spec.steps:
        steps = own_steps(spec.steps, passes)
    elif spec.recipe in recipes:
        steps = recipes[spec.recipe].steps
    else:
        known = ", ".join((AUTO, *recipes))
        raise InvalidError(
            f"there is no recipe {spec.recipe[:100]!r}, expected one of {known}",
            reason="RECIPE_UNKNOWN",
            field="optimization.recipe",
            expected=known,
            got=spec.recipe[:100],
        )
    hungry = needs_rows([each.step for each in steps if each.required], passes)
    if hungry and not spec.dataset:
        raise InvalidError(
            f"pass {hungry} looks at rows: name a dataset",
            reason="PASS_NEEDS_ROWS",
            field="optimization.dataset",
            expected="a dataset",
            got="none",
        )
    return steps


def own_steps(steps: Sequence[PassStep], passes: Mapping[str, PassSpec]) -> tuple[RecipeStep, ...]:
    """Return a user's own steps, complete and all required; InvalidError names what is wrong."""
    if not 0 < len(steps) <= STEPS_MAX:
        raise InvalidError(
            f"there are {len(steps)} steps, expected 1 to {STEPS_MAX}",
            reason="RECIPE_MALFORMED",
            field="optimization.steps",
            expected=f"1 to {STEPS_MAX} steps",
            got=len(steps),
        )
    return tuple(RecipeStep(step=completed(step, passes), required=True) for step in steps)


def completed(step: PassStep, passes: Mapping[str, PassSpec]) -> PassStep:
    """Return `step` with a value for every parameter; InvalidError for an unknown pass or a wrong parameter."""
    spec = passes.get(step.pass_id)
    if spec is None:
        raise InvalidError(
            f"there is no pass {step.pass_id!r}; `servemesh pass ls` lists them: {', '.join(sorted(passes))}",
            reason="PASS_UNKNOWN",
            field="pass",
            expected=", ".join(sorted(passes)),
            got=step.pass_id,
        )
    complete = dataclasses.asdict(parse_parameters(spec, step.parameters))
    parameters = {
        name: list(value) if isinstance(value, tuple) else value for name, value in complete.items()
    }
    return PassStep(pass_id=step.pass_id, parameters=dict(sorted(parameters.items())))


def needs_rows(steps: Sequence[PassStep], passes: Mapping[str, PassSpec]) -> str | None:
    """Return the first pass that calibrates or trains, so that a Dataset is needed; None if there is none."""
    for step in steps:
        if passes[step.pass_id].calibrates or passes[step.pass_id].trains:
            return step.pass_id
    return None


def _step(recipe_id: str, number: int, document: object, passes: Mapping[str, PassSpec]) -> RecipeStep:
    place = f"steps[{number}]"
    fields = _mapping(recipe_id, place, document, {"pass", "parameters", "required"})
    pass_id, required = fields.get("pass"), fields.get("required", False)
    if not isinstance(pass_id, str):
        raise _wrong(recipe_id, f"{place}.pass", "the name of a pass", pass_id)
    if not isinstance(required, bool):
        raise _wrong(recipe_id, f"{place}.required", "true or false", required)
    values = _mapping(recipe_id, f"{place}.parameters", fields.get("parameters", {}), None)
    try:
        step = completed(PassStep(pass_id=pass_id, parameters=values), passes)
    except InvalidError as error:
        raise InvalidError(
            f"recipe {recipe_id!r}, {place}: {error.message}",
            reason=error.reason,
            **{**error.metadata, "field": f"{place}.{error.metadata.get('field', '')}".rstrip(".")},
        ) from None
    return RecipeStep(step=step, required=required)


def _mapping(recipe_id: str, place: str, document: object, known: set[str] | None) -> dict[str, Any]:
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise _wrong(recipe_id, place, "names with values", document)
    unknown = set(document) - known if known is not None else set()
    if unknown and known:
        raise _wrong(recipe_id, f"{place}.{min(unknown)}", f"one of {', '.join(sorted(known))}", min(unknown))
    return document


def _wrong(recipe_id: str, place: str, expected: str, got: object) -> InvalidError:
    return InvalidError(
        f"recipe {recipe_id[:200]!r}: {place} is {str(got)[:200]!r}, expected {expected}",
        reason="RECIPE_MALFORMED",
        field=place,
        expected=expected,
        got=str(got)[:200],
    )
