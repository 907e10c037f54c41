"""A session without a name is named after its clip, and touches no session of another kind."""

import io
from pathlib import Path

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.session_names import is_session_name, session_name_like
from memv2v_core.cache.storage import save_session
from memv2v_core.cameras.trajectory import static_trajectory

MODEL, SHAPE = "built-in: text_edit", (16, 4, 4)


@pytest.fixture
def name_of(comfy_api):
    """The session of a clip, and the line about it, for turns of `MODEL` of this shape."""
    from memory_v2v.nodes.host.sessions.clip_names import session_for

    def of(session: str = "", video=None, images=None, shape=SHAPE) -> tuple[str, str]:
        name, lines = session_for(session, video, images, MODEL, shape)
        return name, "\n".join(lines)

    return of


@pytest.fixture
def video_of(comfy_api):
    """A VIDEO of a file."""
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile


@pytest.fixture
def save(comfy_api):
    """Saves a session of one turn of this shape."""
    from memory_v2v.nodes.host.sessions.folders import folder_of

    def saved(name: str, shape: tuple[int, int, int]) -> None:
        latent = torch.zeros(shape[0], 1, *shape[1:])
        entry = MemoryEntry.of(latent, static_trajectory(1), MODEL, 1, turn=1, created_s=1.0)
        save_session(MemoryCache().append(entry), folder_of(name))

    return saved


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("kitchen_01", "kitchen_01"),
        ("My holiday (2026) v1.2", "My_holiday_2026_v1_2"),
        ("K\u00fcche", "Kuche"),
        ("../../etc/passwd", "etc_passwd"),
        ("x" * 200, "x" * 48),
        ("...", ""),
        ("\u53f0\u6240", ""),
    ],
)
def test_a_name_keeps_what_a_folder_may_be_called(stem: str, name: str) -> None:
    assert session_name_like(stem) == name
    assert not name or is_session_name(name)


def test_names_that_lose_letters_and_devices_of_windows_get_a_hash() -> None:
    assert is_session_name(session_name_like("con"))
    kitchen, bedroom = "\u53f0\u6240 01", "\u5bdd\u5ba4 01"
    assert session_name_like(kitchen) != session_name_like(bedroom)
    assert session_name_like(kitchen) == session_name_like(kitchen)
    assert session_name_like(kitchen).startswith("01_")


def test_a_file_gives_its_name_and_its_trim(name_of, video_of) -> None:
    name, line = name_of(video=video_of("/clips/kitchen.mp4"))
    assert name == "kitchen"
    assert line == "session 'kitchen': named after the clip, because session is empty"
    names = [
        name_of(video=video_of("/clips/kitchen.mp4", **trim))[0]
        for trim in ({"start_time": 2.5}, {"duration": 3.0}, {"start_time": 2.5, "duration": 3.0})
    ]
    assert names == ["kitchen_from_2.50s", "kitchen_0.00s-3.00s", "kitchen_2.50s-5.50s"]
    assert all(map(is_session_name, names))


def test_a_session_that_is_named_is_taken_as_it_is(name_of, video_of) -> None:
    assert name_of("mine", video_of("/clips/kitchen.mp4")) == ("mine", "")
    with pytest.raises(ValueError, match="session name got 'a/b'"):
        name_of("a/b", video_of("/clips/kitchen.mp4"))


def test_frames_give_the_same_name_for_the_same_pictures(name_of) -> None:
    values = torch.randint(1, 255, (6, 8, 8, 3), generator=torch.Generator().manual_seed(0))
    clip = values / 255
    name, _ = name_of(images=clip)
    assert name == name_of(images=clip + 1e-6)[0]
    assert name != name_of(images=clip.flip(0))[0]
    assert name != name_of(images=clip[:5])[0]
    assert is_session_name(name)
    assert name.startswith("clip_")


def test_a_video_without_a_lasting_name_is_named_by_its_content(
    comfy_api, name_of, video_of
) -> None:
    folder = Path(comfy_api.folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for idx, data in enumerate((b"one clip", b"one clip", b"another")):
        path = folder / f"of_one_run_{idx}.mp4"
        path.write_bytes(data)
        names += [
            name_of(video=video_of(str(path)))[0],
            name_of(video=video_of(io.BytesIO(data)))[0],
        ]
    assert len(set(names[:4])) == 1
    assert len(set(names)) == 2


def test_a_session_of_another_size_keeps_its_turns(name_of, video_of, save) -> None:
    clip = video_of("/clips/kitchen.mp4")
    save("kitchen", SHAPE)
    assert name_of(video=clip)[0] == "kitchen"
    name, line = name_of(video=clip, shape=(16, 8, 8))
    assert name == "kitchen_2"
    assert line.endswith("; 'kitchen' holds turns of another model or size")
    save("kitchen_2", (16, 2, 2))
    assert name_of(video=clip, shape=(16, 8, 8))[0] == "kitchen_3"


def test_edit_long_video_without_a_name_resumes_and_says_where(run) -> None:
    first, again = run(session=""), run(session="")
    assert "named after the clip" in first.report
    assert first.cache.session.startswith("clip_")
    assert first.sampled
    assert again.sampled == []
    assert again.cache.session == first.cache.session
