import pytest
import torch

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.shapes import VaeRatios
from memv2v_core.training.data.own_memories import (
    BLIND_SIGMA,
    NUM_SIGHTS,
    NUM_STEPS,
    SegmentLatents,
    draw_memory,
)
from memv2v_core.training.seeds import seeded

NUM_FRAMES = 9
PROMPTS = ("put a hat on the red ball", "give the blue box a hat")
BASE = BaseInfo(
    "in training",
    "trained",
    VaeRatios(1, 8, 6),
    text_width=None,
    clean_timestep="zero",
    has_cameras=False,
    source_placement="channels",
)


def segment(seed: int, frames: tuple[int, ...]) -> SegmentLatents:
    edited, source = torch.randn(
        2, 2, 6, len(frames), 4, 4, generator=torch.Generator().manual_seed(seed)
    )
    edited[:, 4:] = source[:, 4:] = 0
    return SegmentLatents(edited, source, frames)


class Watched:
    """An editor that knows the answer, or is some other function of its noisy latent, and what it
    was asked.
    """

    def __init__(self, answer: torch.Tensor | None = None) -> None:
        self.answer = answer
        self.given: list[torch.Tensor] = []
        self.sigmas: list[float] = []
        self.inputs: list[MemoryInputs] = []

    def __call__(
        self,
        given: torch.Tensor,
        timesteps: torch.Tensor,
        prompts: tuple[str, ...],
        inputs: MemoryInputs,
    ) -> torch.Tensor:
        assert prompts == PROMPTS
        assert timesteps.shape == (2,)
        self.given.append(given)
        self.sigmas.append(float(timesteps[0]) / 1000)
        self.inputs.append(inputs)
        x = given[:, :6]
        return torch.zeros_like(x) if self.answer is None else (x - self.answer) / self.sigmas[-1]


def drawn_by(editor: Watched, sight: int, seed: int = 0) -> torch.Tensor:
    rows = [seeded(seed, number) for number in range(2)]
    return draw_memory(
        editor,
        segment(0, (1, 4, 7)),
        segment(1, (0, 5)),
        PROMPTS,
        NUM_FRAMES,
        sight,
        rows,
        BASE,
    )


@pytest.mark.parametrize("sight", range(NUM_SIGHTS))
def test_an_editor_that_knows_the_answer_draws_it(sight: int):
    answer = segment(2, (0, 1, 2)).edited
    drawn = drawn_by(Watched(answer), sight)
    torch.testing.assert_close(drawn, answer, atol=1e-4, rtol=0)


def test_it_sees_its_own_source_and_the_other_segments_true_edit_or_nothing():
    kernels = []
    for sight in range(NUM_SIGHTS):
        editor, memory, shown = Watched(), segment(0, (1, 4, 7)), segment(1, (0, 5))
        drawn_by(editor, sight)
        assert len(editor.given) == NUM_STEPS
        assert all(torch.equal(given[:, 6:], memory.source) for given in editor.given)
        (inputs,) = {id(inputs): inputs for inputs in editor.inputs}.values()
        assert inputs.target_frame_indices == memory.frames
        assert inputs.clean_timestep == "zero"
        kernels.append(inputs.streams[0].kernel if inputs.streams else None)
        if inputs.streams:
            (stream,) = inputs.streams
            assert torch.equal(stream.latent, torch.cat((shown.edited, shown.source), dim=1))
            assert stream.frame_indices == ((9, 14) if stream.kernel == 2 else (18, 23))
            assert editor.sigmas[0] == 1
        else:
            assert editor.sigmas[0] == pytest.approx(BLIND_SIGMA)
    assert kernels == [2, 4, None]


def test_only_with_nothing_to_look_at_it_begins_from_the_truth_in_noise():
    truth = segment(0, (1, 4, 7)).edited[:, :4]
    for sight in range(NUM_SIGHTS):
        editor = Watched()
        drawn_by(editor, sight, seed=sight)
        start = editor.given[0][:, :4]
        with_truth = torch.corrcoef(torch.stack((start.flatten(), truth.flatten())))[0, 1]
        expected = (
            0.0
            if editor.inputs[0].streams
            else (1 - BLIND_SIGMA) / (BLIND_SIGMA**2 + (1 - BLIND_SIGMA) ** 2) ** 0.5
        )
        assert with_truth == pytest.approx(expected, abs=0.12)
        assert editor.given[0][:, 4:6].abs().max() == 0
