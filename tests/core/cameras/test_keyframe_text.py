import json

import pytest

from memv2v_core.cameras.keyframe_text import MAX_CHARACTERS, keyframes_text, parse_keyframes
from memv2v_core.cameras.keyframes import NUMBERS, Keyframe, KeyframedPath


def test_what_is_written_is_read_back_equal() -> None:
    numbers = {name: 0.1 * (idx + 1) for idx, name in enumerate(NUMBERS)}
    path = KeyframedPath(
        (Keyframe(0.0), Keyframe(1 / 3, **numbers, ease="ease_in"), Keyframe(1.0, yaw_deg=-12)),
        (0.42, 0.0, 0.58, 1.0),
        speed=0.7,
        pivot=2.5,
    )
    assert parse_keyframes(keyframes_text(path)) == path


def test_what_is_left_out_has_a_default() -> None:
    path = parse_keyframes('{"keyframes": [{"time": 0}, {"time": 1, "yaw_deg": 30}]}')
    assert path == KeyframedPath((Keyframe(0.0), Keyframe(1.0, yaw_deg=30.0)))


def with_keyframe(**changes: object) -> str:
    return json.dumps({"keyframes": [{"time": 0}, {"time": 1, **changes}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pan_left", "keyframes got no JSON .*, wanted a path; edit the path in Camera Trajectory"),
        ("[" * 50_000, "keyframes got no JSON"),
        ("9" * 5000, "keyframes got no JSON"),
        (" " * (MAX_CHARACTERS + 1), "keyframes got 65537 characters, wanted at most 65536"),
        ("[]", "keyframes got a list, wanted a JSON object"),
        ("{}", "keyframes got None, wanted a list of 1 to 64"),
        ('{"keyframes": []}', "keyframes got 0 of them, wanted a list of 1 to 64"),
        (json.dumps({"keyframes": [{"time": 0}] * 65}), "keyframes got 65 of them"),
        ('{"keyframes": [{"time": 0}], "version": 2}', "got 2, wanted 1; update the pack"),
        ('{"keyframes": [{"time": 0}], "version": true}', "got True, wanted 1"),
        ('{"keyframes": [{"time": 0}], "loop": 1}', "keyframes got 'loop', wanted only version"),
        ('{"keyframes": [{"time": 0, "time": 1}]}', "'time' is given twice"),
        ('{"keyframes": [{"yaw_deg": 0}]}', "keyframe 1 got no time, wanted one in 0 to 1"),
        ('{"keyframes": [7]}', "keyframe 1 got 7, wanted a JSON object"),
        (with_keyframe(yaw=3), "keyframe 2 got 'yaw', wanted only time, yaw_deg"),
        (with_keyframe(yaw_deg="3"), "keyframe 2: yaw_deg got '3', wanted a number in -720 to 720"),
        (with_keyframe(yaw_deg=True), "keyframe 2: yaw_deg got True, wanted a number"),
        (with_keyframe(dolly=10**400), "keyframe 2: dolly got a number of more than 60 digits"),
        (with_keyframe(dolly=float("nan")), "keyframe 2: dolly got nan, wanted a number"),
        (with_keyframe(dolly=float("inf")), "keyframe 2: dolly got inf, wanted a number"),
        (with_keyframe(dolly=[1]), "keyframe 2: dolly got a list, wanted a number"),
        (with_keyframe(ease="bounce"), "keyframe 2: ease got 'bounce', wanted one of smooth"),
        (with_keyframe(ease=3), "keyframe 2: ease got 3, wanted a name"),
        (with_keyframe(time=0), "keyframe 2 got time 0, wanted more than 0"),
        ('{"keyframes": [{"time": 0}], "curve": [0, 0, 1]}', "curve got a list, wanted a name or"),
        (
            '{"keyframes": [{"time": 0}], "curve": [0, 2, 1, 1]}',
            "curve got 2, wanted a number in 0",
        ),
        ('{"keyframes": [{"time": 0}], "speed": null}', "speed got None, wanted a number in 0.05"),
    ],
)
def test_a_text_that_is_no_path_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_keyframes(text)
