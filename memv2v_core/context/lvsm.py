"""LVSM's encoder and decoder, written from its paper, under the names of its published weights.

Every pixel of a view carries its colour and the Pluecker coordinates of its ray; patches of them
become tokens. Learned latent tokens and all image tokens go through a transformer, and the latent
tokens that come out are the scene. The decoder renders a view from them and the view's rays.
The published weights are `scene_encoder_decoder_256.pt` of coast01/LVSM.

B scenes, V views, M latent tokens, L tokens, D width, H rows, W columns.

Source: arXiv:2410.17242; App. B, arXiv:2601.16296v2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

# Colour, then moment and direction of the ray.
IMAGE_CHANNELS, RAY_CHANNELS = 3, 6
_STD = 0.02
_FFN_RATIO = 4
_NORM_EPS = 1e-5


@dataclass(frozen=True)
class LvsmConfig:
    """Sizes of an LVSM; the defaults are those of the published weights.

    dim, head_dim: width of a token and of a head. num_layers: of the encoder, and of the decoder
    where there is one. num_latents: M. patch: pixels per side. size: of the square views.
    has_decoder: without it there are only scene latents.

    Raises: ValueError for a width or a size that heads or patches do not divide.
    """

    dim: int = 768
    head_dim: int = 64
    num_layers: int = 12
    num_latents: int = 3072
    patch: int = 8
    size: int = 256
    has_decoder: bool = False

    def __post_init__(self) -> None:
        for name, part, what in (
            ("dim", self.head_dim, "the width of a head"),
            ("size", self.patch, "the side of a patch"),
        ):
            value = getattr(self, name)
            if value < 1 or value % part:
                raise ValueError(
                    f"{name} got {value}, wanted a multiple of {part}, {what}; change one of them"
                )


class _Patches(nn.Module):
    """Patches (B, V * rows * columns, values) of views (B, V, C, H, W), channels last in each."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        cut = views.unflatten(-1, (-1, self.side)).unflatten(-3, (-1, self.side))
        # (B, V, C, rows, p, columns, p) to (B, V, rows, columns, p, p, C).
        return cut.permute(0, 1, 3, 5, 4, 6, 2).flatten(4).flatten(1, 3)


class _Attention(nn.Module):
    """Self-attention whose queries and keys are normalised head by head."""

    def __init__(self, config: LvsmConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.to_qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.fc = nn.Linear(config.dim, config.dim, bias=False)
        self.q_norm = nn.RMSNorm(config.head_dim, eps=_NORM_EPS)
        self.k_norm = nn.RMSNorm(config.head_dim, eps=_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.to_qkv(x).unflatten(-1, (3, -1, self.head_dim))  # (B, L, 3, heads, d)
        query, key, value = heads.transpose(1, 3).unbind(2)  # each (B, heads, L, d)
        out = F.scaled_dot_product_attention(self.q_norm(query), self.k_norm(key), value)
        return self.fc(out.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    """A transformer block that normalises before attention and before its feed-forward."""

    def __init__(self, config: LvsmConfig) -> None:
        super().__init__()
        dim, hidden = config.dim, _FFN_RATIO * config.dim
        self.norm1 = nn.LayerNorm(dim, bias=False)
        self.attn = _Attention(config)
        self.norm2 = nn.LayerNorm(dim, bias=False)
        layers = (nn.Linear(dim, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False))
        # The weights name the feed-forward twice: "mlp.mlp.0".
        self.mlp = nn.ModuleDict({"mlp": nn.Sequential(*layers)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["mlp"](self.norm2(x))


class LvsmNetwork(nn.Module):
    """The scene encoder, and the decoder where its configuration has one."""

    def __init__(self, config: LvsmConfig) -> None:
        super().__init__()
        self.config = config
        dim, area = config.dim, config.patch**2

        def tokenizer(channels: int) -> nn.Sequential:
            linear = nn.Linear(channels * area, dim, bias=False)
            return nn.Sequential(_Patches(config.patch), linear)

        def transformer() -> nn.ModuleList:
            return nn.ModuleList(_Block(config) for _ in range(config.num_layers))

        self.image_tokenizer = tokenizer(IMAGE_CHANNELS + RAY_CHANNELS)
        self.n_light_field_latent = nn.Parameter(torch.zeros(config.num_latents, dim))
        self.transformer_encoder = transformer()
        if config.has_decoder:
            self.target_pose_tokenizer = tokenizer(RAY_CHANNELS)
            self.transformer_input_layernorm_decoder = nn.LayerNorm(dim, bias=False)
            self.transformer_decoder = transformer()
            colours = nn.Linear(dim, IMAGE_CHANNELS * area, bias=False)
            self.image_token_decoder = nn.Sequential(
                nn.LayerNorm(dim, bias=False), colours, nn.Sigmoid()
            )

    def scene(self, images: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
        """Scene latents (B, M, D) of images (B, V, 3, H, W) in [0, 1] and rays (B, V, 6, H, W)."""
        image_tokens = self.image_tokenizer(torch.cat((images * 2 - 1, rays), dim=2))
        latents = self.n_light_field_latent.expand(len(images), -1, -1)
        x = torch.cat((latents, image_tokens), dim=1)
        for block in self.transformer_encoder:
            x = block(x)
        return x[:, : self.config.num_latents]

    def render(self, latents: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
        """Images (B, V, 3, H, W) in [0, 1] of scene latents (B, M, D) along rays (B, V, 6, H, W).

        Every view is rendered by itself.
        """
        assert self.config.has_decoder, "this network has only an encoder"
        rows, num_views, side = len(rays), rays.shape[1], self.config.patch
        queries = self.target_pose_tokenizer(rays.flatten(0, 1)[:, None])  # (B * V, L, D)
        scenes = latents.repeat_interleave(num_views, dim=0)
        x = self.transformer_input_layernorm_decoder(torch.cat((queries, scenes), dim=1))
        for block in self.transformer_decoder:
            x = block(x)
        colours = self.image_token_decoder(x[:, : queries.shape[1]])
        # (B * V, rows * columns, p * p * 3) back to pictures.
        grid = (rays.shape[-2] // side, rays.shape[-1] // side)
        pixels = colours.unflatten(-1, (side, side, IMAGE_CHANNELS)).unflatten(1, grid)
        pictures = pixels.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
        return pictures.unflatten(0, (rows, num_views))


@torch.no_grad()
def start_lvsm(network: LvsmNetwork, generator: torch.Generator) -> None:
    """Set fresh weights as LVSM's training starts: normal, narrower in deeper blocks."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.ones_(parameter)
        else:
            parameter.normal_(std=_STD, generator=generator)
    transformers = [network.transformer_encoder]
    if network.config.has_decoder:
        transformers.append(network.transformer_decoder)
    for transformer in transformers:
        for number, block in enumerate(transformer, 1):
            for parameter in block.parameters():
                if parameter.ndim > 1:
                    parameter.mul_((2 * number) ** -0.5)
