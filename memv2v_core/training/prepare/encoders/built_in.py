"""The codec and the text encoder of a built-in model."""

from collections.abc import Sequence

import torch

from ....builtin.bundle import builtin_names, load_codec, load_text_encoder, read_info
from ....builtin.codec import Codec, codec_ratios
from ....builtin.info import BUILTIN_PREFIX
from ....builtin.text_encoder import TextEncoder
from ....shapes import VaeRatios


class BuiltinEncoder:
    """model: name of the built-in model.

    Raises: ValueError for a name that no built-in model has.
    """

    def __init__(self, model: str, device: torch.device) -> None:
        if model not in builtin_names():
            raise ValueError(
                f"model got {model!r}, wanted one of {', '.join(builtin_names())}; correct it"
            )
        self._model, self._device = model, device
        self._info = read_info(model)
        self._codec: Codec | None = None
        self._text: TextEncoder | None = None

    @property
    def name(self) -> str:
        return BUILTIN_PREFIX + self._model

    @property
    def ratios(self) -> VaeRatios:
        return codec_ratios(self._info.dit.channels)

    @property
    def text_width(self) -> int | None:
        return self._info.dit.text_dim

    def load_vae(self) -> None:
        self.free_text()
        self._load_codec()

    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        return self._load_codec().encode_frames(frames).float().cpu()

    def decode_video(self, latent: torch.Tensor) -> torch.Tensor:
        return self._load_codec().decode_frames(latent)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        if self._info.text is None:
            # A model that reads no text gets one zero token, as Bundle.empty_context gives it.
            return [torch.zeros(1, self._info.dit.text_dim) for _ in prompts]
        if self._text is None:
            encoder = load_text_encoder(self._model, self._info.text)
            self._text = encoder.eval().requires_grad_(False).to(self._device)
        # One by one: a batch would pad all prompts to the length of the longest.
        return [self._text([prompt])[0].float().cpu() for prompt in prompts]

    def free_text(self) -> None:
        self._text = None

    def _load_codec(self) -> Codec:
        if self._codec is None:
            self._codec = load_codec(self._model).to(self._device)
        return self._codec
