"""Senorita-2M's lists and folders."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.clips.clip_files import read_frames
from memv2v_core.training.prepare.config import PrepareConfig, SenoritaOptions
from memv2v_core.training.prepare.edited_clips import collect_edited
from memv2v_core.training.prepare.readers.raw import ClipSize, RawItem
from memv2v_core.training.prepare.readers.senorita import SenoritaReader
from memv2v_core.training.prepare.selection import select_items

CLIP = ClipSize(5, 32, 48)


def _items(root: Path, **options: object) -> dict[str, RawItem]:
    reader = SenoritaReader(root, replace(SenoritaOptions(), **options), CLIP)
    return {item.name: item for item in reader.items()}


def test_every_list_is_read_also_one_of_lists(senorita: Path) -> None:
    assert list(_items(senorita)) == [
        "obj_removal_0000000_cc",
        "obj_removal_0000001_dd",
        "obj_swap_0000000_aa",
        "obj_swap_0000001_bb",
    ]
    only = _items(senorita, lists=("updated_data_obj_removal.json",))
    assert list(only) == ["obj_removal_0000000_cc", "obj_removal_0000001_dd"]


def test_clips_are_found_in_the_renamed_folders(senorita: Path) -> None:
    source, edited = _items(senorita)["obj_removal_0000000_cc"].videos()
    assert (source.role, edited.role) == ("source", "edited")
    # Here the filmed clip is the target.
    assert source.path == senorita / "obj_removal_videos_upload2/2/cc.mp4"
    assert edited.path == senorita / "obj_removal_videos_upload2/2/cc_org.mp4"
    assert source.caption == edited.caption == "Swap the thing for number 2."
    assert source.frames(0).shape == (5, 3, 32, 48)
    plain = _items(senorita, instruction="instruction")["obj_removal_0000000_cc"].videos()
    assert plain[0].caption == "swap 2"


def test_a_longer_clip_is_cut_into_segments(senorita: Path) -> None:
    source, edited = _items(senorita)["obj_removal_0000001_dd"].videos()
    assert source.count_segments is not None
    assert edited.count_segments is not None
    assert (source.count_segments(), edited.count_segments()) == (2, 2)
    whole = read_frames(senorita / "obj_removal_videos_upload/3/dd_org.mp4").frames
    torch.testing.assert_close(source.frames(5), whole[5:10], rtol=0, atol=0)


def test_an_extension_gives_its_new_frames_alone(
    senorita: Path, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    longer = make_clip(tmp_path / "longer" / "obj_swap_0000000_aa.mp4", 7, num_frames=16)
    items = _items(senorita, extended=tmp_path / "longer")
    source, edited, extended = items["obj_swap_0000000_aa"].videos()
    # Otherwise frames that follow the clip would stand twice.
    assert source.count_segments is None
    assert edited.count_segments is None
    assert extended.count_segments is not None
    assert (extended.first, extended.count_segments()) == (5, 2)
    torch.testing.assert_close(
        extended.frames(extended.first), read_frames(longer).frames[5:10], rtol=0, atol=0
    )
    with pytest.raises(ValueError, match="wanted the lengthened clip"):
        items["obj_swap_0000001_bb"].videos()
    make_clip(tmp_path / "longer" / "obj_swap_0000001_bb.mp4", 7, num_frames=9)
    count = items["obj_swap_0000001_bb"].videos()[2].count_segments
    assert count is not None
    with pytest.raises(ValueError, match="got 9 frames, wanted at least 10"):
        count()


def test_a_list_of_names_takes_hashes_paths_and_item_names(
    senorita: Path, tmp_path: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(
        "# chosen\naa\n\nobj_removal_0000000_cc\n./obj_swap_videos/1/bb.mp4\n", encoding="utf-8"
    )
    config = make_config({"kind": "senorita", "root": str(senorita), "names": str(names)})
    chosen = select_items(config, _items(senorita).values())
    assert [item.name for item in chosen] == [
        "obj_removal_0000000_cc",
        "obj_swap_0000000_aa",
        "obj_swap_0000001_bb",
    ]
    names.write_text("zz\n")
    with pytest.raises(ValueError, match="got 1 names, none of them of an item"):
        select_items(config, _items(senorita).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enhanced_instruction": " "}, "no enhanced_instruction"),
        ({"source_video_path": None}, "got None for source_video_path"),
        ({"source_video_path": "../aa_org.mp4"}, "wanted FOLDER/"),
        ({"source_video_path": "/etc/passwd/x"}, "wanted FOLDER/"),
        ({"target_video_path": "./obj_swap_videos/9/zz.mp4"}, "is not below"),
    ],
)
def test_a_broken_edit_is_named(senorita: Path, change: dict[str, object], message: str) -> None:
    path = senorita / "updated_data_obj_swap_videos.json"
    edits = json.loads(path.read_text())
    edits[0] |= change
    path.write_text(json.dumps([*edits, "no edit"]))
    items = [item for name, item in _items(senorita).items() if name.startswith("obj_swap")]
    assert len(items) == 3
    with pytest.raises(ValueError, match=message):
        items[0].videos()
    with pytest.raises(ValueError, match="got None for source_video_path"):
        items[2].videos()
    assert len(items[1].videos()) == 2


@pytest.mark.parametrize(
    ("text", "message"), [("{}", "got no list"), ("[", "is no JSON"), (None, "cannot be read")]
)
def test_a_list_that_cannot_be_used_is_an_error(
    senorita: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (senorita / "other.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        _items(senorita, lists=("other.json",))


def test_edited_clips_are_collected_with_their_texts(
    senorita: Path, tmp_path: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    (senorita / "obj_swap_upload/1/bb.mp4").unlink()
    dataset = {"kind": "senorita", "root": str(senorita)}
    # The lengthened clips may be named before there are any.
    dataset["senorita"] = {"extended": str(tmp_path / "longer")}
    for _ in range(2):
        assert collect_edited(make_config(dataset), tmp_path / "edited") == 3
    assert sorted(path.name for path in (tmp_path / "edited").iterdir()) == [
        "obj_removal_0000000_cc.mp4",
        "obj_removal_0000000_cc.txt",
        "obj_removal_0000001_dd.mp4",
        "obj_removal_0000001_dd.txt",
        "obj_swap_0000000_aa.mp4",
        "obj_swap_0000000_aa.txt",
    ]
    clip = tmp_path / "edited/obj_swap_0000000_aa.mp4"
    assert clip.read_bytes() == (senorita / "obj_swap_upload/0/aa.mp4").read_bytes()
    assert clip.with_suffix(".txt").read_text() == "Swap the thing for number 0."


def test_data_without_edits_has_none_to_collect(
    multicam: Path, tmp_path: Path, make_config: Callable[..., PrepareConfig]
) -> None:
    config = make_config({"kind": "multicam_video", "root": str(multicam)})
    with pytest.raises(ValueError, match="got no clips of edits"):
        collect_edited(config, tmp_path / "edited")
