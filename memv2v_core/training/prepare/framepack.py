"""FramePack-F1 lengthens a whole clip, where diffusers' pipeline takes one image.

Tested with small random weights of the true classes. It never ran with the real weights.

B batch, C channels, F frames, T latent frames, H rows, W columns.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import HunyuanVideoFramepackPipeline, HunyuanVideoFramepackTransformer3DModel
from torch import nn
from transformers import SiglipImageProcessor, SiglipVisionModel


@dataclass(frozen=True)
class FramePackSettings:
    """What is generated, and how carefully.

    Our choice: FramePack's own 25 steps and guidance 10; the paper gives none.

    num_new_frames: after the given ones.
    latent_window: latents that are generated together, as FramePack was trained.
    num_steps: of each section. guidance: of the distilled model.
    """

    num_new_frames: int = 200
    latent_window: int = 9
    num_steps: int = 25
    guidance: float = 10.0


class ClipFramepackPipeline(HunyuanVideoFramepackPipeline):
    """Diffusers' pipeline, which gets an image and the latents of a past together."""

    def check_inputs(self, *_arguments: object, **_named: object) -> None:
        """Nothing. Diffusers allows an image or latents; `FramePackExtender` checks the rest."""


class FramePackExtender:
    """Lengthens clips with FramePack-F1.

    Its image encoder sees the first frame. Where diffusers takes the latent of its image, it gets
    the latents of the whole clip, which diffusers repeats at two places. At the end of the history
    any number of them is right. Before the newest latent, among the clean ones, the model has room
    for one: there the first stays, as if FramePack had made the clip from its first frame.
    """

    def __init__(self, pipeline: ClipFramepackPipeline, settings: FramePackSettings) -> None:
        self._pipeline, self._settings = pipeline, settings
        pipeline.transformer.register_forward_pre_hook(_keep_first_and_newest, with_kwargs=True)
        self._ratio: int = pipeline.vae_scale_factor_temporal
        self._grid_px: int = (
            pipeline.vae_scale_factor_spatial * pipeline.transformer.config.patch_size
        )

    @property
    def num_sections(self) -> int:
        """How often a window of latents is generated: 6 times for 200 frames."""
        settings = self._settings
        return math.ceil(settings.num_new_frames / (settings.latent_window * self._ratio))

    @torch.no_grad()
    def extend(self, frames: torch.Tensor, prompt: str, seed: int) -> torch.Tensor:
        """`frames` (F, 3, H, W) in 0..1, then `num_new_frames` generated ones, on the CPU.

        The given frames stay bit for bit. Our choice: the new ones are not blended with them,
        though the VAE leaves a small step in sharpness. What the last section makes too much is
        cut.

        Raises: ValueError for a number of frames that is not 4 n + 1, and for sides that are no
        multiples of 16.
        """
        num_given, _, rows, columns = frames.shape
        if (num_given - 1) % self._ratio:
            raise ValueError(f"frames got {num_given}, wanted {self._ratio} n + 1; cut the clip")
        if rows % self._grid_px or columns % self._grid_px:
            raise ValueError(
                f"frames got {columns}x{rows}, wanted sides that are multiples of {self._grid_px}; "
                "give a size"
            )
        past = self._encode(frames)  # (1, C, T, H / 8, W / 8)
        new = self._generate(past, frames[:1], prompt, seed)
        video = self._decode(torch.cat([past, new], dim=2))
        stop = num_given + self._settings.num_new_frames
        return torch.cat([frames.float().cpu(), video[num_given:stop]])

    def _encode(self, frames: torch.Tensor) -> torch.Tensor:
        # Our choice: the mean, where diffusers draws from the VAE's distribution.
        vae = self._pipeline.vae
        pixels = (frames.movedim(0, 1)[None] * 2 - 1).to(
            self._pipeline._execution_device, vae.dtype
        )
        return vae.encode(pixels).latent_dist.mode().float() * vae.config.scaling_factor

    def _generate(
        self, past: torch.Tensor, first: torch.Tensor, prompt: str, seed: int
    ) -> torch.Tensor:
        """The latents (1, C, T, H, W) after the past."""
        settings = self._settings
        rows, columns = first.shape[-2:]
        (sections,) = self._pipeline(
            image=first,
            image_latents=past,
            prompt=prompt,
            height=rows,
            width=columns,
            # Diffusers counts a section of 9 latents as 33 frames; after a past they are 36.
            num_frames=self.num_sections * ((settings.latent_window - 1) * self._ratio + 1),
            latent_window_size=settings.latent_window,
            num_inference_steps=settings.num_steps,
            guidance_scale=settings.guidance,
            # On the CPU, so that every GPU starts from the same noise.
            generator=torch.Generator().manual_seed(seed),
            sampling_type="vanilla",
            output_type="latent",
            return_dict=False,
        )
        # After each section diffusers gives all latents so far; it counts the past as one.
        return sections[-1][:, :, -self.num_sections * settings.latent_window :]

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Frames (F, 3, H, W) in 0..1, on the CPU."""
        # All at once: the VAE works in short overlapping pieces of time by itself. Diffusers
        # decodes two sections at a time and blends them.
        vae = self._pipeline.vae
        scaled = latents.to(vae.dtype) / vae.config.scaling_factor
        video = vae.decode(scaled, return_dict=False)[0][0].movedim(1, 0).cpu().float()
        self._pipeline.maybe_free_model_hooks()
        return (video / 2 + 0.5).clamp(0, 1)


def _keep_first_and_newest(
    _transformer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    clean: torch.Tensor = named["latents_clean"]  # (B, C, T + 1, H, W): the clip's, the newest
    return arguments, {**named, "latents_clean": clean[:, :, [0, -1]]}


def load_pipeline(
    transformer: Path,
    hunyuan: Path,
    image_encoder: Path,
    transformer_dtype: torch.dtype,
    dtype: torch.dtype,
) -> ClipFramepackPipeline:
    """The pipeline with the weights in three folders. Nothing is downloaded.

    transformer: FramePack's, in `transformer_dtype`; everything else is in `dtype`.
    hunyuan: HunyuanVideo. Its own transformer is not read and may be absent.
    image_encoder: folder with the folders `image_encoder` and `feature_extractor`.
    """
    vision = SiglipVisionModel.from_pretrained(image_encoder / "image_encoder")
    pipeline = ClipFramepackPipeline.from_pretrained(
        hunyuan,
        transformer=HunyuanVideoFramepackTransformer3DModel.from_pretrained(
            transformer, torch_dtype=transformer_dtype, local_files_only=True
        ),
        image_encoder=vision.to(dtype),
        feature_extractor=SiglipImageProcessor.from_pretrained(image_encoder / "feature_extractor"),
        torch_dtype=dtype,
        local_files_only=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
