"""Passes and recipes as messages of the optimizer's API."""

from __future__ import annotations

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.optimizer.api.result_messages import to_steps
from servemesh.optimizer.domain.passes.parameters import describe
from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.recipes import Recipe


def to_pass_info(spec: PassSpec) -> pb.PassInfo:
    """The message for a pass."""
    return pb.PassInfo(
        pass_id=spec.pass_id,
        description=spec.description,
        origin=spec.origin,
        parameters=[
            pb.ParameterInfo(
                parameter_id=parameter.parameter_id,
                description=parameter.description,
                type=parameter.type,
                default_json=parameter.default_json,
            )
            for parameter in describe(spec.parameters)
        ],
        calibrates=spec.calibrates,
        trains=spec.trains,
    )


def to_recipe(recipe: Recipe) -> pb.Recipe:
    """The message for a recipe."""
    return pb.Recipe(
        recipe_id=recipe.recipe_id,
        description=recipe.description,
        steps=to_steps(each.step for each in recipe.steps),
    )
