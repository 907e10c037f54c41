"""Videos of methods: found by name, listed where they are missing, refused before anything runs."""

from fractions import Fraction

import pytest

from memv2v_core.clips.clip_files import look_at
from memv2v_core.evaluation.scoring.videos import find_videos, require_times

from .conftest import CLIPS, SHAPE, SUITE, Place, grey


def test_clips_are_those_of_the_first_folder(place: Place):
    found = find_videos(place.suite(SUITE))
    assert [(one.method, one.clip) for one in found] == [
        (method, clip) for method in ("plain", "ours") for clip in CLIPS
    ]
    look = found[0].looks[0]
    assert (look.num_frames, look.height, look.width) == (SHAPE[0], *SHAPE[2:])
    assert look.rate == Fraction(8)
    frames = found[5].frames(None)
    assert frames.shape == (2, *SHAPE)
    for turn in (1, 2):
        assert abs(frames[turn - 1].mean() - grey("ours", "b", turn)) < 1e-6


def test_clips_may_lie_in_folders(place: Place):
    for clip in CLIPS:
        for turn in (1, 2):
            place.video(f"deep/{clip}/t/{turn}.mp4", 0.2)
    text = "methods: [{name: deep, folder: deep, file: '{clip}/t/{turn}.mp4'}]\n"
    found = find_videos(place.suite(f"{text}metrics: [psnr]\nturns: [1, 2]"))
    assert [one.clip for one in found] == list(CLIPS)


def test_everything_that_is_missing_is_listed_at_once(place: Place):
    for name in ("ours/b_turn2.mp4", "ours/d_turn1.mp4"):
        (place.folder / name).unlink()
    with pytest.raises(ValueError, match="2 videos are missing") as caught:
        find_videos(place.suite(SUITE))
    assert "b_turn2.mp4" in str(caught.value)
    assert "d_turn1.mp4" in str(caught.value)


def test_a_pattern_may_name_the_clip_twice_or_start_in_the_folder_itself(place: Place):
    for clip in CLIPS:
        for turn in (1, 2):
            place.video(f"twice/{clip}/{clip}_turn{turn}.mp4", 0.2)
    text = SUITE.replace("folder: plain", "folder: twice, file: './{clip}/{clip}_turn{turn}.mp4'")
    found = find_videos(place.suite(text))
    assert [one.clip for one in found if one.method == "plain"] == list(CLIPS)


def test_an_empty_folder_is_named(place: Place):
    with pytest.raises(ValueError, match="nothing.*no video named"):
        find_videos(place.suite(SUITE.replace("folder: plain", "folder: nothing")))


@pytest.mark.parametrize(
    ("shape", "rate", "named"),
    [
        ((4, *SHAPE[1:]), 8, "4 frames of 24x16"),
        ((*SHAPE[:2], 32, 24), 8, "24x32"),
        (SHAPE, 12, "at 12 a second"),
    ],
)
def test_turns_of_another_length_size_or_rate_are_refused(place: Place, shape, rate, named):
    place.video("ours/c_turn2.mp4", 0.5, shape, rate)
    with pytest.raises(ValueError, match=named) as caught:
        find_videos(place.suite(SUITE))
    assert "c_turn2.mp4" in str(caught.value)
    assert "add a fit" in str(caught.value)


def test_a_fit_brings_foreign_videos_to_one_shape(place: Place):
    place.video("ours/c_turn2.mp4", 51 / 255, (9, 3, 48, 40), 30)
    suite = place.suite(f"{SUITE}\nfit: {{num_frames: 4, height: 8, width: 12}}")
    by_clip = {(one.method, one.clip): one for one in find_videos(suite)}
    frames = by_clip["ours", "c"].frames(suite.fit)
    assert frames.shape == (2, 4, 3, 8, 12)
    assert abs(frames[1] - 51 / 255).max() < 1e-5
    longer = place.suite(f"{SUITE}\nfit: {{num_frames: 6, height: 8, width: 12}}")
    with pytest.raises(ValueError, match="got 5 frames, wanted the 6"):
        find_videos(longer)


def test_a_file_that_is_no_video_is_named(place: Place):
    path = place.folder / "ours" / "a_turn1.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(ValueError, match="a_turn1.mp4 cannot be read"):
        look_at(path)
    with pytest.raises(ValueError, match="1 clips cannot be scored"):
        find_videos(place.suite(SUITE))


def test_another_file_of_the_same_name_has_another_fingerprint(place: Place):
    suite = place.suite(SUITE)
    before = {(one.method, one.clip): one.fingerprint for one in find_videos(suite)}
    place.video("ours/c_turn2.mp4", 0.9)
    after = {(one.method, one.clip): one.fingerprint for one in find_videos(suite)}
    assert {key for key in before if before[key] != after[key]} == {("ours", "c")}


def test_times_stand_beside_the_first_turn(place: Place):
    suite = place.suite(SUITE)
    found = find_videos(suite)
    with pytest.raises(ValueError, match="needs 8 files with times: .*a_turn1.json"):
        require_times(found)
    for method in ("plain", "ours"):
        for clip in CLIPS:
            path = place.folder / method / f"{clip}_turn1.json"
            path.write_text('{"seconds": [1.5, 2]}', encoding="utf-8")
    found = find_videos(suite)
    require_times(found)
    assert found[0].seconds == (1.5, 2.0)


@pytest.mark.parametrize(
    "text", ['{"seconds": [1]}', '{"seconds": [1, -2]}', '{"seconds": ["a", 2]}', "[]", "{", "{}"]
)
def test_a_file_of_times_that_says_something_else_is_named(place: Place, text: str):
    (place.folder / "plain" / "a_turn1.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="a_turn1.json"):
        require_times(find_videos(place.suite(SUITE)))
