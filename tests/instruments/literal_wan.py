"""Wan's DiT with memory a second time, in plain torch, from words alone.

Nothing here calls the pack: blocks, rotations, cameras, tokens and merging are written out from
Sec. 3.3-3.4 and App. D.1, arXiv:2601.16296v2, and from Wan2.1. Where they are silent:
responsiveness is the mean over heads, before RoPE; the frames of each role and kernel lose the same
share; 2 x 2 tokens merge into one. One row at a time, in float64.

C channels, T frames, H rows, W columns, L tokens, D width.
"""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

Weights = dict[str, torch.Tensor]
# The ranges of temporal indices, in units of T: Eq. 11-13.
RANGES = {"target": 0, "source": 1, "memory": 2}


@dataclass(frozen=True)
class Sizes:
    """Of a DiT, and of its latents (C, T, H, W)."""

    dim: int
    heads: int
    blocks: int
    frequencies: int
    latent: tuple[int, int, int, int]

    @property
    def head(self) -> int:
        return self.dim // self.heads


@dataclass(frozen=True, eq=False)
class Video:
    """One video of one row: its tokens with everything that they carry.

    group: role and kernel. x: (L, D). places: (L, 3) of t, y, x, or (L, 4) with the video's number.
    frame: (L,) number of the frame.
    cam: (L, 12). grid: rows and columns of a frame. is_merged: whether its frames have merged.
    """

    group: tuple[str, int]
    x: torch.Tensor
    places: torch.Tensor
    frame: torch.Tensor
    cam: torch.Tensor
    grid: tuple[int, int]
    is_merged: bool = False

    @property
    def frames(self) -> list[int]:
        return self.frame.unique().tolist()

    def only(self, frame: int) -> "Video":
        """One frame of it."""
        keep = self.frame == frame
        return replace(
            self,
            x=self.x[keep],
            places=self.places[keep],
            frame=self.frame[keep],
            cam=self.cam[keep],
        )


