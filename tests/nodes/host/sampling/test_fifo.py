"""FIFO through ComfyUI's guider against the core's FIFO over the same DiT called by hand."""

import pytest
import torch
from instruments.tiny_wan import wan_weights

from memv2v_core.sampling.fifo import num_fifo_calls, sample_fifo

NUM_FRAMES, WINDOW, STEPS, SEED = 6, 3, 4, 11


@pytest.fixture(scope="module")
def lucy(tiny_wan):
    return tiny_wan.load(tiny_wan.save(wan_weights(96, 48), "tiny_fifo_lucy.safetensors"))


@torch.inference_mode()
def fifo(
    model, tiny_wan, num_frames: int = NUM_FRAMES, cfg: float = 2.0, **settings
) -> torch.Tensor:
    from memory_v2v.nodes.host.sampling.fifo import sample_fifo_video

    source = tiny_wan.video(3, num_frames, channels=48)
    return sample_fifo_video(
        model, tiny_wan.prompt(1), tiny_wan.prompt(2), source, WINDOW, STEPS, cfg, SEED, **settings
    )


@torch.inference_mode()
def by_hand(model, tiny_wan, num_frames: int, cfg: float) -> torch.Tensor:
    """The same video with the DiT called directly, in the VAE's space."""
    import comfy.model_management
    import comfy.samplers

    comfy.model_management.load_models_gpu([model])
    base = model.model
    source = base.process_latent_in(tiny_wan.video(3, num_frames, channels=48)[None])
    sigmas = comfy.samplers.calculate_sigmas(base.model_sampling, "simple", STEPS)
    generator = torch.Generator().manual_seed(SEED)

    def velocity(x: torch.Tensor, timesteps: torch.Tensor, frames: tuple[int, ...]) -> torch.Tensor:
        both = torch.cat((x, source[:, :, list(frames)]), dim=1)
        prompts = (tiny_wan.prompt(i)[0][0] for i in (1, 2))
        positive, negative = (base.diffusion_model(both, timesteps, prompt) for prompt in prompts)
        return negative + cfg * (positive - negative)

    def noise(count: int) -> torch.Tensor:
        return torch.randn(1, 48, count, *source.shape[3:], generator=generator)

    return base.process_latent_out(
        torch.cat(list(sample_fifo(velocity, noise, num_frames, WINDOW, sigmas)), dim=2)
    )[0]


@pytest.mark.parametrize("num_frames", [NUM_FRAMES, 2])
@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_fifo_equals_the_core_over_the_same_dit(lucy, tiny_wan, num_frames: int, cfg: float):
    edited = fifo(lucy, tiny_wan, num_frames, cfg)
    assert edited.shape == (48, num_frames, 8, 16)
    assert edited.device.type == "cpu"
    torch.testing.assert_close(edited, by_hand(lucy, tiny_wan, num_frames, cfg), atol=1e-4, rtol=0)


def test_every_frame_sees_its_own_source(lucy, tiny_wan):
    from memory_v2v.nodes.host.sampling.fifo import sample_fifo_video

    source = tiny_wan.video(3, NUM_FRAMES, channels=48)
    other = source.clone()
    other[:, -1] += 5  # seen by the queue only from the round on in which the last frame enters
    prompts = tiny_wan.prompt(1), tiny_wan.prompt(2)
    with torch.inference_mode():
        plain, changed = (
            sample_fifo_video(lucy, *prompts, s, WINDOW, STEPS, 1.0, SEED) for s in (source, other)
        )
    difference = (plain - changed).abs().amax((0, 2, 3))
    enters = NUM_FRAMES - 1 - STEPS + 1
    assert (difference[:enters] == 0).all()
    assert difference[-1] > 1e-2


def test_progress_counts_every_call_and_the_same_seed_gives_the_same_video(lucy, tiny_wan):
    steps: list[tuple[int, int]] = []
    first = fifo(lucy, tiny_wan, callback=lambda step, x0, x, total: steps.append((step, total)))
    total = num_fifo_calls(NUM_FRAMES, WINDOW, STEPS)
    assert steps == [(i, total) for i in range(total)]
    assert torch.equal(first, fifo(lucy, tiny_wan))


def test_it_can_be_interrupted(lucy, tiny_wan):
    import comfy.model_management

    def interrupt(step: int, *_: object) -> None:
        comfy.model_management.interrupt_current_processing(step == 2)

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        fifo(lucy, tiny_wan, callback=interrupt)


def test_a_model_with_source_tokens_is_refused(wan_model, tiny_wan):
    with pytest.raises(
        ValueError, match="wanted one that takes its source beside the target's channels"
    ):
        fifo(wan_model, tiny_wan)
