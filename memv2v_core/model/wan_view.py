"""ComfyUI's native WanModel as a `Backbone`, without importing ComfyUI.

Only submodules are called, and raw parameters pass through `cast`, so that offloaded, quantised and
LoRA-patched weights work. The view also applies ComfyUI's block patches.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .attention_patterns import AttentionPattern
from .backbone import NUM_AXES, Result, expand_time

Cast = Callable[..., torch.Tensor]
_ROPE_OPTIONS = (("scale", 1.0), ("shift", 0.0))


def _sinusoid(dim: int, position: torch.Tensor) -> torch.Tensor:
    half = dim // 2
    frequency = torch.pow(10000, -torch.arange(half).to(position).div(half))
    angle = torch.outer(position, frequency)
    return torch.cat((angle.cos(), angle.sin()), dim=1)


class WanView:
    """Calls the modules of one live WanModel, for one call.

    cast(tensor, dtype=..., device=...), apply_rope(x, rotations) and attend(query, key, value,
    heads=..., transformer_options=...) of (B, L, D) are ComfyUI's functions.
    transformer_options: the dict of this call.
    noisy: the target as the DiT itself would see it, padded to its patches.
    """

    def __init__(
        self,
        model: Any,
        cast: Cast,
        apply_rope: Callable[[torch.Tensor, Any], torch.Tensor],
        attend: Callable[..., torch.Tensor],
        transformer_options: dict[str, Any],
        noisy: torch.Tensor,
    ) -> None:
        # ComfyUI's class, which is not imported here.
        self.model = model
        self.cast = cast
        self.apply_rope = apply_rope
        self.attend = attend
        self.options = transformer_options
        self.noisy = noisy
        self.num_blocks = len(model.blocks)
        self.patch_kernel: int = model.patch_size[-1]
        self.target_time: torch.Tensor | None = None
        # Block patches read these two, as from the native forward.
        self.options["total_blocks"] = self.num_blocks
        self.options["block_type"] = "double"

    def patchify(self, latent: torch.Tensor) -> torch.Tensor:
        # In fp32, as in the native forward.
        return self.model.patch_embedding(latent.float()).to(self.noisy.dtype)

    def unpatchify(self, tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        return self.model.unpatchify(tokens, grid)

    def embed_time(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sinusoid = _sinusoid(self.model.freq_dim, timestep.flatten().float()).to(self.noisy.dtype)
        embedding = self.model.time_embedding(sinusoid)
        embedding = embedding.reshape(timestep.shape[0], -1, embedding.shape[-1])
        # The forward embeds the target's time first; ComfyUI's patches get this embedding.
        if self.target_time is None:
            self.target_time = embedding
        return embedding, self.model.time_projection(embedding).unflatten(2, (6, self.model.dim))

    def embed_text(self, context: torch.Tensor) -> torch.Tensor:
        return self.model.text_embedding(context)

    def rope(self, positions: torch.Tensor) -> torch.Tensor:
        """Rotations for indices (B or 1, L, 3 or 4), changed by ComfyUI's rope options.

        The options scale and shift indices, as in ComfyUI's own forward.
        Our choice: one map for all tokens, so that every video keeps its place relative to the
        target.
        """
        options = self.options.get("rope_options")
        if options is not None:
            scale, shift = (
                [options.get(f"{kind}_{axis}", none) for axis in "tyx"]
                for kind, none in _ROPE_OPTIONS
            )
            # The native forward applies the options to its index grids, we to the positions
            # themselves.
            positions = positions.clone()
            positions[..., :NUM_AXES] = positions[..., :NUM_AXES] * positions.new_tensor(
                scale
            ) + positions.new_tensor(shift)
        embedder = self.model.rope_embedder
        rotations = embedder(positions[..., :NUM_AXES]).movedim(1, 2)  # (B, L, 1, d / 2, 2, 2)
        if positions.shape[-1] == NUM_AXES:
            return rotations
        # The number of a video turns the whole head, as one more axis would.
        width = self.model.dim // self.model.num_heads
        turn = type(embedder)(dim=width, theta=embedder.theta, axes_dim=[width])
        return rotations @ turn(positions[..., NUM_AXES:]).movedim(1, 2)

    def around_block(
        self,
        block_idx: int,
        x: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor,
        rope: torch.Tensor,
        run: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """run(x) with ComfyUI's block replacements and "double_block" patches.

        Skip-layer guidance is such a replacement.
        """
        self.options["block_index"] = block_idx
        replace = (
            self.options.get("patches_replace", {}).get("dit", {}).get(("double_block", block_idx))
        )
        if replace is None:
            x = run(x)
        else:
            arguments = {
                "img": x,
                "txt": text,
                "vec": time,
                "pe": rope,
                "transformer_options": self.options,
            }
            x = replace(arguments, {"original_block": lambda args: {"img": run(args["img"])}})[
                "img"
            ]
        # Patches work on the target; its tokens stand at offset 0.
        for patch in self.options.get("patches", {}).get("double_block", ()):
            given = {
                "img": x,
                "x": self.noisy,
                "vec": self.target_time,
                "block_index": block_idx,
                "img_offset": 0,
            }
            x = patch({**given, "transformer_options": self.options})["img"]
        return x

    def inside_block(self, block_idx: int, run: Callable[[], Result]) -> Result:
        return run()

    def modulation(self, block_idx: int, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
        own = self.cast(
            self.model.blocks[block_idx].modulation, dtype=time.dtype, device=time.device
        )
        return (own.unsqueeze(0) + time).unbind(2)

    def norm(self, block_idx: int, which: int, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.model.blocks[block_idx], f"norm{which}")(x)

    def self_attention(
        self,
        block_idx: int,
        x: torch.Tensor,
        rope: torch.Tensor,
        pattern: AttentionPattern | None = None,
    ) -> torch.Tensor:
        """The module's own forward, or its layers around another pattern of attention.

        ComfyUI's "attn1_patch" patches follow either attention.
        """
        attention = self.model.blocks[block_idx].self_attn
        if pattern is None:
            return attention(x, rope, transformer_options=self.options)
        query = self.rotate(self.query(block_idx, x), rope)
        key = self.rotate(self.key(block_idx, x), rope)
        x = pattern(
            partial(self.attend, heads=attention.num_heads, transformer_options=self.options),
            query.flatten(2),
            key.flatten(2),
            attention.v(x),
        )
        for patch in self.options.get("patches", {}).get("attn1_patch", ()):
            x = patch({"x": x, "q": query, "k": key, "transformer_options": self.options})
        return attention.o(x)

    def query(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        attention = self.model.blocks[block_idx].self_attn
        return attention.norm_q(attention.q(x)).unflatten(-1, (attention.num_heads, -1))

    def key(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        attention = self.model.blocks[block_idx].self_attn
        return attention.norm_k(attention.k(x)).unflatten(-1, (attention.num_heads, -1))

    def rotate(self, x: torch.Tensor, rope: torch.Tensor) -> torch.Tensor:
        return self.apply_rope(x, rope)

    def cross_attend(self, block_idx: int, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """x with the text's update, then with ComfyUI's "attn2_patch" patches."""
        block = self.model.blocks[block_idx]
        x = x + block.cross_attn(
            block.norm3(x), text, context_img_len=None, transformer_options=self.options
        )
        for patch in self.options.get("patches", {}).get("attn2_patch", ()):
            x = patch({"x": x, "transformer_options": self.options})
        return x

    def feed_forward(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        return self.model.blocks[block_idx].ffn(x)

    def head(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        head = self.model.head
        own = self.cast(head.modulation, dtype=x.dtype, device=x.device).unsqueeze(0)
        shift, scale = (own + time.unsqueeze(2)).unbind(2)
        num = x.shape[1]
        return head.head(
            torch.addcmul(expand_time(shift, num), head.norm(x), 1 + expand_time(scale, num))
        )
