"""Suites from YAML files: of videos, and of what is measured inside a model."""

from dataclasses import replace
from pathlib import Path

from ...strict_yaml import build, read_yaml
from .probe_suite import ProbeSuite
from .suite import PLAIN_NAME, Suite

_SHIPPED = Path(__file__).parent / "shipped"
# A file with this key measures a model and no videos.
_PROBE_KEY = "probe"
# A field that this module fills.
_INNER_KEY = "root"


def shipped_suites() -> dict[str, Path]:
    """The suites that come with the pack, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def load_suite(path: Path) -> Suite | ProbeSuite:
    """The suite in a YAML file; relative folders are meant from it, and it is named after it.

    Raises: ValueError naming the file and the place of what is wrong.
    """
    values = read_yaml(path)
    if _INNER_KEY in values:
        raise ValueError(f"{path.name} got the key {_INNER_KEY!r}, which is no setting; remove it")
    kind: type[Suite | ProbeSuite] = ProbeSuite if _PROBE_KEY in values else Suite
    suite: Suite | ProbeSuite = build(kind, values, path.name)
    name = suite.name or path.stem
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(
            f"{path.name}: name got {name!r}, wanted letters, digits, spaces and ._()+-; it names "
            "the folder of results"
        )
    if isinstance(suite, ProbeSuite):
        return replace(suite, name=name)
    return replace(suite, name=name, root=path.resolve().parent)
