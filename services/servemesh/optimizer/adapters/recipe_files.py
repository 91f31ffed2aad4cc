"""Recipes as YAML files: those that ship with the optimizer, and a folder of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.recipes import Recipe, parse_recipe

SHIPPED = Path(__file__).parent.parent / "recipes"
_FILE_BYTES_MAX = 64 * 1024
_FILES_MAX = 200


def load_recipes(own: Path | None, passes: Mapping[str, PassSpec]) -> dict[str, Recipe]:
    """Return the shipped recipes and those of the folder `own`, by id; one of the user's takes the place of a
    shipped one of its name. InvalidError names the file that cannot be read as a recipe, and why.
    """
    recipes = _folder(SHIPPED, passes)
    if own is not None:
        recipes |= _folder(own, passes)
    return dict(sorted(recipes.items()))


def _folder(folder: Path, passes: Mapping[str, PassSpec]) -> dict[str, Recipe]:
    if not folder.is_dir():
        raise InvalidError(
            f"there is no folder {folder} with recipes",
            reason="RECIPE_MALFORMED",
            field="recipes_dir",
            got=folder,
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if len(paths) > _FILES_MAX:
        raise InvalidError(
            f"{folder} holds {len(paths)} recipes, expected at most {_FILES_MAX}",
            reason="RECIPE_MALFORMED",
            field="recipes_dir",
            got=len(paths),
        )
    return {path.stem: parse_recipe(path.stem, _document(path), passes) for path in paths}


def _document(path: Path) -> object:
    with path.open("rb") as file:
        data = file.read(_FILE_BYTES_MAX + 1)
    if len(data) > _FILE_BYTES_MAX:
        raise _malformed(path, f"is larger than {_FILE_BYTES_MAX} bytes")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=yaml.SafeLoader)):
            raise _malformed(path, "uses a YAML alias; write the value out")  # a few of them make gigabytes
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise _malformed(
            path, f"is not YAML{line}: {getattr(error, 'problem', None) or 'malformed'}"
        ) from None


def _malformed(path: Path, problem: str) -> InvalidError:
    return InvalidError(f"recipe {path.name} {problem}", reason="RECIPE_MALFORMED", field=path.name)
