"""A branch for context tokens beside a Wan-style DiT: its parameters and one block of it.

The branch is made as Stable Diffusion 3 treats its second kind of tokens: context tokens have their
own modulation and feed-forward, and share self-attention with the DiT's tokens. The forward is in
`branch_view`.

SD3's MMDiT also gives its second kind of tokens their own queries, keys, values and output. The
paper's words are "shares self-attention layers with the main model but uses separate modulation and
feed-forward layers", so by default the DiT's own layers serve both; `has_own_attention` is SD3's
way.

B rows, N context tokens, D width of the DiT.

Source: App. B, arXiv:2601.16296v2; MMDiT, arXiv:2403.03206.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

# Wan's: shift, scale and gate of attention, then of the feed-forward.
NUM_PARTS = 6
# The last block's context tokens are only seen, as in SD3: they have a shift and a scale.
NUM_LAST_PARTS = 2
_NORM_EPS = 1e-6
# A gate that is open; gates of Wan's blocks are modulations too.
_OPEN = 1.0


@dataclass(frozen=True)
class BranchConfig:
    """Sizes of a `ContextBranch`; stored in its file's metadata.

    encoder: identity of the context encoder. width: of its tokens.
    dim, num_blocks: of the DiT. ffn_dim: of the branch's own feed-forward.
    has_own_attention: whether context tokens have their own queries, keys, values and output, as in
    SD3, in place of the DiT's.
    """

    encoder: str
    width: int
    dim: int
    num_blocks: int
    ffn_dim: int
    has_own_attention: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "dim", "num_blocks", "ffn_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} got {getattr(self, name)}, wanted at least 1; raise it")


class ContextAttention(nn.Module):
    """A block's own queries, keys, values and output for context tokens, normalised as Wan's.

    is_last: its context tokens are only seen, so they need keys and values alone.
    """

    def __init__(self, dim: int, is_last: bool) -> None:
        super().__init__()
        self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm_k = nn.RMSNorm(dim, eps=_NORM_EPS)
        self.is_last = is_last
        if not is_last:
            self.q, self.o = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_q = nn.RMSNorm(dim, eps=_NORM_EPS)

    def query(self, h: torch.Tensor) -> torch.Tensor:
        """Queries (B, N, D); none (B, 0, D) in the last block."""
        return h[:, :0] if self.is_last else self.norm_q(self.q(h))

    def key(self, h: torch.Tensor) -> torch.Tensor:
        return self.norm_k(self.k(h))


class ContextBlock(nn.Module):
    """What one block of the DiT has for context tokens.

    gate: (D,), how much the DiT's own tokens see of the context, channel by channel: 0 is the
    base's attention, which sees none, and 1 is SD3's.
    """

    def __init__(self, config: BranchConfig, is_last: bool) -> None:
        super().__init__()
        dim = config.dim
        self.is_last = is_last
        self.gate = nn.Parameter(torch.zeros(dim))
        num_parts = NUM_LAST_PARTS if is_last else NUM_PARTS
        self.modulation = nn.Parameter(torch.zeros(num_parts, dim))
        self.attention = ContextAttention(dim, is_last) if config.has_own_attention else None
        if not is_last:
            self.ffn = nn.Sequential(
                nn.Linear(dim, config.ffn_dim),
                nn.GELU(approximate="tanh"),
                nn.Linear(config.ffn_dim, dim),
            )
            # Both gates are open, so context tokens go through a whole transformer at once.
            nn.init.constant_(self.modulation[2], _OPEN)
            nn.init.constant_(self.modulation[5], _OPEN)

    def parts(self, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Shifts, scales and gates (B, 1, D) for time modulation (B, 1, 6, D)."""
        return (self.modulation + time[:, :, : len(self.modulation)]).unbind(2)


class ContextBranch(nn.Module):
    """The MLP from encoder to DiT, the branch's time modulation, and its blocks.

    An untrained branch leaves the DiT as it is, but for rounding, because every `gate` is zero. The
    gates cost a second attention of the DiT's own tokens (our choice: added tokens take their share
    of a softmax however they start).
    """

    def __init__(self, config: BranchConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.mlp = nn.Sequential(
            nn.Linear(config.width, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        # The DiT's own embedding of the timestep, projected by weights of the branch.
        self.time_projection = nn.Linear(dim, NUM_PARTS * dim)
        nn.init.zeros_(self.time_projection.weight)
        nn.init.zeros_(self.time_projection.bias)
        last = config.num_blocks - 1
        self.blocks = nn.ModuleList(ContextBlock(config, i == last) for i in range(last + 1))

    def block(self, block_idx: int) -> ContextBlock:
        block = self.blocks[block_idx]
        assert isinstance(block, ContextBlock)
        return block

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Context tokens (B, N, D) of an encoder's tokens (B, N, width).

        They are normalised first, since encoders differ in scale (our choice).
        """
        tokens = tokens.to(self.time_projection.weight)
        return self.mlp(F.layer_norm(tokens, tokens.shape[-1:], eps=_NORM_EPS))

    def modulate(self, time: torch.Tensor) -> torch.Tensor:
        """Time modulation (B, 1, 6, D) of the DiT's time embedding (B, 1, D)."""
        time = time.to(self.time_projection.weight)
        return self.time_projection(F.silu(time)).unflatten(-1, (NUM_PARTS, -1))


def attention_input(context: torch.Tensor, parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Context tokens (B, N, D) normalised and modulated for self-attention."""
    return _modulated(context, parts[0], parts[1])


def after_attention(
    block: ContextBlock,
    context: torch.Tensor,
    update: torch.Tensor,
    parts: tuple[torch.Tensor, ...],
) -> torch.Tensor:
    """Context tokens (B, N, D) after a block that is not the last one.

    update: what attention gave them. Context tokens read no text, as in SD3.
    """
    context = context + parts[2] * update
    return context + parts[5] * block.ffn(_modulated(context, parts[3], parts[4]))


def _modulated(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=_NORM_EPS) * (1 + scale) + shift


def new_branch(config: BranchConfig, seed: int) -> ContextBranch:
    """A branch with fresh weights; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ContextBranch(config)
