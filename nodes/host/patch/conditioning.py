"""Conditioning beside memory: what is read, and what is refused with its reason.

Keys are the names of the inputs of Wan's forwards in ComfyUI, and of the values in a CONDITIONING.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ....memv2v_core.sampling.turn import Turn
from ....memv2v_core.shapes import token_grid
from ....memv2v_core.tokens.tokenizers import BASE_KERNEL

# Clean videos that came with a prompt. A base that reads several videos gets them as references.
REFERENCES = "context_latents"
# VACE's control, its strengths, and the batch, channels and frames of it.
CONTROL, CONTROL_STRENGTHS = "vace_context", "vace_strength"
# Inputs that our forward would silently ignore, and why it refuses them.
REFUSED = {
    "clip_fea": "only image-to-video models read an image prompt, and this one makes video from "
    "text",
    "time_dim_concat": "its frames would stand behind the target in time, where the source and "
    "memories stand",
    "reference_latent": "only Fun Control models read a reference image, and this one has no layer "
    "for it",
    "camera_conditions": "only Fun Camera models read these cameras; memory takes cameras from "
    "Camera Trajectory",
    "audio_embed": "only speech models read sound",
    "control": "Wan's own forward reads no ControlNet",
}
# What the inputs come from in a CONDITIONING, in the keys of its values.
_Conds = Mapping[str, Sequence[Mapping[str, Any]]]


def require_text(inputs: Mapping[str, Any]) -> None:
    """Raise ValueError for an input of the DiT's forward that memory cannot read.

    inputs: by the names of the forward's arguments.
    """
    for name, reason in REFUSED.items():
        if inputs.get(name) is not None:
            raise ValueError(
                f"the model got the conditioning {name!r} beside memory, wanted text alone: "
                f"{reason}; disconnect the node that adds it, or Apply Memory"
            )


def require_references(turn: Turn, conds: _Conds) -> None:
    """Raise ValueError for references that the base cannot tell apart, and for the source in them.

    conds: of all prompts of a run. It compares videos, so it runs once per run.
    """
    for given in _all_references(conds):
        if not turn.base.has_source_ids:
            raise ValueError(
                f"the model got the conditioning {REFERENCES!r} beside memory, but "
                f"{turn.base.model_name} tells clean videos apart by their places in time and has "
                "none for it; disconnect Bernini Conditioning, or load Bernini-R"
            )
        for video in given:
            if turn.source is not None and _same(video, turn.source):
                raise ValueError(
                    "the model got the source video twice: as source of Apply Memory and in "
                    f"{REFERENCES!r}; disconnect it from one of them"
                )


def num_reference_tokens(conds: _Conds, num_frames: int, whole: int) -> int:
    """Tokens of the references beside a target, of the prompt with the most of them.

    num_frames: latent frames that the model sees at once. whole: latent frames of the target.
    ComfyUI's context windows cut a reference that is as long as the target.
    """
    counts = [
        sum(_num_tokens(video, num_frames, whole) for video in given)
        for given in _all_references(conds)
    ]
    return max(counts, default=0)


def _num_tokens(video: torch.Tensor, num_frames: int, whole: int) -> int:
    length, height, width = video.shape[-3:]
    rows, columns = token_grid(height, width, BASE_KERNEL)
    shown = min(num_frames, length) if length == whole > 1 else length
    return shown * rows * columns


def _all_references(conds: _Conds) -> Iterator[Iterable[torch.Tensor]]:
    for prompts in conds.values():
        for prompt in prompts:
            given = prompt.get(REFERENCES)
            if given:
                yield given


def _same(video: torch.Tensor, source: torch.Tensor) -> bool:
    return video.shape[1:] == source.shape and torch.allclose(
        video[0].to(source), source, rtol=1e-4, atol=1e-4
    )
