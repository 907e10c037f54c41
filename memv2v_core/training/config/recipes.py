"""The recipes that ship with the pack."""

from pathlib import Path

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
