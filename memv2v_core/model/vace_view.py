"""ComfyUI's native VaceWanModel as a `Backbone`: a Wan with a control beside the target.

The control runs through blocks of its own. They read the target's first tokens, and their outputs
are added to the target's tokens after some blocks of the DiT. Clean videos have no control: nothing
is added to their tokens.
Source: VACE (arXiv:2503.07598), its context adapter, and ComfyUI's VaceWanModel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .wan_view import WanView


class VaceView(WanView):
    """Calls the modules of one live VaceWanModel, for one call.

    control: (B, n, C, T, H, W), n controls as ComfyUI gives them. strengths: one a control.
    The other arguments are `WanView`'s.

    Raises: ValueError for a control whose frames are not the target's.
    """

    def __init__(
        self, *args: Any, control: torch.Tensor, strengths: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        size, wanted = tuple(control.shape[-3:]), tuple(self.noisy.shape[-3:])
        if size != wanted:
            raise ValueError(
                f"the control of VACE got {size} (latent frames, height, width), wanted {wanted} "
                "as the target, with an even height and width; give WanVaceToVideo the size and "
                "length of the source, and no reference image, which adds a frame"
            )
        self.strengths = strengths
        # In fp32, as in the native forward.
        tokens = self.model.vace_patch_embedding(control.movedim(1, 0).flatten(0, 1).float())
        tokens = tokens.to(control.dtype).flatten(2).mT
        # Of every control, (B, L, D), on their way through the control's own blocks.
        self.controls = list(tokens.split(control.shape[0]))
        self.first_tokens: torch.Tensor | None = None

    def around_block(
        self,
        block_idx: int,
        x: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor,
        rope: torch.Tensor,
        run: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """run(x) as in `WanView`, and the control's part on the target's tokens."""
        num_target = self.controls[0].shape[1]
        if self.first_tokens is None:
            self.first_tokens = x[:, :num_target]
        x = super().around_block(block_idx, x, time, text, rope, run)
        number = self.model.vace_layers_mapping.get(block_idx)
        if number is None:
            return x
        target = x[:, :num_target]
        for i, strength in enumerate(self.strengths):
            update, self.controls[i] = self.model.vace_blocks[number](
                self.controls[i],
                x=self.first_tokens,
                e=time,
                freqs=rope[:, :num_target],
                context=text,
                context_img_len=None,
                transformer_options=self.options,
            )
            target = target + update * strength
        return torch.cat((target, x[:, num_target:]), dim=1)
