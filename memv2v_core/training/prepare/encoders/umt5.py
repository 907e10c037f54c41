"""UMT5 as diffusers' Wan pipelines use it.

L tokens, D width.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from ....weights.reading.boundary import reading
from .model_files import read_config, require_part, require_whole

NUM_TOKENS = 512
XXL_WIDTH = 4096
_WANTED = "Wan's text encoder UMT5"


class Umt5:
    """folder: of a diffusers model, with text_encoder/ and tokenizer/.

    Raises: ValueError where a part is missing.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        self._model_folder = folder / "text_encoder"
        self._tokenizer_folder = folder / "tokenizer"
        require_part(self._model_folder, "text_encoder", ("config.json", "*.safetensors"))
        require_part(self._tokenizer_folder, "tokenizer", ("tokenizer_config.json",))
        self.width = int(read_config(self._model_folder / "config.json").get("d_model", 0))
        if self.width < 1:
            raise ValueError(f"{self._model_folder} is no UMT5; take another folder")
        self._dtype, self._device = dtype, device
        self._parts: tuple | None = None

    @property
    def name(self) -> str:
        return "UMT5-XXL" if self.width == XXL_WIDTH else f"UMT5 of width {self.width}"

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        """Tokens (512, D) of each prompt, in the encoder's type; zero after the prompt's end.

        Source: WanPipeline._get_t5_prompt_embeds of diffusers. One prompt a call: the last digits
        of a batch depend on its size.
        """
        from diffusers.pipelines.wan.pipeline_wan import prompt_clean

        tokenizer, model = self._load()
        rows = []
        for prompt in prompts:
            pieces = tokenizer(
                prompt_clean(prompt),
                padding="max_length",
                max_length=NUM_TOKENS,
                truncation=True,
                add_special_tokens=True,
                return_attention_mask=True,
                return_tensors="pt",
            )
            mask = pieces.attention_mask.to(self._device)  # (1, L)
            states = model(pieces.input_ids.to(self._device), mask).last_hidden_state
            # `where`, as NaN times zero would stay NaN.
            kept = mask.gt(0).unsqueeze(-1)
            rows.append(torch.where(kept, states, torch.zeros_like(states))[0].cpu())
        return rows

    def free(self) -> None:
        """Free the memory of the weights."""
        self._parts = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _load(self) -> tuple:
        if self._parts is None:
            # Slow to import.
            from transformers import AutoTokenizer, UMT5EncoderModel

            with reading(self._tokenizer_folder / "tokenizer_config.json", "Wan's tokenizer"):
                tokenizer = AutoTokenizer.from_pretrained(
                    str(self._tokenizer_folder), local_files_only=True
                )
            # A fault of the weights is meant: the description was read above.
            with reading(min(self._model_folder.glob("*.safetensors")), _WANTED):
                model, found = UMT5EncoderModel.from_pretrained(
                    str(self._model_folder),
                    torch_dtype=self._dtype,
                    local_files_only=True,
                    use_safetensors=True,
                    output_loading_info=True,
                )
            # The token embedding has a second name and is stored once.
            missing = [name for name in found["missing_keys"] if "embed_tokens" not in name]
            require_whole(self._model_folder, missing)
            model = model.eval().requires_grad_(False).to(self._device)
            self._parts = tokenizer, model
        return self._parts
