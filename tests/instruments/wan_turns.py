"""Turns on small random Wans that ComfyUI's own loaders load."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.tokens.merging import MergeConfig

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

NUM_FRAMES, SIDE = 3, 16
WAN_HEIGHT, WAN_WIDTH = 8, 16
HALF_MERGED = MergeConfig()


@dataclass(frozen=True, eq=False)
class AppliedTurn:
    """What ApplyMemory hands to a sampler, and what it was given."""

    model: "ModelPatcher"
    positive: list
    negative: list
    latent: dict
    inputs: dict[str, Any]


def window_parts() -> tuple[tuple[int, int, int], ...]:
    """(first, last, dropped) of two context windows of 3 over 6 latent frames: the frames that a
    window sees, and how many of its first ones have no result.

    Newer ComfyUIs put the frame before a window in front of it.
    """
    import comfy.context_windows

    source = inspect.getsource(comfy.context_windows)
    has_anchor = "causal_anchor_index" in source
    return (0, 3, 0), ((2, 6, 1) if has_anchor else (3, 6, 0))


@dataclass(frozen=True, eq=False)
class TinyWan:
    """Small random weights in Wan's key layout that ComfyUI's own loaders load, and turns that fit
    them.

    Latents are 8 x 16, 3 latent frames (9 frames) where not said otherwise; the adapter has every
    part, rays too.
    """

    comfy_api: Any
    adapter: Any

    def save(
        self, weights: dict[str, torch.Tensor], name: str, folder: str = "diffusion_models"
    ) -> str:
        """`name`, after the weights were written under it into a model folder."""
        from safetensors.torch import save_file

        path = self.comfy_api.base_dir / "models" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, str(path))
        return name

    def load(
        self, name: str = "tiny_wan.safetensors", weight_dtype: str = "default"
    ) -> "ModelPatcher":
        """The MODEL that the native UNETLoader makes of a file in models/diffusion_models."""
        with torch.inference_mode():
            (model,) = self.comfy_api.nodes.UNETLoader().load_unet(name, weight_dtype)
        return model

    def run(self, node: type, *args: Any, **inputs: Any) -> Any:
        """First output of a native node, of the old kind or of V3."""
        with torch.inference_mode():
            if hasattr(node, "define_schema"):
                return self.comfy_api.run_node(node, *args, **inputs).result[0]
            return getattr(node(), node.FUNCTION)(*args, **inputs)[0]

    def extra(self, module: str, name: str) -> type:
        """A node class that ComfyUI ships outside nodes.py."""
        return getattr(importlib.import_module(f"comfy_extras.{module}"), name)

    def prompt(self, seed: int) -> list:
        """A CONDITIONING of 6 tokens as wide as UMT5's."""
        return [[torch.randn(1, 6, 4096, generator=torch.Generator().manual_seed(seed)), {}]]

    def video(self, seed: int, num_latent: int = 3, channels: int = 16) -> torch.Tensor:
        """A latent (C, T, 8, 16)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(channels, num_latent, WAN_HEIGHT, WAN_WIDTH, generator=generator)

    def path(self, motion: str, num_latent: int = 3) -> CameraTrajectory:
        config = PresetConfig(motion=motion, amplitude=40.0, num_frames=4 * num_latent - 3)
        return make_preset(config, intrinsics_matrix(0.866, 0.866))

    def plan(
        self,
        model: "ModelPatcher",
        kernels: tuple[int, ...] = (4, 8),
        merging: MergeConfig | None = HALF_MERGED,
        num_latent: int = 3,
        **changes: Any,
    ) -> TokenPlan:
        """Memories that `model` with the adapter made, each along a path of its own."""
        from memory_v2v.nodes.host.models.attachment import base_info, with_adapter

        name = base_info(with_adapter(model, self.adapter)).model_name
        motions = ("pan_right", "tilt_up", "orbit_left", "tilt_down")
        entries = []
        for i, motion in enumerate(motions[: len(kernels)]):
            camera = self.path(motion, num_latent)
            latent = self.video(10 + i, num_latent)
            entries.append(
                MemoryEntry.of(
                    latent, camera, name, camera.num_frames, turn=i + 1, created_s=float(i)
                )
            )
        ranked = tuple(RankedEntry(entry, 1.0 - i / 10) for i, entry in enumerate(entries))
        return TokenPlan(
            Retrieval(self.path("pan_left", num_latent), ranked), kernels, merging, **changes
        )

    def turn(self, model: "ModelPatcher", num_latent: int = 3, **changes: Any) -> AppliedTurn:
        """`model` after ApplyMemory with a source, two memories, cameras and merging; `changes`
        replace inputs.
        """
        from memory_v2v.nodes.sampling import ApplyMemory

        inputs = {
            "positive": self.prompt(1),
            "negative": self.prompt(2),
            "source": {"samples": self.video(3, num_latent)[None]},
            "source_camera": self.path("tilt_down", num_latent),
            "target_camera": self.path("pan_left", num_latent),
            "adapter": self.adapter,
            **changes,
        }
        if "plan" not in changes:
            inputs["plan"] = self.plan(model, num_latent=num_latent)
        return AppliedTurn(
            *self.comfy_api.run_node(ApplyMemory, model=model, **inputs).result, inputs
        )

    def sample(
        self, turn: AppliedTurn, model: "ModelPatcher | None" = None, **settings: Any
    ) -> torch.Tensor:
        """Latents of the native KSampler in the DiT's space, 2 steps; one step gives the model's
        first prediction.
        """
        settings = {
            "seed": 5,
            "steps": 2,
            "cfg": 1.0,
            "sampler_name": "euler",
            "scheduler": "simple",
            **settings,
        }
        model, latent = model or turn.model, settings.pop("latent", turn.latent)
        with torch.inference_mode():
            (result,) = self.comfy_api.nodes.common_ksampler(
                model=model,
                positive=turn.positive,
                negative=turn.negative,
                latent=latent,
                **settings,
            )
            return model.model.process_latent_in(result["samples"])

    def predict(
        self, turn: AppliedTurn, noise: torch.Tensor, model: "ModelPatcher | None" = None
    ) -> torch.Tensor:
        """The model's first prediction for a given noise."""
        import comfy.sample
        import comfy.samplers

        model = model or turn.model
        with torch.inference_mode():
            result = comfy.sample.sample_custom(
                model,
                noise,
                cfg=1.0,
                sampler=comfy.samplers.sampler_object("euler"),
                sigmas=torch.tensor([1.0, 0.0]),
                positive=turn.positive,
                negative=turn.negative,
                latent_image=torch.zeros_like(noise),
                disable_pbar=True,
            )
            return model.model.process_latent_in(result)

    def memory_matters(self, model: "ModelPatcher", with_memory: torch.Tensor) -> bool:
        """Whether the same turn without memories gives another result."""
        without = self.sample(self.turn(model, plan=None))
        return (with_memory - without).abs().max().item() > 1e-2

    def windows(
        self,
        model: "ModelPatcher",
        context_length: int = 9,
        context_overlap: int = 0,
        **changes: Any,
    ) -> "ModelPatcher":
        """`model` with the native Wan Context Windows: 3 latent frames, one window after the
        other."""
        settings = {
            "context_schedule": "batched",
            "context_stride": 1,
            "closed_loop": False,
            "fuse_method": "flat",
            "freenoise": False,
            **changes,
        }
        node = self.extra("nodes_context_windows", "WanContextWindowsManualNode")
        return self.run(
            node,
            model=model,
            context_length=context_length,
            context_overlap=context_overlap,
            **settings,
        )

    def scale_rope(self, model: "ModelPatcher", **options: float) -> "ModelPatcher":
        """`model` with the native Scale RoPE; what is not named stays neutral."""
        neutral = {
            f"{kind}_{axis}": value
            for kind, value in (("scale", 1.0), ("shift", 0.0))
            for axis in "xyt"
        }
        return self.run(
            self.extra("nodes_rope", "ScaleROPE"), model=model, **{**neutral, **options}
        )

    def with_attention(
        self, model: "ModelPatcher", override: Callable[..., torch.Tensor]
    ) -> "ModelPatcher":
        """`model` whose every attention goes through `override`."""
        clone = model.clone()
        clone.model_options["transformer_options"]["optimized_attention_override"] = override
        return clone
