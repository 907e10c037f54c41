"""Which items are prepared, by whom, and which are held out."""

from collections.abc import Callable

import pytest

from memv2v_core.training.prepare.config import PrepareConfig
from memv2v_core.training.prepare.readers.raw import RawItem
from memv2v_core.training.prepare.selection import Shard, select_items, shard_of, split_of

PROCEDURAL = {"kind": "procedural"}


def _items(count: int) -> list[RawItem]:
    return [RawItem(f"item{i:04d}", lambda: ()) for i in range(count)]


def _names(items: tuple[RawItem, ...]) -> list[str]:
    return [item.name for item in items]


def test_shards_share_everything_once() -> None:
    items = _items(10)
    parts = [Shard(i, 3).of(items) for i in range(3)]
    assert [len(part) for part in parts] == [4, 3, 3]
    assert sorted(name for part in parts for name in _names(part)) == _names(tuple(items))


def test_a_shard_comes_from_the_command_or_from_accelerate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert shard_of(None) == Shard(0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert shard_of(None) == Shard(2, 8)
    assert shard_of("1/3") == Shard(1, 3)


@pytest.mark.parametrize("text", ["3/3", "0/0", "1", "a/2", "-1/2", ""])
def test_a_wrong_shard_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="shard got"):
        shard_of(text)


def test_a_limit_takes_the_same_items_whatever_else_there_is(
    make_config: Callable[..., PrepareConfig],
) -> None:
    few = select_items(make_config(PROCEDURAL, limit=5), _items(100))
    assert len(few) == 5
    assert _names(few) == sorted(_names(few))
    more = select_items(make_config(PROCEDURAL, limit=8), _items(100))
    assert set(_names(few)) < set(_names(more))
    other = select_items(make_config(PROCEDURAL, limit=5, seed=1), _items(100))
    assert _names(other) != _names(few)
    assert len(select_items(make_config(PROCEDURAL, limit=5), _items(3))) == 3


def test_a_name_alone_decides_what_is_held_out() -> None:
    names = [f"scene{i}" for i in range(2000)]
    held_out = {name for name in names if split_of(name, 0.1) == "held_out"}
    # 2000 draws at 0.1 lie within 160 and 240 at three deviations.
    assert 160 < len(held_out) < 240
    assert held_out <= {name for name in names if split_of(name, 0.2) == "held_out"}
    assert split_of("scene0", 0.0) == "train"


def test_two_items_of_one_name_are_an_error(make_config: Callable[..., PrepareConfig]) -> None:
    items = [RawItem("Hall", lambda: ()), RawItem("hall", lambda: ())]
    with pytest.raises(ValueError, match="two items got the names Hall and hall"):
        select_items(make_config(PROCEDURAL), items)
