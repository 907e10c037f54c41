"""What the head of a file states is believed only where it can be: before memory is taken."""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy
import pytest
from instruments import broken_clips
from instruments.broken_clips import boxes
from instruments.footage import Film, Track, beeps, make_film, moving_pictures

SECOND = 1_000_000


def opened(source: Path | BytesIO):
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    source = str(source) if isinstance(source, Path) else source
    return open_clip(None, InputImpl.VideoFromFile(source), Fraction(25), None)


def gif(columns: int, rows: int) -> bytes:
    """A few bytes: two frames of one pixel on a canvas of any size."""
    frame = b"!\xf9\x04\x04\x0a\0\0\0," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return (
        b"GIF89a" + struct.pack("<HHBBB", columns, rows, 0x80, 0, 0) + bytes(6) + 2 * frame + b";"
    )


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """A small file with sound."""

    def make(name: str, codec: str = "libx264", sound: str = "aac") -> Path:
        pixels, options = ("yuv420p", {"crf": "4"}) if codec == "libx264" else ("rgb24", {})
        track = Track(beeps(0.1, seconds=0.48), codec=sound)
        made = Film(moving_pictures(12), codec, pixels, options=options, tracks=(track,))
        return make_film(tmp_path / name, made)

    return make


def test_a_canvas_of_a_small_file_fills_no_memory(comfy_api, tmp_path: Path) -> None:
    path = tmp_path / "canvas.gif"
    path.write_bytes(gif(8000, 8000))
    assert path.stat().st_size < 100
    with pytest.raises(ValueError, match="canvas.gif holds no frame .* of at most 35651584 pixels"):
        opened(path)
    path.write_bytes(gif(400, 300))
    assert opened(path).size == (300, 400)


