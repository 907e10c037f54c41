"""Entries whose files broke since their session was opened: left out, and the next best taken."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from instruments.entry_files import rewrite

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.retrieval.segments import describe_ranking, retrieve_by_similarity
from memv2v_core.retrieval.selection import Retrieval, retrieve_by_fov, retrieve_recent

QUERY = make_preset(PresetConfig("pan_left", 30.0, 5))
SOURCE = torch.tensor([1.0, 0.0])


def entry(number: int, motion: str, descriptor: tuple[float, float]) -> MemoryEntry:
    return MemoryEntry.of(
        torch.full((4, 2, 6, 8), float(number)),
        make_preset(PresetConfig(motion, 30.0, 5)),
        "small",
        5,
        turn=number,
        created_s=float(number),
        segment=Segment(number - 1, 5 * (number - 1), 5),
        source_descriptor=torch.tensor(descriptor),
        descriptor_name="two numbers",
    )


@pytest.fixture
def session(tmp_path: Path) -> tuple[Path, MemoryCache]:
    """Three turns on disk, the first the best for every query here but the newest's."""
    cache = MemoryCache()
    for given in (
        (1, "pan_left", (1.0, 0.0)),
        (2, "static", (0.8, 0.6)),
        (3, "pan_right", (0.0, 1.0)),
    ):
        cache = cache.append(entry(*given))
    save_session(cache, tmp_path / "room")
    return tmp_path / "room", load_session(tmp_path / "room").cache


def by_fov(cache: MemoryCache) -> Retrieval:
    return retrieve_by_fov(cache, QUERY, 1)


def by_similarity(cache: MemoryCache) -> Retrieval:
    return retrieve_by_similarity(cache, SOURCE, "two numbers", Segment(5, 25, 5), 1)


def newest(cache: MemoryCache) -> Retrieval:
    return retrieve_recent(cache, 1)


@pytest.mark.parametrize(
    ("retrieve", "best", "second"), [(by_fov, 1, 2), (by_similarity, 1, 2), (newest, 3, 2)]
)
@pytest.mark.parametrize("part", ["latent", "intrinsics", "source_descriptor"])
def test_a_broken_entry_makes_room_for_the_next_best(
    session, retrieve: Callable[[MemoryCache], Retrieval], best: int, second: int, part: str
) -> None:
    folder, cache = session
    assert [found.turn for found in retrieve(cache).entries] == [best]
    broken = cache.of_turn(best)
    changed = getattr(broken, part, None) if part != "intrinsics" else broken.camera.intrinsics
    path = folder / f"{broken.entry_id}.safetensors"
    rewrite(path, tensors={part: changed + 1}, keeps_hashes=True)
    # What this process has read already is good; another one starts with the files.
    cache = load_session(folder).cache
    retrieval = retrieve(cache)
    assert [found.turn for found in retrieval.entries] == [second]
    (line,) = retrieval.unreadable
    assert line.startswith(f"left out: turn {best}  {broken.entry_id[:8]}  {path.name} in {folder}")
    assert f"the bytes of its {part} changed" in line
    assert line in retrieval.describe()


def test_the_ranking_of_segments_names_what_was_left_out(session) -> None:
    folder, cache = session
    (folder / f"{cache.of_turn(1).entry_id}.safetensors").unlink()
    retrieval = by_similarity(cache)
    text = describe_ranking(Segment(5, 25, 5), retrieval)
    assert "left out: turn 1" in text
    assert "it is gone: forgotten, replaced or deleted since" in text


def test_nothing_is_left_where_all_files_are_gone(session) -> None:
    folder, cache = session
    for path in folder.glob("*.safetensors"):
        path.unlink()
    for retrieve in (by_fov, by_similarity, newest):
        retrieval = retrieve(cache)
        assert retrieval.entries == ()
        assert len(retrieval.unreadable) in (1, 3)
