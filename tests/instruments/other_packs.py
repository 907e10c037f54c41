"""Graphs with nodes of other packs: each a model's way through one of them."""

from typing import Any

from instruments.prompts import prompt_node

Prompt = dict[str, dict]
# Node and inputs beside `model`; "LATENT" and "CONDITIONING" stand for links to such values.
Piece = tuple[str, dict[str, Any]]

# Nodes that change a MODEL and work beside memory.
WORKS: dict[str, Piece] = {
    "KJNodes: NAG": (
        "WanVideoNAG",
        {"conditioning": "CONDITIONING", "nag_scale": 5.0, "nag_alpha": 0.25, "nag_tau": 2.5},
    ),
    "KJNodes: Wan ChunkFeedForward": ("WanChunkFeedForward", {"dim_threshold": 1024}),
    "KJNodes: CFG Zero Star": ("CFGZeroStarAndInit", {"use_zero_init": False}),
    "KJNodes: TeaCache (does nothing any more)": (
        "WanVideoTeaCacheKJ",
        {"cache_device": "main_device", "coefficients": "disabled"},
    ),
    "KJNodes: torch compile of the blocks": ("TorchCompileModelAdvanced", {}),
    "KJNodes: Patch Sage Attention, disabled": (
        "PathchSageAttentionKJ",
        {"sage_attention": "disabled"},
    ),
    "KJNodes: Model Patch Torch Settings": ("ModelPatchTorchSettings", {}),
    "KJNodes: Model Memory Usage Factor": ("ModelMemoryUsageFactorOverride", {}),
    "rgthree: Power Lora Loader": ("Power Lora Loader (rgthree)", {}),
}
# Nodes that are refused, and words of the error.
REFUSED: dict[str, tuple[Piece, str]] = {
    "KJNodes: Enhance A Video": (
        ("WanVideoEnhanceAVideoKJ", {"latent": "LATENT"}),
        r"WanAttentionPatch.*of ComfyUI-KJNodes in place of its own blocks\.0\.self_attn.*"
        r"remove 'WanVideo Enhance A Video \(native\)'",
    ),
    "KJNodes: RifleX": (
        ("ApplyRifleXRoPE_WanVideo", {"latent": "LATENT"}),
        r"EmbedND_RifleX of ComfyUI-KJNodes in place of its own rope_embedder.*"
        r"remove 'Apply RifleXRoPE WanVideo'",
    ),
}
NUM_FRAMES, SIZE = 9, 128


class Graphs:
    """Prompts for the HTTP API of one server."""

    def __init__(self, object_info: dict) -> None:
        self.object_info = object_info

    def node(self, kind: str, **inputs: Any) -> dict:
        return prompt_node(self.object_info, kind, **inputs)

    def has(self, kind: str) -> bool:
        return kind in self.object_info

    def turn(self, piece: Piece | None, is_before: bool = False, seed: int = 0) -> Prompt:
        """A second turn by Apply Memory and KSampler, with a piece before or behind Apply Memory.

        Without memory of any kind the piece would meet the plain model.
        """
        prompt = self._first_turn(seed)
        model, applied = ["load", 0], ["apply", 0]
        if piece is not None:
            kind, given = piece
            stands_for = {"LATENT": ["source", 0], "CONDITIONING": ["empty", 1]}
            links = {name: stands_for.get(value, value) for name, value in given.items()}
            prompt["empty"] = self.node("MemV2VApplyMemory", model=["load", 0])
            prompt["piece"] = self.node(kind, model=model if is_before else applied, **links)
            model, applied = (["piece", 0], applied) if is_before else (model, ["piece", 0])
        return prompt | {
            "apply": self.node(
                "MemV2VApplyMemory",
                model=model,
                source=["source", 0],
                source_camera=["scene", 1],
                target_camera=["path2", 0],
                plan=["plan", 0],
            ),
            "sample": self.node(
                "KSampler",
                model=applied,
                positive=["apply", 1],
                negative=["apply", 2],
                latent_image=["apply", 3],
                seed=seed,
                steps=2,
                cfg=1.5,
                sampler_name="euler",
                scheduler="simple",
            ),
            "decode": self.node("VAEDecode", samples=["sample", 0], vae=["load", 2]),
            "show": self.node("PreviewImage", images=["decode", 0]),
        }

    def _first_turn(self, seed: int) -> Prompt:
        return {
            "load": self.node("LoadMemoryV2VModel", model_name="built-in: novel_view"),
            "scene": self.node("MemV2VDemoScene", num_frames=NUM_FRAMES, size=SIZE),
            "source": self.node("VAEEncode", pixels=["scene", 0], vae=["load", 2]),
            "path1": self.node("MemV2VCameraTrajectory", motion="pan_right"),
            "path2": self.node("MemV2VCameraTrajectory", motion="pan_left"),
            "turn1": self.node(
                "MemoryV2VSampler",
                model=["load", 0],
                source=["source", 0],
                source_camera=["scene", 1],
                target_camera=["path1", 0],
                seed=1,
                steps=1,
                sampler_name="euler",
                scheduler="simple",
            ),
            "retrieve": self.node("VideoFOVRetrieve", cache=["turn1", 1], camera=["path2", 0]),
            "plan": self.node("DynamicTokenize", retrieval=["retrieve", 0], unresponsive="merge"),
        }

    def long_edit(self, video: str) -> Prompt:
        """VHS loads a clip, Edit Long Video edits it, and VHS writes the result."""
        return {
            "load": self.node("LoadMemoryV2VModel", model_name="built-in: text_edit"),
            "clip": self.node("VHS_LoadVideoPath", video=video),
            "info": self.node("VHS_VideoInfo", video_info=["clip", 3]),
            "words": self.node("CLIPTextEncode", clip=["load", 1], text="put a hat on the box"),
            "edit": self.node(
                "MemV2VEditLongVideo",
                model=["load", 0],
                vae=["load", 2],
                positive=["words", 0],
                images=["clip", 0],
                audio=["clip", 2],
                frame_rate=["info", 5],
                descriptor="built-in light",
                steps=1,
                sampler_name="euler",
                scheduler="simple",
            ),
            "parts": self.node("GetVideoComponents", video=["edit", 0]),
            "write": self.node(
                "VHS_VideoCombine",
                images=["parts", 0],
                audio=["parts", 1],
                frame_rate=["parts", 2],
                format="image/webp",
            ),
        }