def test_pictures_that_are_too_large_are_named(comfy_api, tmp_path: Path) -> None:
    path = tmp_path / "flat.mp4"
    planes = numpy.zeros((4352 * 3 // 2, 8704), numpy.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 8704, 4352, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        output.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        output.mux(stream.encode(None))
    assert path.stat().st_size < SECOND
    with pytest.raises(ValueError, match="flat.mp4 says that its pictures are 8704x4352, wanted"):
        opened(path)


def test_pixels_that_are_not_square_count_too(comfy_api, tmp_path: Path) -> None:
    picture = moving_pictures(1, 2048, 2048)
    made = Film(picture, "png", "rgb24", options={}, pixel_aspect=Fraction(16))
    path = make_film(tmp_path / "wide.mov", made)
    with pytest.raises(ValueError, match="wide.mov says that its pictures are 32768x2048, wanted"):
        opened(path)


def test_a_few_large_frames_are_held_at_once() -> None:
    from memory_v2v.nodes.host.footage.reading import _chunks

    def convert(size: tuple[int, int]) -> numpy.ndarray:
        return numpy.zeros((*size, 3), numpy.uint8)

    large, small = [(4320, 7680)] * 2, [(48, 64)] * 9
    assert [len(piece) for piece in _chunks(iter(large), convert)] == [1, 1]
    assert [len(piece) for piece in _chunks(iter(small), convert)] == [8, 1]


def patched(path: Path, changes: dict[bytes, tuple[int, tuple[int, ...]]]) -> bytes:
    """The file with numbers of 32 bits in the first box of each name, at a place in it."""
    data, left = bytearray(path.read_bytes()), dict(changes)
    for name, start, _ in boxes(path.read_bytes()):
        if name in left:
            place, numbers = left.pop(name)
            struct.pack_into(f">{len(numbers)}I", data, start + place, *numbers)
    assert not left
    return bytes(data)


MANY = 80_000_000
ONE_SIZE = {b"stsz": (4, (1, MANY)), b"stsc": (12, (MANY,)), b"stts": (8, (MANY, 1))}


@pytest.mark.parametrize(
    ("name", "codec", "sound", "changes"),
    [
        ("film.mp4", "libx264", "aac", ONE_SIZE),
        ("film.mov", "rawvideo", "pcm_s16le", ONE_SIZE),
        ("film.mp4", "libx264", "aac", {b"stsz": (4, (1, MANY))}),
        ("film.mov", "rawvideo", "pcm_s16le", {b"stsc": (12, (MANY,))}),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
def test_samples_without_bytes_are_refused_unopened(
    comfy_api,
    film: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    codec: str,
    sound: str,
    changes: dict,
    is_packed: bool,
) -> None:
    path = film(name, codec, sound)
    assert opened(path).num_frames == 12
    data = patched(path, changes)
    data = packed(data) if is_packed else data
    path.write_bytes(data)
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("the file was opened"))
    for source in (path, BytesIO(data)):
        with pytest.raises(ValueError, match="says that it has [0-9]+ samples, wanted no more"):
            opened(source)


def packed(data: bytes) -> bytes:
    """A QuickTime file whose head is compressed."""
    start = data.index(b"moov") - 4
    stop = start + int.from_bytes(data[start : start + 4], "big")
    head = struct.pack(">I", stop - start) + zlib.compress(data[start:stop])
    parts = struct.pack(">I4s4s", 12, b"dcom", b"zlib") + struct.pack(
        ">I4s", len(head) + 8, b"cmvd"
    )
    inner = struct.pack(">I4s", len(parts) + len(head) + 8, b"cmov") + parts + head
    return data[:start] + struct.pack(">I4s", len(inner) + 8, b"moov") + inner + data[stop:]


def test_samples_of_a_stream_in_pieces_are_counted_too(comfy_api, tmp_path: Path) -> None:
    path = tmp_path / "pieces.mp4"
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(str(path), "w", options=options) as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in moving_pictures(12):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert opened(path).num_frames == 12
    data = bytearray(path.read_bytes())
    place = data.index(b"trun") + 4
    # Without a size or a length of each sample.
    struct.pack_into(">II", data, place, 0, MANY)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"pieces.mp4 says that it has {MANY} samples, wanted no"):
        opened(path)


def test_a_rate_of_sound_that_cannot_be_is_left_out(
    comfy_api, film: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host.footage import tracks

    path = film("film.mp4")
    facts = {"index": 1, "codec": "aac", "rate": 2**31 - 1, "channels": 1, "layout": "mono"}
    lines = f"{json.dumps(facts)}\n{json.dumps({'index': 1, 'survived': True})}\n".encode()
    done = subprocess.CompletedProcess([], 0, stdout=lines)
    monkeypatch.setattr(tracks.subprocess, "run", lambda *_, **__: done)
    clip = opened(path)
    assert clip.sound is None
    assert any("1 channels of 2147483647 samples a second" in note for note in clip.notes)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile film.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfilm.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    ],
    ids=["concat", "hls", "sdp"],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8"])
def test_a_list_of_other_files_is_no_clip(
    comfy_api, film: Callable[..., Path], tmp_path: Path, name: str, text: str
) -> None:
    film("film.mp4")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name} could not be opened .*wanted a video file") as e:
        opened(tmp_path / name)
    # Its folder and its words stay out.
    assert str(tmp_path) not in str(e.value)


def test_times_that_leap_name_the_file(comfy_api, tmp_path: Path) -> None:
    times = [0, 0.04, 4000, 4000.04, 4000.08]
    film = Film(moving_pictures(5), "ffv1", "yuv444p", times_s=times, options={})
    with pytest.raises(ValueError, match="video leap.mkv got frame times that jump on by"):
        opened(make_film(tmp_path / "leap.mkv", film))


@pytest.mark.skipif(sys.platform != "linux", reason="the measure of memory needs Linux")
def test_broken_heads_give_a_clip_or_one_error(comfy_api, film: Callable[..., Path]) -> None:
    path = film("film.mp4")
    command = [sys.executable, broken_clips.__file__, str(path), "0", "12", str(comfy_api.comfyui)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    whole, *results = [json.loads(line) for line in done.stdout.splitlines() if line[:2] == '{"']
    assert whole["end"] == "read"
    assert len(results) == 12
    assert {result["end"] for result in results} == {"read", "refused"}
    assert max(result["mib"] for result in results) < 1024
