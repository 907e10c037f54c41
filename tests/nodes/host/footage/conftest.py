"""A clip with sound, as frames and as a file."""

import math
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from instruments.clips import HEIGHT, NUM_FRAMES, SOUND_HZ, WIDTH
from instruments.footage import Film, Passed, by_fitting, by_segments, make_film


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Frames (F, H, W, 3), each of a grey of its own beside a picture that moves."""
    frames = (
        torch.linspace(0.1, 0.9, NUM_FRAMES)[:, None, None, None]
        .expand(-1, HEIGHT, WIDTH, 3)
        .clone()
    )
    for i in range(NUM_FRAMES):
        frames[i, 10:30, i : i + 20] = torch.tensor((0.8, 0.3, 0.2))
    return frames


@pytest.fixture(scope="module")
def sound() -> dict:
    """A second of two rising tones: what is shifted against it is unlike it."""
    seconds = torch.arange(SOUND_HZ) / SOUND_HZ
    tones = [
        torch.sin(2 * math.pi * (hertz * seconds + 300 * seconds**2)) / 2 for hertz in (200, 300)
    ]
    return {"waveform": torch.stack(tones)[None], "sample_rate": SOUND_HZ}


@pytest.fixture(scope="module")
def file(
    comfy_api, images: torch.Tensor, sound: dict, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The clip in an MP4 file with sound, as ComfyUI's own Save Video writes it."""
    from comfy_api.latest import InputImpl, Types

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    parts = Types.VideoComponents(images=images, audio=sound, frame_rate=Fraction(24))
    InputImpl.VideoFromComponents(parts).save_to(str(path))
    return str(path)


@pytest.fixture(params=[by_fitting, by_segments], ids=["fit", "segments"])
def passed(request: pytest.FixtureRequest, comfy_api, tmp_path: Path) -> Callable[..., Passed]:
    """A film, or a file, after one of the two ways through the nodes; `window` trims it."""
    from comfy_api.latest import InputImpl

    def run(film: Film | Path, name: str = "film.mkv", **window: float) -> Passed:
        path = film if isinstance(film, Path) else make_film(tmp_path / name, film)
        video = InputImpl.VideoFromFile(str(path), **window)
        return request.param(comfy_api, video, tmp_path / "result.mp4")

    return run


@pytest.fixture(scope="session")
def case() -> Callable[[str], Path]:
    """A small file that broke the pack, where the folder of such files is at hand."""
    folder = os.environ.get("MEMV2V_TEST_DATA")

    def find(name: str) -> Path:
        path = Path(folder or "", "cases", "clips", name)
        if folder is None or not path.exists():
            pytest.skip(f"set MEMV2V_TEST_DATA to the folder with cases/clips/{name}")
        return path

    return find
