"""The best frames of a memory, where a base sees a few frames of it in place of the whole video.

C channels, T latent frames, H rows and W columns of latents.
"""

import torch
import torch.nn.functional as F

from ..cameras.trajectory import CameraTrajectory
from .video_fov import VideoFovConfig, video_fov_masks

# Coarse: frames of one video are compared, and each of them covers a thousand points.
_GRID = VideoFovConfig(num_rows=36, num_columns=72)
# Latent pixels a side that become one feature.
_POOL = 4


def frames_by_view(
    target: CameraTrajectory, memory: CameraTrajectory, count: int
) -> tuple[int, ...]:
    """The `count` frames of `memory` that together see most of the target's view, in their order.

    target, memory: one camera per latent frame, in one world space.
    Our choice: the first frame sees most, each next one adds most to it.
    """
    each = [memory.frames((i,)) for i in range(memory.num_frames)]
    wanted, *seen = video_fov_masks([target, *each], target, _GRID).flatten(1)
    # Alike to 1 where a frame sees a point that the target sees.
    return _covering((torch.stack(seen) & wanted).double(), count)


def frames_by_source(target: torch.Tensor, memory: torch.Tensor, count: int) -> tuple[int, ...]:
    """The `count` frames of a memory whose sources look most like the target's source.

    target, memory: latents (C, T, H, W) of the sources, of the same C, H and W. Each frame of the
    target looks for the chosen frame that is most alike, by the cosine of their features.
    Our choice: the first frame suits the whole target best, each next one adds most to it.
    """
    first, second = (_features(latent) for latent in (target, memory))
    mean = torch.cat((first, second)).mean(0)
    alike = F.normalize(second - mean, dim=1) @ F.normalize(first - mean, dim=1).mT
    # From -1..1 to 0..1, so that a frame that is unlike adds nothing.
    return _covering((alike + 1) / 2, count)


def evenly_spread(num_frames: int, count: int) -> tuple[int, ...]:
    """`count` of the frames 0 to num_frames - 1, the first among them, evenly spread."""
    count = min(count, num_frames)
    return tuple(round(i * num_frames / count) for i in range(count))


def _features(latent: torch.Tensor) -> torch.Tensor:
    frames = latent.double().movedim(1, 0)  # (T, C, H, W)
    return F.avg_pool2d(frames, _POOL, ceil_mode=True).flatten(1)


def _covering(gains: torch.Tensor, count: int) -> tuple[int, ...]:
    """Rows of `gains` (frames, places) whose largest values sum to most, chosen one by one."""
    best, chosen = torch.zeros(gains.shape[1]).to(gains), list[int]()
    while len(chosen) < min(count, len(gains)):
        total = torch.maximum(gains, best).sum(1)
        # A frame is chosen once, even where no frame adds anything.
        total[chosen] = -1
        chosen.append(int(total.argmax()))
        best = torch.maximum(best, gains[chosen[-1]])
    return tuple(sorted(chosen))