def linear(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def plain_norm(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()


def root_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


def whole(size: int, step: int) -> list[int]:
    """The numbers below `size`, the last one repeated until `step` divides their count."""
    return list(range(size)) + (-size % step) * [size - 1]


def patches(w: Weights, name: str, latent: torch.Tensor, kernel: int) -> torch.Tensor:
    """Tokens (T, rows, columns, D) of a latent (C, T, H, W)."""
    latent = latent[:, :, whole(latent.shape[2], kernel)]
    latent = latent[:, :, :, whole(latent.shape[3], kernel)]
    channels, count, height, width = latent.shape
    cut = latent.reshape(channels, count, height // kernel, kernel, width // kernel, kernel)
    cut = cut.permute(1, 2, 4, 0, 3, 5).flatten(3)
    return cut @ w[f"{name}.weight"].flatten(1).T + w[f"{name}.bias"]


def video_of(
    w: Weights, layer: str, latent: torch.Tensor, role: str, kernel: int, cams: torch.Tensor
) -> Video:
    """The tokens of a latent (C, T, H, W) through a layer that embeds patches.

    cams: (T, 12). A token lies at its centre, in units of a 1x2x2 token (Eq. 14).
    """
    x = patches(w, layer, latent.double(), kernel)
    count, rows, columns = x.shape[:3]
    middle = (kernel / 2 - 1) / 2
    places = [
        [RANGES[role] * count + t, i * kernel / 2 + middle, j * kernel / 2 + middle]
        for t in range(count)
        for i in range(rows)
        for j in range(columns)
    ]
    frame = torch.arange(count).repeat_interleave(rows * columns)
    return Video(
        (role, kernel),
        x.flatten(0, 2),
        torch.tensor(places).double(),
        frame,
        cams[frame],
        (rows, columns),
    )


def shrunk(w: Weights, layer: str, one: Video) -> Video:
    """Eq. 6: each 2 x 2 tokens of a frame become one."""
    tall, wide = whole(one.grid[0], 2), whole(one.grid[1], 2)
    grid = (len(tall) // 2, len(wide) // 2)

    def fours(values: torch.Tensor) -> torch.Tensor:
        values = values.view(*one.grid, -1)[tall][:, wide]
        return values.view(grid[0], 2, grid[1], 2, -1).transpose(1, 2).flatten(0, 1)

    x = torch.einsum("nyxi,oiyx->no", fours(one.x), w[f"{layer}.weight"]) + w[f"{layer}.bias"]
    size = len(x)
    return replace(
        one,
        x=x,
        places=fours(one.places).mean((1, 2)),
        frame=one.frame[:1].repeat(size),
        cam=one.cam[:1].repeat(size, 1),
        grid=grid,
        is_merged=True,
    )


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """(Lq, D) of queries, keys and values (L, heads, head)."""
    scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)


def turned(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """RoPE of (L, heads, head): pairs of channels as complex numbers.

    Time has what y and x leave. A fourth place, the number of a video, turns all pairs once more.
    """
    side = 2 * (x.shape[-1] // 6)
    widths = (x.shape[-1] - 2 * side, side, side)
    turns = [
        [
            cmath.exp(1j * place[axis] * 10000 ** (-2 * i / width))
            for axis, width in enumerate(widths)
            for i in range(width // 2)
        ]
        for place in places.tolist()
    ]
    width = x.shape[-1]
    if places.shape[1] > len(widths):
        turns = [
            [
                turn * cmath.exp(1j * number * 10000 ** (-2 * i / width))
                for i, turn in enumerate(row)
            ]
            for row, number in zip(turns, places[:, -1].tolist(), strict=True)
        ]
    pairs = torch.complex(x[..., 0::2], x[..., 1::2])
    pairs = pairs * torch.tensor(turns, dtype=torch.complex128)[:, None]
    return torch.stack((pairs.real, pairs.imag), dim=-1).flatten(-2)


class LiteralWan:
    """The velocity of one row.

    w: weights by their names in `TrainedModel`. sigma: of the target. text: (Lt, width).
    is_one_way: clean tokens attend to clean tokens alone. is_clean_zero: they get timestep 0, else
    the target's.
    """

    def __init__(
        self,
        w: Weights,
        sizes: Sizes,
        sigma: float,
        text: torch.Tensor,
        *,
        is_one_way: bool,
        is_clean_zero: bool,
    ) -> None:
        self.w = {name: tensor.double() for name, tensor in w.items()}
        self.sizes, self.is_one_way = sizes, is_one_way
        self.time, self.target_parts = self._time(1000 * sigma)
        self.clean_parts = self._time(0.0 if is_clean_zero else 1000 * sigma)[1]
        name = "dit.condition_embedder.text_embedder"
        hidden = gelu(linear(self.w, f"{name}.linear_1", text.double()))
        self.text = linear(self.w, f"{name}.linear_2", hidden)

    def velocity(self, target: Video, clean: Sequence[Video], share: float | None) -> torch.Tensor:
        """(C, T, H, W). share: of the frames to merge at blocks 10 and 20 of 30."""
        depth, clean = self.sizes.blocks, list(clean)
        for i in range(depth):
            for number, merging in enumerate((depth // 3, 2 * depth // 3)):
                if share is not None and i == merging:
                    clean = self._merged(number, i, target, clean, share)
            target, *clean = self.block(i, [target, *clean])
        shift, scale = self.w["dit.scale_shift_table"][0] + self.time
        out = linear(self.w, "dit.proj_out", plain_norm(target.x) * (1 + scale) + shift)
        channels, count = self.sizes.latent[:2]
        out = out.view(count, *target.grid, 2, 2, channels).permute(5, 0, 1, 3, 2, 4)
        return out.reshape(self.sizes.latent)

    def _time(self, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The embedding (D,) of a timestep and the six parts (6, D) of its modulation."""
        half = self.sizes.frequencies // 2
        turns = [t * 10000 ** (-i / half) for i in range(half)]
        wave = torch.tensor([*map(math.cos, turns), *map(math.sin, turns)]).double()
        name = "dit.condition_embedder"
        embedding = linear(self.w, f"{name}.time_embedder.linear_1", wave)
        embedding = linear(self.w, f"{name}.time_embedder.linear_2", silu(embedding))
        return embedding, linear(self.w, f"{name}.time_proj", silu(embedding)).view(6, -1)

    def block(self, i: int, videos: list[Video]) -> list[Video]:
        w, first = self.w, len(videos[0].x)
        x, places = (torch.cat([getattr(v, part) for v in videos]) for part in ("x", "places"))
        _, _, gate, shift, scale, last_gate = self._parts(i, first, len(x))
        q, k, v = self._heads(i, self._attention_input(i, videos))
        q, k = turned(q, places), turned(k, places)
        h = attended(q, k, v)
        if self.is_one_way:
            h[first:] = attended(q[first:], k[first:], v[first:])
        h = linear(w, f"blocks.{i}.base.attn1.to_out.0", h)
        x = x + gate * linear(w, f"blocks.{i}.cameras.projector", h)
        x = x + self._read(i, x)
        h = gelu(linear(w, f"blocks.{i}.base.ffn.net.0.proj", plain_norm(x) * (1 + scale) + shift))
        x = x + last_gate * linear(w, f"blocks.{i}.base.ffn.net.2", h)
        pieces = x.split([len(video.x) for video in videos])
        return [replace(video, x=piece) for video, piece in zip(videos, pieces, strict=True)]

    def _parts(self, i: int, first: int, count: int) -> torch.Tensor:
        """Shift, scale and gate of attention, then of the feed-forward, (6, L, D)."""
        table = self.w[f"blocks.{i}.base.scale_shift_table"][0]
        target, clean = (table + parts for parts in (self.target_parts, self.clean_parts))
        return torch.stack([target if j < first else clean for j in range(count)], dim=1)

    def _attention_input(self, i: int, videos: list[Video]) -> torch.Tensor:
        """Eq. 17: each token gets the camera of its own video and frame."""
        x, cam = (torch.cat([getattr(v, part) for v in videos]) for part in ("x", "cam"))
        shift, scale = self._parts(i, len(videos[0].x), len(x))[:2]
        h = plain_norm(x) * (1 + scale) + shift
        return h + linear(self.w, f"blocks.{i}.cameras.cam_encoder", cam)

    def _heads(self, i: int, h: torch.Tensor) -> list[torch.Tensor]:
        name = f"blocks.{i}.base.attn1"
        q, k, v = (linear(self.w, f"{name}.to_{part}", h) for part in "qkv")
        q = root_norm(q, self.w[f"{name}.norm_q.weight"])
        k = root_norm(k, self.w[f"{name}.norm_k.weight"])
        return [each.view(len(h), self.sizes.heads, -1) for each in (q, k, v)]

    def _read(self, i: int, x: torch.Tensor) -> torch.Tensor:
        """What the tokens read from the text."""
        w, name = self.w, f"blocks.{i}.base"
        h = plain_norm(x) * w[f"{name}.norm2.weight"] + w[f"{name}.norm2.bias"]
        name = f"{name}.attn2"
        q = root_norm(linear(w, f"{name}.to_q", h), w[f"{name}.norm_q.weight"])
        k = root_norm(linear(w, f"{name}.to_k", self.text), w[f"{name}.norm_k.weight"])
        v = linear(w, f"{name}.to_v", self.text)
        q, k, v = (each.view(len(each), self.sizes.heads, -1) for each in (q, k, v))
        return linear(w, f"{name}.to_out.0", attended(q, k, v))

    def _merged(
        self, number: int, i: int, target: Video, clean: list[Video], share: float
    ) -> list[Video]:
        """The clean videos, whose least responsive whole frames have become fewer tokens."""
        scores = self._responsiveness(i, target, clean)
        chosen, frames, done = set(), 0, 0
        # Shares are rounded over the frames of all groups so far.
        for group in dict.fromkeys(clean[video].group for video, _ in scores):
            ranked = sorted(
                (score, place) for place, score in scores.items() if clean[place[0]].group == group
            )
            frames += len(ranked)
            count = math.floor(frames * share + 0.5) - done
            done += count
            chosen |= {place for _, place in ranked[:count]}
        layer = f"adapter.mergers.{number}"
        return [
            shrunk(self.w, layer, video.only(f)) if (n, f) in chosen else video.only(f)
            for n, video in enumerate(clean)
            for f in video.frames
        ]

    def _responsiveness(
        self, i: int, target: Video, clean: list[Video]
    ) -> dict[tuple[int, int], float]:
        """Eq. 4-5: R of each whole frame, by the numbers of its video and of the frame."""
        q, k, _ = self._heads(i, self._attention_input(i, [target, *clean]))
        q, k = q[: len(target.x)], k[len(target.x) :]
        keys = k.split([len(video.x) for video in clean])
        means = {
            (n, f): keys[n][video.frame == f].mean(0)
            for n, video in enumerate(clean)
            if not video.is_merged
            for f in video.frames
        }
        scores = torch.einsum("qhd,fhd->hqf", q, torch.stack([*means.values()]))
        best = (scores / math.sqrt(self.sizes.head)).softmax(-1).amax(1).mean(0)
        return dict(zip(means, best.tolist(), strict=True))
