"""Which program wrote a file."""

from pathlib import Path

import pytest

from memv2v_core.cameras.formats.detection import camera_names, load_cameras


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "", "a.json got nothing in it, wanted a camera path"),
        ("a.txt", " \n", "a.txt got nothing in it"),
        ("a.json", "[]", "got JSON of a list of 0 without cameras, wanted one of: transforms.json"),
        ("a.json", "null", "got JSON of nothing without cameras"),
        ("a.json", "3", "got JSON of 3 without cameras"),
        (
            "a.json",
            '{"fov": 3, "canvas": []}',
            "got an object with canvas, 1 unknown key, wanted one of",
        ),
        ("a.json", '[{"x": 3}]', "got a list of objects with 1 unknown key, wanted one of"),
        ("a.json", "frame 1", "got no JSON"),
        ("a.json", "[" * 100_000, "got no JSON .lists nested too deeply"),
        ("a.json", "[" + "9" * 5000 + "]", "got no JSON .a whole number of thousands of digits"),
        (
            "a.json",
            '[{"w2c": ' + "[" * 400 + "]" * 400 + "}]",
            "more than 64 values or lists in w2c",
        ),
        ("a.json", '[{"w2c": ' + "[" * 60 + "]" * 60 + "}]", "0 numbers in w2c of frame 0"),
        ("a.txt", '{"x": 3}', "got an object with 1 unknown key"),
        (
            "a.txt",
            "hello\nworld",
            "got a text whose first line .1. has 5 characters, wanted one of: .*COLMAP",
        ),
        ("a.bin", "x", "got a text whose first line .1. has 1 characters"),
    ],
)
def test_unknown_files_say_what_was_understood_and_what_they_hold(
    tmp_path: Path, name: str, text: str, message: str
):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_cameras(tmp_path / name)


def test_the_message_lists_every_format(tmp_path: Path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match="wanted one of") as caught:
        load_cameras(tmp_path / "a.json")
    known = ("Blender", "camera_path", "ns-export", "ReCamMaster", "OmniCam", "OpenCV")
    assert all(word in str(caught.value) for word in (*known, "RealEstate10K", "COLMAP"))


def test_only_files_that_list_their_cameras_give_names(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"frame0": {"cam01": "", "cam02": ""}}')
    (tmp_path / "b.json").write_text("[]")
    assert camera_names(tmp_path / "a.json") == ("cam01", "cam02")
    assert camera_names(tmp_path / "b.json") == ()
    assert camera_names(tmp_path / "images.bin") == ()
