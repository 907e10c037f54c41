"""Two experts in one run: where the list of noise levels is cut, and who takes which part."""

from dataclasses import dataclass

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.bases.experts import num_high_noise_steps, require_pair
from ....memv2v_core.long_edit.settings import SamplerSettings
from ....memv2v_core.vocabulary import EditMode
from ..models.attachment import base_info


@dataclass(frozen=True, eq=False)
class Stage:
    """The part of a run that one MODEL takes.

    name: of the input that it came from.
    sigmas: noise levels from its first step on, one more than steps; None where one MODEL takes the
    whole run, with the levels of ComfyUI's sampler.
    first_step: from 0.
    """

    model: ModelPatcher
    name: str = "model"
    sigmas: torch.Tensor | None = None
    first_step: int = 0


def stages_of(
    model: ModelPatcher, low_noise_model: ModelPatcher | None, settings: SamplerSettings
) -> tuple[Stage, ...]:
    """The run in order: one stage of `model` alone, or a stage for each of two experts.

    An expert without a step has no stage. The levels are those of `model` in KSampler; nothing of
    `low_noise_model` changes them, its flow shift neither.

    Raises: ValueError where the two are no pair, see `require_pair`.
    """
    if low_noise_model is None:
        return (Stage(model),)
    boundary = require_pair(base_info(model), base_info(low_noise_model))
    # KSampler makes the list: with some samplers it leaves one level out.
    sigmas = comfy.samplers.KSampler(
        model,
        steps=settings.steps,
        device=model.load_device,
        sampler=settings.sampler_name,
        scheduler=settings.scheduler,
        model_options=model.model_options,
    ).sigmas
    num_steps = len(sigmas) - 1
    cut = num_high_noise_steps(sigmas.tolist(), boundary)
    stages = []
    if cut > 0:
        stages.append(Stage(model, sigmas=sigmas[: cut + 1]))
    if cut < num_steps:
        stages.append(Stage(low_noise_model, "low_noise_model", sigmas[cut:], cut))
    return tuple(stages)


def describe_experts(
    model: ModelPatcher,
    low_noise_model: ModelPatcher | None,
    settings: SamplerSettings,
    mode: EditMode = "memory",
) -> tuple[str, ...]:
    """A line that says which expert takes which steps; nothing for one MODEL.

    Raises: ValueError where the two are no pair, see `require_pair`, and in the mode "fifo".
    """
    if low_noise_model is None:
        return ()
    if mode == "fifo":
        raise ValueError(
            "mode got 'fifo' with a low_noise_model, wanted 'memory' or 'independent': one call of "
            "FIFO has frames of every noise level, so no one expert can take it; choose another "
            "mode, or disconnect low_noise_model"
        )
    parts = []
    for stage in stages_of(model, low_noise_model, settings):
        assert stage.sigmas is not None, "a stage of two experts has levels"
        last = stage.first_step + len(stage.sigmas) - 1
        parts.append(f"{stage.name} takes steps {stage.first_step + 1} to {last}")
    boundary = base_info(model).expert_boundary
    return (f"two experts, cut where sigma falls below {boundary:g}: {', '.join(parts)}",)
