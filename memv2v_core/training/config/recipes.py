"""The recipes that ship with the pack, and the values in a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ...strict_yaml import read_yaml

RECIPES = Path(__file__).parents[1] / "recipes"


def recipe_path(path: Path) -> Path:
    """`path`, or the shipped recipe of this name where there is no such file.

    Raises: ValueError listing the recipes.
    """
    shipped = RECIPES / path.with_suffix(".yaml").name
    if path.is_file():
        return path
    if path.parent == Path() and shipped.exists():
        return shipped
    names = ", ".join(recipe_names())
    raise ValueError(f"{path} is no file, wanted a YAML file or one of the recipes {names}")


def recipe_names() -> tuple[str, ...]:
    """The names of the shipped recipes."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def recipe_values(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The values in a recipe, with changes such as `optim.steps=100`.

    path: of a YAML file, or the name of a shipped recipe.

    Raises: ValueError naming a file that is no YAML, or a change that is no KEY=VALUE.
    """
    path = recipe_path(path)
    values = read_yaml(path)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise ValueError(f"--set got {change!r}, wanted KEY=VALUE, as optim.steps=100")
        place: Any = values
        *groups, last = key.split(".")
        for group in groups:
            # A group that the recipe leaves out, or sets to null, begins with its defaults.
            if place.get(group) is None:
                place[group] = {}
            place = place[group]
            if not isinstance(place, dict):
                raise ValueError(f"--set got {change!r}, but {group} is a value, not a group")
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"--set got {change!r}, whose value is no YAML; quote it") from error
    return values
