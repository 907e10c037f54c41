"""The built-in text encoder: a small UMT5 with its own sentencepiece vocabulary.

Wan reads text through the same family of encoders.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

# The numbers that UMT5 gives to these pieces.
_PAD, _END, _UNKNOWN = 0, 1, 2
# Distances between two pieces that UMT5 tells apart.
_NUM_BUCKETS = 32


@dataclass(frozen=True)
class TextConfig:
    """Sizes of a small UMT5 encoder.

    num_tokens: shorter prompts are padded to this length.
    """

    dim: int = 64
    num_layers: int = 2
    num_heads: int = 4
    head_dim: int = 16
    ffn_dim: int = 128
    num_tokens: int = 16


def train_vocabulary(sentences: Iterable[str], size: int = 160) -> bytes:
    """A sentencepiece model that covers `sentences`; any other text falls back to bytes."""
    # sentencepiece comes with ComfyUI and is slow to import.
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        # 256 pieces for the bytes of any text outside the sentences.
        vocab_size=size + 256,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        pad_id=_PAD,
        eos_id=_END,
        unk_id=_UNKNOWN,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def vocabulary_size(vocabulary: bytes) -> int:
    """The number of pieces of a sentencepiece model.

    Raises: RuntimeError for bytes that are none.
    """
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=vocabulary).get_piece_size()


def text_shapes(config: TextConfig, num_pieces: int) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of the encoder, by UMT5's own names."""
    dim, inner, hidden = config.dim, config.num_heads * config.head_dim, config.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {
        "shared.weight": (num_pieces, dim),
        "encoder.final_layer_norm.weight": (dim,),
    }
    for i in range(config.num_layers):
        attention = f"encoder.block.{i}.layer.0."
        for name in "qkv":
            shapes[f"{attention}SelfAttention.{name}.weight"] = (inner, dim)
        shapes[f"{attention}SelfAttention.o.weight"] = (dim, inner)
        shapes[f"{attention}SelfAttention.relative_attention_bias.weight"] = (
            _NUM_BUCKETS,
            config.num_heads,
        )
        shapes[f"{attention}layer_norm.weight"] = (dim,)
        feed_forward = f"encoder.block.{i}.layer.1."
        for name in ("wi_0", "wi_1"):
            shapes[f"{feed_forward}DenseReluDense.{name}.weight"] = (hidden, dim)
        shapes[f"{feed_forward}DenseReluDense.wo.weight"] = (dim, hidden)
        shapes[f"{feed_forward}layer_norm.weight"] = (dim,)
    return shapes


class TextEncoder(nn.Module):
    """Prompts to text tokens (B, L, D).

    Tokens after a prompt's end are zero, as ComfyUI's Wan text encoder makes them.
    """

    def __init__(self, config: TextConfig, vocabulary: bytes) -> None:
        super().__init__()
        import sentencepiece

        # Slow to import, and ComfyUI has its own encoder.
        from transformers import UMT5Config, UMT5EncoderModel

        self.config = config
        self.vocabulary = vocabulary
        self._pieces = sentencepiece.SentencePieceProcessor(
            model_proto=vocabulary, add_bos=False, add_eos=True
        )
        self.model = UMT5EncoderModel(
            UMT5Config(
                vocab_size=self._pieces.get_piece_size(),
                d_model=config.dim,
                d_kv=config.head_dim,
                d_ff=config.ffn_dim,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
            )
        )

    def forward(self, prompts: Sequence[str]) -> torch.Tensor:
        pieces = [self._pieces.encode(prompt) for prompt in prompts]
        # The length of the longest prompt, at least `num_tokens`, as ComfyUI pads.
        length = max(self.config.num_tokens, *map(len, pieces))
        device = self.model.shared.weight.device
        ids = torch.tensor([row + [_PAD] * (length - len(row)) for row in pieces], device=device)
        mask = torch.tensor(
            [[1] * len(row) + [0] * (length - len(row)) for row in pieces], device=device
        )
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        # Tokens of the padding become zero.
        return states * mask.unsqueeze(-1).to(states)
