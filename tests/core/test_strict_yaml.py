"""YAML is read strictly: an error says which key or value is wrong, and where it stands."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from memv2v_core.strict_yaml import as_values, as_yaml, build, load_yaml


@dataclass(frozen=True)
class Inner:
    count: int = 1
    rate: float = 0.5
    word: Literal["left", "right"] = "left"
    is_on: bool = False


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    other: Inner | None = None
    pair: tuple[int, float] = (1, 2.0)
    many: tuple[str, ...] = ()
    place: Path | None = None
    first: Inner = field(default_factory=lambda: Inner(7, 0.7))

    def __post_init__(self) -> None:
        if self.name == "wrong":
            raise ValueError("name got wrong, wanted another")


def test_values_reach_nested_dataclasses_in_their_types():
    made = build(
        Outer,
        {
            "name": "a",
            "inner": {"count": 3, "rate": 2, "word": "right", "is_on": True},
            "other": {"rate": "1e-4"},
            "pair": [4, 5],
            "many": ["x", "y", "z"],
            "place": "some/where",
        },
        "run.yaml",
    )
    assert made.inner == Inner(3, 2.0, "right", True)
    assert type(made.inner.rate) is float
    assert made.other == Inner(rate=1e-4)
    assert made.pair == (4, 5.0)
    assert made.many == ("x", "y", "z")
    assert made.place == Path("some/where")


def test_keys_left_out_of_a_group_keep_what_the_group_is_by_default():
    """Defaults of a group stand in two places; the nearer one counts."""
    made = build(Outer, {"name": "a", "first": {"rate": 0.1}, "other": {"rate": 0.1}}, "run")
    assert made.first == Inner(7, 0.1)
    assert made.other == Inner(1, 0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": "a"}, r"run: got the key 'nam', wanted one of \['first', 'inner', 'many', 'name'"),
        ({"name": "a", "inner": {"cuont": 1}}, "run: inner got the key 'cuont', wanted one of"),
        ({}, "run lacks the key 'name'; add it"),
        ([1], r"run got \[1\], wanted keys and values"),
        ({"name": 3}, "run: name got 3, wanted a text"),
        ({"name": None}, "run: name got None, wanted a text"),
        ({"name": "a", "inner": {"count": 1.5}}, "run: inner: count got 1.5, wanted a whole numb"),
        ({"name": "a", "inner": {"count": True}}, "run: inner: count got True, wanted a whole num"),
        ({"name": "a", "inner": {"count": "3"}}, "run: inner: count got '3', wanted a whole numb"),
        ({"name": "a", "inner": {"rate": "fast"}}, "run: inner: rate got 'fast', wanted a number"),
        ({"name": "a", "inner": {"rate": False}}, "run: inner: rate got False, wanted a number"),
        ({"name": "a", "inner": {"rate": float("nan")}}, "run: inner: rate got nan, wanted a fini"),
        ({"name": "a", "inner": {"rate": float("inf")}}, "run: inner: rate got inf, wanted a fini"),
        ({"name": "a", "inner": {"is_on": 1}}, "run: inner: is_on got 1, wanted true or false"),
        ({"name": "a", "inner": {"is_on": "yes"}}, "run: inner: is_on got 'yes', wanted true or"),
        ({"name": "a", "inner": {"word": "up"}}, "run: inner: word got 'up', wanted 'left' or 'ri"),
        ({"name": "a", "inner": {"word": ["left"]}}, r"run: inner: word got \['left'\], wanted"),
        ({"name": "a", "inner": None}, "run: inner got None, wanted keys and values"),
        ({"name": "a", "other": {"count": "x"}}, "run: other: count got 'x', wanted a whole numb"),
        ({"name": "a", "pair": [1]}, "run: pair got 1 values, wanted 2"),
        ({"name": "a", "pair": [1, 2, 3]}, "run: pair got 3 values, wanted 2"),
        ({"name": "a", "pair": [1, "x"]}, r"run: pair\[1\] got 'x', wanted a number"),
        ({"name": "a", "pair": 1}, r"run: pair got 1, wanted a list; write \[A, B\]"),
        ({"name": "a", "many": ["x", 2]}, r"run: many\[1\] got 2, wanted a text"),
        ({"name": "a", "many": "xyz"}, "run: many got 'xyz', wanted a list"),
        ({"name": "a", "place": 3}, "run: place got 3, wanted a path"),
        ({"name": "wrong"}, "run: name got wrong, wanted another"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_place(values: object, message: str):
    with pytest.raises(ValueError, match=message.replace("run: got", "run got")):
        build(Outer, values, "run")


def test_yaml_of_a_config_builds_an_equal_one(tmp_path: Path):
    made = Outer("a", Inner(2), Inner(rate=1e-9), (1, 0.25), ("x",), Path("there"))
    path = tmp_path / "run.yaml"
    path.write_text(as_yaml(made), encoding="utf-8")
    assert load_yaml(Outer, path) == made
    assert build(Outer, as_values(made), "again") == made


def test_an_unreadable_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read \(No such file"):
        load_yaml(Outer, tmp_path / "none.yaml")
    for content in (b"a: [1", b"\xff\xfe\x00", b"a: b: c"):
        (tmp_path / "run.yaml").write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.yaml is no YAML: .*; correct it"):
            load_yaml(Outer, tmp_path / "run.yaml")


def test_an_empty_file_means_the_defaults(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text("", encoding="utf-8")
    assert load_yaml(Inner, path) == Inner()


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Inner().count = 2  # type: ignore[misc]
