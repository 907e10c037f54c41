"""Six measures of VBench, which look at each video by itself, through the package vbench.

Which package, and why. Both public ways were installed from the package registry on a CPU in
November 2026:
- PyPI `fastvideo` 0.2.1, with `fastvideo.eval`, cannot be: it needs fastvideo-kernel, whose build
  stops without a CUDA architecture. Its motion smoothness imports the package vbench besides.
- PyPI `vbench` 0.1.5 is a wheel of plain Python and is what runs here. As it declares its needs it
  does not work either: transformers 4.33.2 wants a tokenizers without wheels for CPython 3.12, and
  openai-clip fails without an older setuptools. None of the six measures uses transformers. So
  `dev.py metrics vbench` installs what they do use, pinned, and then vbench without its needs. All
  six modules were imported that way with CPython 3.10, 3.11 and 3.12.

What was run: the real package on a CPU, with random numbers as weights in files of the published
form, all six measures. Nobody ran it here with the published weights.

The numbers are VBench's own: 0 to 1, its "custom input" way, prompts unused. Frames go as bytes to
an MP4 without loss, which its own readers decode exactly; the script holds each against what was
sent. A video that was resized by `fit` is rounded to bytes first.

Source: Huang et al., arXiv:2311.17982; Sec. 4.3 and Tab. 1 of arXiv:2601.16296v2 for their use.
"""

from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from .interpreters.worker import Worker
from .metric import Batch, Column, Need, Subject
from .weights_folder import PublicPart, files_identity, find_all_weights

NAME = "vbench"
SCRIPT = "vbench_scores.py"
_CLIP = "https://openaipublic.azureedge.net/clip/models"
# The package takes DINO's network from a checkout of its code.
DINO_CODE = PublicPart(
    name="facebookresearch_dino_main",
    source="https://github.com/facebookresearch/dino, branch main,",
    megabytes=1,
    weight_files=("hubconf.py",),
    other_files=("vision_transformer.py", "utils.py"),
)
DINO_B16 = PublicPart(
    name="dino-vitb16",
    source="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/"
    "dino_vitbase16_pretrain.pth",
    megabytes=343,
    weight_files=("dino_vitbase16_pretrain.pth",),
    other_files=(),
)
CLIP_B32 = PublicPart(
    name="clip-vit-b-32-openai",
    source=f"{_CLIP}/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
    megabytes=354,
    weight_files=("ViT-B-32.pt",),
    other_files=(),
)
CLIP_L14 = PublicPart(
    name="clip-vit-l-14-openai",
    source=f"{_CLIP}/b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt",
    megabytes=933,
    weight_files=("ViT-L-14.pt",),
    other_files=(),
)
AESTHETIC = PublicPart(
    name="laion-aesthetic",
    source="https://github.com/LAION-AI/aesthetic-predictor",
    megabytes=1,
    weight_files=("sa_0_4_vit_l_14_linear.pth",),
    other_files=(),
)
MUSIQ = PublicPart(
    name="musiq-spaq",
    source="https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/"
    "musiq_spaq_ckpt-358bb6af.pth",
    megabytes=109,
    weight_files=("musiq_spaq_ckpt-358bb6af.pth",),
    other_files=(),
)
AMT_S = PublicPart(
    name="amt-s",
    source="https://huggingface.co/lalala125/AMT/resolve/main/amt-s.pth",
    megabytes=12,
    weight_files=("amt-s.pth",),
    other_files=(),
)
PARTS = (DINO_CODE, DINO_B16, CLIP_B32, CLIP_L14, AESTHETIC, MUSIQ, AMT_S)


class VBench:
    """Subject and background consistency, aesthetic and imaging quality, flickering, smoothness.

    weights: the folder that holds the folders of `PARTS`.

    Raises: ValueError for missing weights, for a missing Python, and where its script ends.
    """

    columns: tuple[Column, ...] = (
        Column("subject consistency"),
        Column("background consistency"),
        Column("aesthetic quality"),
        Column("imaging quality"),
        Column("temporal flickering"),
        Column("motion smoothness"),
    )
    subject: Subject = "video"
    needs: frozenset[Need] = frozenset()

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        paths = find_all_weights(weights, PARTS)
        code, dino, clip_b, clip_l, head, musiq, amt = (str(path.resolve()) for path in paths)
        settings: dict[str, Any] = {
            "device": str(device),
            "files": {
                "clip_b": clip_b,
                "clip_l": clip_l,
                "head": head,
                "musiq": musiq,
                "amt": amt,
            },
            "hub": {
                "repositories": {"facebookresearch/dino": str(Path(code).parent)},
                "files": {Path(dino).name: dino},
            },
        }
        self.worker = Worker(NAME, SCRIPT, settings)
        self.identity = f"vbench {self.worker.facts['version']}, {files_identity(paths)}"

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 6) float64, as VBench scales them: 0 to 1, and higher is better.

        NaN where a video has too few frames: all but the two qualities need 2, motion smoothness
        needs 3. NaN, too, for a video with values that are no numbers.

        Raises: ValueError where the script ends.
        """
        rows = [self._scores(video, batch.frame_rate) for video in batch.videos]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(self.columns))

    def _scores(self, video: torch.Tensor, frame_rate: float) -> list[float]:
        if not video.isfinite().all():
            return [torch.nan] * len(self.columns)
        frames = as_bytes(video)
        path = self.worker.folder / "video.mp4"
        write_lossless(path, frames, frame_rate)
        reply = self.worker.ask({"video": str(path)}, {"frames": frames})
        return [torch.nan if score is None else score for score in reply["scores"]]


def as_bytes(video: torch.Tensor) -> np.ndarray:
    """Frames (F, H, W, 3) of bytes of a video (F, 3, H, W) in 0..1."""
    pixels = (video * 255).round().clamp(0, 255).to("cpu", torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def write_lossless(path: Path, frames: np.ndarray, frame_rate: float) -> None:
    """Frames (F, H, W, 3) of bytes as an MP4: H.264 of RGB with a quantizer of zero."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx264rgb", rate=max(1, round(frame_rate)), options={"qp": "0", "preset": "fast"}
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
