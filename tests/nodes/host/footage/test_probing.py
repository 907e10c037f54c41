"""What is said of a clip, and when."""

import os
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy
import pytest
import torch
from instruments.clips import frames_of
from instruments.footage import (
    BT2020,
    HLG,
    Film,
    Track,
    beeps,
    by_fitting,
    by_segments,
    make_film,
    moving_pictures,
    psnr_db,
)

FPS = Fraction(25)


@pytest.fixture
def odd_film(tmp_path: Path) -> Path:
    """HDR with a late sound and a hole in it."""
    colour = {"color_primaries": BT2020, "color_trc": HLG, "colorspace": BT2020, "color_range": 1}
    track = Track(beeps(0.1, 0.3, seconds=0.5), start_s=0.1, jump=(9600, 0.2))
    film = Film(moving_pictures(), pixel_format="yuv420p10le", colour=colour, tracks=(track,))
    return make_film(tmp_path / "odd.mkv", film)


def test_what_the_head_tells_is_said_before_a_frame_is_decoded(comfy_api, odd_film: Path) -> None:
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    events: list[tuple[str, ...] | str] = []

    def watch(chunks) -> None:
        events.append("decoding")
        for _ in chunks:
            pass

    video = InputImpl.VideoFromFile(str(odd_film))
    clip = open_clip(None, video, FPS, None, watch, events.append)
    assert [type(event) for event in events] == [tuple, str, tuple]
    first, _, last = events
    assert any("HDR (HLG)" in note for note in first)
    assert not any("jump" in note for note in first)
    assert any("the times of the sound jump 1 times" in note for note in last)
    assert any("the sound begins 0.08 s after" in note for note in last)
    assert clip.notes == last


def test_a_plain_clip_gives_no_word(comfy_api, file: str) -> None:
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    assert open_clip(None, InputImpl.VideoFromFile(file), FPS, None).notes == ()


def test_a_file_in_memory_is_read_as_the_one_on_disk(comfy_api, odd_film: Path) -> None:
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    clips = [
        open_clip(None, InputImpl.VideoFromFile(source), FPS, None)
        for source in (str(odd_film), BytesIO(odd_film.read_bytes()))
    ]
    assert clips[0].notes == clips[1].notes
    assert torch.equal(frames_of(clips[0]), frames_of(clips[1]))
    sounds = [clip.sound.waveform()["waveform"] for clip in clips]
    assert torch.equal(sounds[0], sounds[1])


def test_transparent_frames_are_shown_on_black_and_that_is_said(comfy_api) -> None:
    from memory_v2v.nodes.host.footage.reading import open_clip

    images = torch.rand(3, 8, 8, 4)
    clip = open_clip(images, None, FPS, None)
    assert torch.allclose(frames_of(clip).movedim(1, -1), images[..., :3] * images[..., 3:])
    assert "transparent parts are shown on black" in clip.notes[0]


def test_a_graph_with_a_batch_manager_is_warned(comfy_api) -> None:
    from comfy_execution.graph import DynamicPrompt

    from memory_v2v.nodes.host.batches import batch_notes

    class Hidden:
        def __init__(self, *kinds: str) -> None:
            nodes = {str(i): {"class_type": kind, "inputs": {}} for i, kind in enumerate(kinds)}
            self.dynprompt = DynamicPrompt(nodes)

    assert batch_notes(Hidden("LoadVideo", "MemV2VEditLongVideo")) == ()
    (note,) = batch_notes(Hidden("VHS_LoadVideo", "VHS_BatchManager", "MemV2VEditLongVideo"))
    assert "Meta Batch Manager" in note
    assert batch_notes(None) == ()


@pytest.fixture
def real_clip() -> Path:
    folder = os.environ.get("MEMV2V_TEST_DATA")
    path = Path(folder or "", "recam_4.mp4")
    if folder is None or not path.exists():
        pytest.skip("set MEMV2V_TEST_DATA to the folder with recam_4.mp4")
    return path


def test_a_real_clip_is_equal_in_both_ways(comfy_api, real_clip: Path, tmp_path: Path) -> None:
    from comfy_api.latest import InputImpl

    video = InputImpl.VideoFromFile(str(real_clip), start_time=0.2, duration=0.8)
    both: dict[str, Callable] = {"fit": by_fitting, "segments": by_segments}
    one, other = (
        way(comfy_api, video, tmp_path / f"{name}.mp4").shown for name, way in both.items()
    )
    assert one.pictures.shape == other.pictures.shape
    assert one.times_s == other.times_s
    assert one.tags == other.tags
    assert psnr_db(one.pictures, other.pictures) > 38
    shift = one.pictures.mean((0, 1, 2)) - other.pictures.mean((0, 1, 2))
    assert numpy.abs(shift).max() < 0.5
    assert (one.sound is None) == (other.sound is None)
    if one.sound is not None:
        assert numpy.array_equal(one.sound, other.sound)


def test_transparency_of_vp9_is_said_to_be_lost(comfy_api, tmp_path: Path) -> None:
    import av
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    path = tmp_path / "film.webm"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libvpx-vp9", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuva420p"
        stream.metadata["alpha_mode"] = "1"
        for picture in moving_pictures(3):
            opaque = numpy.full((48, 64, 1), 255, numpy.uint8)
            rgba = numpy.concatenate((picture, opaque), axis=-1)
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    clip = open_clip(None, InputImpl.VideoFromFile(str(path)), FPS, None)
    assert any("transparency (VP8, VP9) is not read" in note for note in clip.notes)
