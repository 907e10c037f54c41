"""A clip with sound, as frames and as a file."""

import math
from fractions import Fraction

import pytest
import torch

RATE = Fraction(24000, 1001)
SOUND_HZ = 44100
NUM_FRAMES, HEIGHT, WIDTH = 20, 48, 70
M_PERTURB = -6  # of glibc's mallopt


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
