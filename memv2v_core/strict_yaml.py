"""Frozen dataclasses from YAML, and back: every key, type and word is checked.

A wrong value is an error that names its place, as in `recipe.yaml: optim: steps`.
"""

import dataclasses
import math
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

Config = TypeVar("Config")


def load_yaml(kind: type[Config], path: Path) -> Config:
    """A `kind` (a frozen dataclass) with the values in a YAML file.

    Raises: ValueError naming the file and the place of a key or value that is wrong.
    """
    return build(kind, read_yaml(path), path.name)


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values in a YAML file.

    Raises: ValueError naming a file that cannot be read, or that holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check its name") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no YAML: {' '.join(str(error).split())}; correct it"
        ) from error
    if values is not None and not isinstance(values, dict):
        raise ValueError(f"{path.name} got {values!r}, wanted keys and values; write KEY: VALUE")
    return values or {}


def build(kind: type[Config], values: Any, where: str, default: Config | None = None) -> Config:
    """A `kind` with these values.

    where: named in errors. Keys that are left out keep the values of `default`, else the defaults
    of their dataclass.

    Raises: ValueError for an unknown or missing key, or a value of the wrong type.
    """
    assert dataclasses.is_dataclass(kind)
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} got {values!r}, wanted keys and values; write KEY: VALUE lines")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(str(key) for key in values if key not in fields):
        raise ValueError(
            f"{where} got the key {unknown[0]!r}, wanted one of {sorted(fields)}; correct its "
            "spelling"
        )
    for name, field in fields.items():
        defaults = (field.default, field.default_factory)
        is_needed = all(each is dataclasses.MISSING for each in defaults) and default is None
        if name not in values and is_needed:
            raise ValueError(f"{where} lacks the key {name!r}; add it")
    hints = get_type_hints(kind)
    checked = {
        name: _value(hints[name], value, f"{where}: {name}", _default_of(fields[name], default))
        for name, value in values.items()
    }
    made: Any = kind
    whole: Any = default
    try:
        return made(**checked) if whole is None else dataclasses.replace(whole, **checked)
    except ValueError as error:
        # The dataclass compares its own values with each other.
        raise ValueError(f"{where}: {error}") from error


def as_values(config: Any) -> Any:
    """`config` as plain values, which `build` turns back into an equal one."""
    if dataclasses.is_dataclass(config):
        return {
            field.name: as_values(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, Mapping):
        return {key: as_values(value) for key, value in config.items()}
    if isinstance(config, (tuple, list)):
        return [as_values(each) for each in config]
    return str(config) if isinstance(config, Path) else config


def as_yaml(config: Any) -> str:
    """`config` as YAML text."""
    return yaml.safe_dump(as_values(config), sort_keys=False, default_flow_style=None, width=100)


def _default_of(field: dataclasses.Field, whole: Any) -> Any:
    """The default of a field: the value in `whole`, where there is one."""
    if whole is not None:
        return getattr(whole, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _value(hint: Any, value: Any, where: str, default: Any = None) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [each for each in get_args(hint) if each is not type(None)]
        if value is None:
            return None
        assert len(kinds) == 1, f"no rule for {hint}"
        return _value(kinds[0], value, where, default)
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return build(hint, value, where, default if isinstance(default, hint) else None)
    if origin is tuple:
        return _tuple(get_args(hint), value, where)
    if origin is Literal:
        if value not in get_args(hint) or isinstance(value, bool):
            words = " or ".join(repr(each) for each in get_args(hint))
            raise ValueError(f"{where} got {value!r}, wanted {words}")
        return value
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    # YAML reads 1e-4 as text; numbers in this form are common in recipes.
    if hint is float and isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    # bool is an int in Python, and a whole number is a number.
    accepted = {bool: (bool,), int: (int,), float: (int, float), str: (str,), Path: (str,)}[hint]
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} got {value!r}, wanted {words.get(hint, 'a path')}")
    if isinstance(value, (int, float)) and not math.isfinite(value):
        raise ValueError(f"{where} got {value!r}, wanted a finite number")
    return hint(value)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} got {value!r}, wanted a list; write [A, B]")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise ValueError(f"{where} got {len(value)} values, wanted {len(kinds)}")
    return tuple(
        _value(kind, each, f"{where}[{i}]")
        for i, (kind, each) in enumerate(zip(kinds, value, strict=True))
    )
