"""What an entry keeps of its place in a long video, in memory and on disk."""

import json
from pathlib import Path

import pytest
import torch
from instruments.entry_files import rewrite
from safetensors import safe_open

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.entry_file import read_entry, write_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

KEY = "memory_v2v_segment"


def file_of(folder: Path, entry: MemoryEntry) -> Path:
    return folder / f"{entry.entry_id}.safetensors"


@pytest.fixture
def segment_entry(make_entry) -> MemoryEntry:
    return make_entry(
        2,
        segment=Segment(3, 27, 5, 1),
        memory_ids=("0" * 32, "ab" * 16),
        memory_kernels=(4, 8),
        recipe="sha256 of all else",
        descriptor_name="built-in light",
        source_descriptor=torch.randn(7),
    )


def test_fields_return_from_disk(segment_entry, tmp_path):
    write_entry(tmp_path, segment_entry)
    read = read_entry(file_of(tmp_path, segment_entry))
    assert read.segment == Segment(3, 27, 5, 1)
    assert read.segment.stop == 32
    assert read.memory_ids == ("0" * 32, "ab" * 16)
    assert read.memory_kernels == (4, 8)
    assert (read.recipe, read.descriptor_name) == ("sha256 of all else", "built-in light")
    assert torch.equal(read.source_descriptor, segment_entry.source_descriptor)


def test_fields_return_where_there_is_no_segment(make_entry, tmp_path):
    entry = make_entry(1, memory_ids=("1" * 32,))
    write_entry(tmp_path, entry)
    read = read_entry(file_of(tmp_path, entry))
    assert read.segment is None
    assert read.memory_ids == ("1" * 32,)
    assert read.recipe == ""


def test_entry_of_a_turn_is_written_as_before(make_entry, tmp_path):
    entry = make_entry(1)
    write_entry(tmp_path, entry)
    with safe_open(file_of(tmp_path, entry), framework="pt") as file:
        assert file.metadata().keys() == {"memory_v2v_entry", "memory_v2v_hashes"}
    read = read_entry(file_of(tmp_path, entry))
    assert (read.segment, read.memory_ids, read.recipe, read.descriptor_name) == (None, (), "", "")


def test_older_versions_find_nothing_unknown(segment_entry, tmp_path):
    write_entry(tmp_path, segment_entry)
    with safe_open(file_of(tmp_path, segment_entry), framework="pt") as file:
        fields = json.loads(file.metadata()["memory_v2v_entry"])
    known = {"version", "parent_id", "is_assumed", "model_name", "num_frames", "turn", "created_s"}
    assert fields.keys() == known | {"prompt", "seed", "mode", "is_pinned"}


PLACE = {"idx": 0, "start": 0, "num_frames": 5, "shot": 0}
FIELDS = {"segment": PLACE, "memory_ids": [], "recipe": "", "descriptor_name": ""}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({**FIELDS, "segment": [0, 0, 5, 0]}, r"wrong or missing \[segment"),
        ({**FIELDS, "segment": {**PLACE, "idx": True}}, r"wrong or missing \[segment\]"),
        ({**FIELDS, "segment": {**PLACE, "start": 1.0}}, r"wrong or missing \[segment\]"),
        ({**FIELDS, "segment": {**PLACE, "hook": 1}}, r"wrong or missing \[segment\]"),
        (
            {**FIELDS, "segment": {**PLACE, "start": -1}},
            "start of a segment got -1, wanted 0 or more",
        ),
        ({**FIELDS, "memory_ids": ["../../etc"]}, r"wrong or missing \[memory_ids\]"),
        ({**FIELDS, "memory_ids": "1"}, r"wrong or missing \[memory_ids\]"),
        ({**FIELDS, "recipe": None}, r"wrong or missing \[recipe\]"),
        ({**FIELDS, "new": 1}, r"wrong or missing \[unknown names\]; update the node pack"),
        ([], "update the node pack"),
    ],
)
def test_wrong_fields_on_disk_are_named(make_entry, tmp_path, fields, reason):
    entry = make_entry(1)
    write_entry(tmp_path, entry)
    path = file_of(tmp_path, entry)
    rewrite(path, texts={KEY: json.dumps(fields)})
    with pytest.raises(ValueError, match=reason):
        read_entry(path)


@pytest.mark.parametrize("kernels", [4, ["4"], [0], [True], None])
def test_wrong_kernels_on_disk_are_named(segment_entry, tmp_path, kernels):
    write_entry(tmp_path, segment_entry)
    path = file_of(tmp_path, segment_entry)
    rewrite(path, texts={"memory_v2v_seen": json.dumps({"kernels": kernels})})
    with pytest.raises(ValueError, match=r"wrong or missing \[kernels\] of its memories"):
        read_entry(path)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((-1, 0, 5), "idx of a segment got -1, wanted 0 or more"),
        ((0, -1, 5), "start of a segment got -1"),
        ((0, 0, 0), "num_frames of a segment got 0, wanted 1 or more"),
        ((0, 0, 5, -2), "shot of a segment got -2"),
    ],
)
def test_wrong_place_is_refused(place, message):
    with pytest.raises(ValueError, match=message):
        Segment(*place)


@pytest.mark.parametrize(
    "change",
    [{"segment": Segment(4, 27, 5, 1)}, {"recipe": "other"}, {"memory_ids": ()}, {"segment": None}],
)
def test_equal_latents_of_two_places_or_recipes_are_two_entries(make_entry, segment_entry, change):
    fields = {
        "segment": segment_entry.segment,
        "recipe": segment_entry.recipe,
        "memory_ids": segment_entry.memory_ids,
    }
    other = make_entry(2, **{**fields, **change})
    assert torch.equal(other.latent, segment_entry.latent)
    assert other.entry_id != segment_entry.entry_id


def test_still_video_keeps_every_segment_in_its_session(make_entry, tmp_path):
    cache = MemoryCache()
    for idx in range(3):
        cache = cache.append(make_entry(idx + 1, seed=7, segment=Segment(idx, idx * 5, 5)))
    save_session(cache, tmp_path / "room")
    loaded = load_session(tmp_path / "room")
    assert loaded.skipped == ()
    assert [entry.segment.idx for entry in loaded.cache.entries] == [
        0,
        1,
        2,
    ]
