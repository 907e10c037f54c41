"""Reading what was written, in pictures and sound."""

from fractions import Fraction
from pathlib import Path

import torch

RATE = Fraction(24000, 1001)
SOUND_HZ = 44100
NUM_FRAMES, HEIGHT, WIDTH = 20, 48, 70


def opened(file: str, **window: float):
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.reading import open_clip

    video = InputImpl.VideoFromFile(file, **window)
    return video.get_components(), open_clip(None, video, RATE, None)


def frames_of(clip, start: int = 0, stop: int | None = None) -> torch.Tensor:
    return torch.cat(list(clip.reader()(start, clip.num_frames if stop is None else stop)))


def sound_of(path: str | Path) -> torch.Tensor | None:
    """Samples (C, n) of a file; older ComfyUIs read only the first of them."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        resampler = av.AudioResampler(format="fltp")
        frames = [
            piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)
        ]
    return torch.cat([torch.from_numpy(frame.to_ndarray()) for frame in frames], dim=1)


def written(clip, path: Path):
    """What ComfyUI reads in the file that the clip's frames are written to."""
    from comfy_api.latest import InputImpl

    from memory_v2v.nodes.host.footage.writing import VideoWriter

    with VideoWriter(path, clip.size, clip) as writer:
        for piece in frames_of(clip).split(7):
            writer.add(piece)
    return InputImpl.VideoFromFile(str(path)).get_components()


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """Correlation of two sounds; measured 0.9999 of a coded one, and 0.95 where it is three samples
    late.
    """
    count = min(one.shape[-1], other.shape[-1])
    return float(torch.corrcoef(torch.stack([one[0, :count], other[0, :count]]))[0, 1])
