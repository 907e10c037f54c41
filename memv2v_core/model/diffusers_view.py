"""diffusers' WanTransformer3DModel as a `Backbone`, for training and use without ComfyUI.

A model loaded in half precision keeps its time embedding, modulations and norms in fp32. Tokens
have the precision of the patch embedding.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .attention_patterns import Attend, AttentionPattern
from .backbone import NUM_AXES, Result, expand_time

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

# (B, L, 1, d / 2) complex: e^(i angle) of every pair of channels.
Rope = torch.Tensor


class DiffusersView:
    """Calls the modules of a WanTransformer3DModel.

    attend: attention of query, key and value (B, heads, L, d).
    """

    def __init__(
        self, model: "WanTransformer3DModel", attend: Attend = F.scaled_dot_product_attention
    ) -> None:
        self.model = model
        self.attend = attend
        self.num_blocks = len(model.blocks)
        self.patch_kernel = model.config.patch_size[-1]
        self.num_heads = model.config.num_attention_heads
        self.head_dim = model.config.attention_head_dim

    @property
    def dtype(self) -> torch.dtype:
        return self.model.patch_embedding.weight.dtype

    def patchify(self, latent: torch.Tensor) -> torch.Tensor:
        return self.model.patch_embedding(latent.to(self.dtype))

    def unpatchify(self, tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        pt, ph, pw = self.model.config.patch_size
        x = tokens.unflatten(1, grid).unflatten(-1, (pt, ph, pw, -1))
        # (B, T, h, w, pt, ph, pw, C) to (B, C, T, pt, h, ph, w, pw), then each pair becomes one
        # axis.
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def embed_time(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedder = self.model.condition_embedder
        rows = timestep.shape[0]
        sinusoid = embedder.timesteps_proj(timestep.flatten().float())
        # The time embedding computes in its own precision; tokens have the precision of the
        # patches.
        embedding = embedder.time_embedder(
            sinusoid.to(embedder.time_embedder.linear_1.weight.dtype)
        ).to(self.dtype)
        modulation = embedder.time_proj(embedder.act_fn(embedding))
        return embedding.unflatten(0, (rows, -1)), modulation.unflatten(0, (rows, -1)).unflatten(
            -1, (6, -1)
        )

    def embed_text(self, context: torch.Tensor) -> torch.Tensor:
        return self.model.condition_embedder.text_embedder(context.to(self.dtype))

    def rope(self, positions: torch.Tensor) -> Rope:
        # Wan gives two thirds of the channels to y and x, and the rest to time.
        side = 2 * (self.head_dim // 6)
        angles = []
        for axis, width in enumerate((self.head_dim - 2 * side, side, side)):
            angles.append(_angles(positions[..., axis], width))
        angle = torch.cat(angles, dim=-1).unsqueeze(2)  # (B, L, 1, d / 2)
        if positions.shape[-1] > NUM_AXES:
            angle = angle + _angles(positions[..., NUM_AXES], self.head_dim).unsqueeze(2)
        return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)

    def around_block(
        self,
        block_idx: int,
        x: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor,
        rope: Rope,
        run: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        return run(x)

    def inside_block(self, block_idx: int, run: Callable[[], Result]) -> Result:
        return run()

    def modulation(self, block_idx: int, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # The learned offsets of the block, then the six parts.
        return (
            (self.model.blocks[block_idx].scale_shift_table.unsqueeze(0) + time)
            .to(self.dtype)
            .unbind(2)
        )

    def norm(self, block_idx: int, which: int, x: torch.Tensor) -> torch.Tensor:
        block = self.model.blocks[block_idx]
        # Wan's norm2 is diffusers' norm3, and the other way round.
        return {1: block.norm1, 2: block.norm3}[which](x)

    def self_attention(
        self, block_idx: int, x: torch.Tensor, rope: Rope, pattern: AttentionPattern | None = None
    ) -> torch.Tensor:
        attention = self.model.blocks[block_idx].attn1
        query, key = (
            self.rotate(self.query(block_idx, x), rope),
            self.rotate(self.key(block_idx, x), rope),
        )
        value = attention.to_v(x).unflatten(-1, (self.num_heads, -1))
        if pattern is None:
            x = self._attend(query, key, value)
        else:
            x = pattern(self._attend, query, key, value)
        return attention.to_out[0](x)

    def query(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        attention = self.model.blocks[block_idx].attn1
        return attention.norm_q(attention.to_q(x)).unflatten(-1, (self.num_heads, -1))

    def key(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        attention = self.model.blocks[block_idx].attn1
        return attention.norm_k(attention.to_k(x)).unflatten(-1, (self.num_heads, -1))

    def rotate(self, x: torch.Tensor, rope: Rope) -> torch.Tensor:
        # Each pair of channels is a complex number, so that a rotation is one product.
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * rope).flatten(-2).to(x.dtype)

    def cross_attend(self, block_idx: int, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        block = self.model.blocks[block_idx]
        attention = block.attn2
        value = attention.to_v(text)
        # A softmax over one token is 1, so every query gets the value of that token.
        if text.shape[1] == 1:
            return x + attention.to_out[0](value)
        heads = (self.num_heads, -1)
        # diffusers' norm2 is Wan's norm3.
        query = attention.norm_q(attention.to_q(block.norm2(x))).unflatten(-1, heads)
        key = attention.norm_k(attention.to_k(text)).unflatten(-1, heads)
        return x + attention.to_out[0](self._attend(query, key, value.unflatten(-1, heads)))

    def feed_forward(self, block_idx: int, x: torch.Tensor) -> torch.Tensor:
        return self.model.blocks[block_idx].ffn(x)

    def head(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        shift, scale = (
            (self.model.scale_shift_table.unsqueeze(0) + time.unsqueeze(2)).to(self.dtype).unbind(2)
        )
        x = self.model.norm_out(x) * (1 + expand_time(scale, x.shape[1])) + expand_time(
            shift, x.shape[1]
        )
        return self.model.proj_out(x)

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = self.attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        return out.transpose(1, 2).flatten(2)


def _angles(positions: torch.Tensor, width: int) -> torch.Tensor:
    """RoPE's angles (B, L, width / 2) of positions (B, L)."""
    exponent = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device) / width
    return positions[..., None].double() / 10000.0**exponent
