"""When clean tokens are refreshed, and what happens where they cannot be kept."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from diffusers import WanTransformer3DModel

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.kept_streams import DeviceShelf, KeptRows, Shelf
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import CleanTokens, tokenize_clean
from memv2v_core.sampling.denoising import SamplerConfig, sample_latent
from memv2v_core.sampling.reuse import (
    AnyRoom,
    EveryCalls,
    EveryNoise,
    ReuseReport,
    StreamReuse,
    stream_reuse,
)
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.reuse import ReuseConfig

SHAPE = torch.Size((1, 16, 3, 8, 12))
STEPS = SamplerConfig(num_steps=6, shift=3.0)


@pytest.fixture
def make_inputs(make_stream: Callable, make_cameras: Callable[..., FrameCameras]) -> Callable:
    def make(**changes: object) -> MemoryInputs:
        streams = (make_stream("source"), make_stream("memory", 4, 1), make_stream("memory", 8, 2))
        return MemoryInputs(streams, make_cameras(9), **changes)

    return make


@pytest.fixture
def clean(dit: WanTransformer3DModel, adapter: MemoryAdapter, make_inputs: Callable) -> CleanTokens:
    return tokenize_clean(DiffusersView(dit), adapter, make_inputs(), SHAPE)


@dataclass
class Calls:
    """A forward that keeps one number in each of two blocks, and a letter for every call: R
    refreshes, u uses, p does neither.
    """

    told: str = ""
    fails: list[bool] = field(default_factory=list)
    blocks: Sequence[int] = (0, 1)

    def __call__(self, clean: CleanTokens, kept: KeptRows | None) -> torch.Tensor:
        if self.fails and self.fails.pop(0):
            raise torch.OutOfMemoryError("planted")
        if kept is None:
            self.told += "p"
        elif clean.tokens is not None:
            for block in self.blocks:
                kept.keep(block, torch.ones(kept.num_rows, 1, 2), torch.ones(kept.num_rows, 1, 2))
            self.told += "R"
        else:
            for block in (0, 1):
                kept.recall(block)
            self.told += "u"
        return torch.zeros(1)


def run(
    reuse: StreamReuse,
    clean: CleanTokens,
    timesteps: Sequence[float],
    keys: Sequence[str] = ("a",),
    calls: Calls | None = None,
) -> str:
    calls = calls or Calls()
    before = len(calls.told)
    for timestep in timesteps:
        reuse.call(calls, clean, keys, torch.full((len(keys),), timestep), num_bytes=1)
    return calls.told[before:]


FALLING = (1000.0, 900.0, 800.0, 700.0, 600.0, 500.0, 400.0)
# A sampler of second order looks ahead, and comes back to the same noise.
HEUN = (1000.0, 900.0, 900.0, 800.0, 800.0, 700.0, 700.0)


@pytest.mark.parametrize(
    ("schedule", "timesteps", "wanted"),
    [
        (EveryCalls(2), FALLING, "RuRuRuR"),
        (EveryCalls(3), FALLING, "RuuRuuR"),
        (EveryCalls(None), FALLING, "Ruuuuuu"),
        (EveryCalls(3), HEUN, "RuuRuuR"),
        (EveryNoise(300.0), FALLING, "RuuRuuR"),
        (EveryNoise(300.0), HEUN, "RuuuuRu"),
        # Noise that rises begins another pass.
        (EveryCalls(9), (500.0, 400.0, 900.0, 800.0), "RuRu"),
        (EveryNoise(300.0), (500.0, 400.0, 900.0, 800.0), "RuRu"),
        (EveryCalls(None), (500.0, 400.0, 900.0), "Ruu"),
    ],
)
def test_calls_are_counted_not_steps(
    clean: CleanTokens, schedule: object, timesteps: Sequence[float], wanted: str
) -> None:
    reuse = StreamReuse(schedule)
    assert run(reuse, clean, timesteps) == wanted
    assert len(reuse.report.refreshes) == wanted.count("R")
    assert reuse.report.num_reused == wanted.count("u")


def test_each_prompt_has_its_own_count_whether_it_runs_alone_or_beside_another(
    clean: CleanTokens,
) -> None:
    reuse = StreamReuse(EveryCalls(3))
    assert run(reuse, clean, (1000.0,), ("a",)) == "R"
    # The other prompt is new, so both are refreshed.
    assert run(reuse, clean, (900.0,), ("a", "b")) == "R"
    assert run(reuse, clean, (800.0,), ("b",)) == "u"
    assert run(reuse, clean, (800.0, 700.0), ("a",)) == "uu"
    assert run(reuse, clean, (700.0,), ("a", "b")) == "R"


def test_a_block_that_a_patch_skipped_is_refreshed(clean: CleanTokens) -> None:
    reuse, calls = StreamReuse(EveryCalls(9)), Calls(blocks=(0,))
    assert run(reuse, clean, (1000.0,), calls=calls) == "R"
    calls.blocks = (0, 1)
    assert run(reuse, clean, (900.0, 800.0), calls=calls) == "Ru"


def test_what_nobody_wants_any_more_is_dropped(clean: CleanTokens) -> None:
    reuse = StreamReuse(EveryCalls(9))
    run(reuse, clean, (1000.0, 990.0), ("a",))
    held = reuse.num_bytes
    run(reuse, clean, FALLING[1:], ("b",))
    assert reuse.num_bytes == held > 0
    reuse.drop()
    assert reuse.num_bytes == 0


def test_windows_that_move_are_not_kept_for_ever(clean: CleanTokens) -> None:
    reuse, calls = StreamReuse(EveryCalls(4)), Calls()
    for i, timestep in enumerate(FALLING):
        run(reuse, clean, (timestep,), (f"window {i}",), calls)
    assert calls.told == "RRRRppp"
    assert reuse.num_bytes == 0
    assert "no call comes back" in reuse.report.describe()


class NoRoom(AnyRoom):
    def shelf(self, _num_bytes: int, /) -> Shelf | None:
        return None


class LateFailure(DeviceShelf):
    def put(self, tensor: torch.Tensor, place: torch.Tensor | None, /) -> torch.Tensor:
        raise torch.OutOfMemoryError("planted")


class FullRoom(AnyRoom):
    def shelf(self, _num_bytes: int, /) -> Shelf | None:
        return LateFailure()


@pytest.mark.parametrize(
    ("room", "told", "words"),
    [(NoRoom(), "ppp", "do not fit into memory"), (FullRoom(), "Rpp", "memory ran out for their")],
)
def test_without_room_every_call_refreshes_and_says_so(
    clean: CleanTokens, room: AnyRoom, told: str, words: str
) -> None:
    reuse = StreamReuse(EveryCalls(4), room=room)
    assert run(reuse, clean, FALLING[:3]) == told
    assert reuse.num_bytes == 0
    assert words in reuse.report.describe()
    assert "refreshed in every call" in reuse.report.describe()


def test_a_call_that_runs_out_of_memory_is_made_again_without_what_is_kept(
    clean: CleanTokens,
) -> None:
    reuse = StreamReuse(EveryCalls(2))
    calls = Calls(fails=[False, False, True])
    assert run(reuse, clean, FALLING[:4], calls=calls) == "Rupp"
    assert "memory ran out" in reuse.report.describe()
    # A call that reuses may run out of memory too.
    reuse, calls = StreamReuse(EveryCalls(9)), Calls(fails=[False, True])
    assert run(reuse, clean, FALLING[:3], calls=calls) == "Rpp"
    assert reuse.num_bytes == 0
    # Without any keeping the failure is not ours.
    reuse = StreamReuse(EveryCalls(2), room=NoRoom())
    with pytest.raises(torch.OutOfMemoryError):
        run(reuse, clean, (1000.0,), calls=Calls(fails=[True]))


def test_what_was_kept_is_free_before_the_call_is_made_again(clean: CleanTokens) -> None:
    held: list[weakref.ref] = []
    alive: list[int] = []

    def forward(clean: CleanTokens, kept: KeptRows | None) -> torch.Tensor:
        alive.append(sum(reference() is not None for reference in held))
        activations = torch.ones(4)
        held.append(weakref.ref(activations))
        if kept is not None:
            kept.keep(0, torch.ones(1, 1, 2), torch.ones(1, 1, 2))
            held.extend(weakref.ref(s.parts[0]) for s in kept.parts[0]._blocks[0])
            raise torch.OutOfMemoryError("planted")
        return torch.zeros(1)

    reuse = StreamReuse(EveryCalls(2))
    reuse.call(forward, clean, ("a",), torch.tensor([1000.0]), num_bytes=1)
    assert alive == [0, 0]
    assert len(held) == 4


@pytest.fixture
def sample(dit: WanTransformer3DModel, adapter: MemoryAdapter) -> Callable[..., torch.Tensor]:
    def run(inputs: MemoryInputs, reuse: StreamReuse | None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        context = torch.randn(1, 5, 24, generator=generator)
        noise = torch.randn(SHAPE, generator=generator)
        return sample_latent(
            DiffusersView(dit), adapter, inputs, context, noise, STEPS, reuse=reuse
        )

    return run


@pytest.mark.parametrize("reads_text", [False, True])
def test_one_refresh_serves_a_whole_one_way_run_exactly(
    sample: Callable[..., torch.Tensor], make_inputs: Callable, reads_text: bool
) -> None:
    inputs = make_inputs(attention="one_way", clean_timestep="zero", clean_reads_text=reads_text)
    reuse = stream_reuse(ReuseConfig(), inputs, measured=1)
    assert reuse is not None
    assert reuse.is_constant
    reused, plain = sample(inputs, reuse), sample(inputs, None)
    torch.testing.assert_close(reused, plain, atol=1e-5, rtol=0)
    assert (len(reuse.report.refreshes), reuse.report.num_reused) == (1, 5)


def test_two_way_reuse_is_close_and_not_the_same(
    sample: Callable[..., torch.Tensor], make_inputs: Callable
) -> None:
    inputs = make_inputs(merging=MergeConfig(share=0.5))
    plain = sample(inputs, None)
    differences = []
    for every in (1, 2, 6):
        reuse = StreamReuse(EveryCalls(every))
        differences.append((sample(inputs, reuse) - plain).norm() / plain.norm())
        assert len(reuse.report.refreshes) == 6 // every
    assert differences[0] == 0
    assert 1e-5 < differences[1] < differences[2]


def test_a_run_reuses_what_its_base_was_measured_for(make_inputs: Callable) -> None:
    inputs = make_inputs()
    assert stream_reuse(ReuseConfig(), inputs, measured=1) is None
    assert stream_reuse(ReuseConfig(), inputs, measured=3).schedule == EveryCalls(3)
    assert stream_reuse(ReuseConfig(1), inputs, measured=3) is None
    assert stream_reuse(ReuseConfig(4), inputs, measured=3).schedule == EveryCalls(4)
    assert stream_reuse(ReuseConfig(4), MemoryInputs(), measured=3) is None
    constant = make_inputs(attention="one_way", clean_timestep="zero")
    assert stream_reuse(ReuseConfig(4), constant, measured=1).schedule == EveryCalls(None)
    assert stream_reuse(ReuseConfig(1), constant, measured=1) is None
    with pytest.raises(ValueError, match="refresh_every got -1, wanted 0 for automatic"):
        ReuseConfig(-1)


def test_the_report_says_how_often_how_much_and_what_changed(
    sample: Callable[..., torch.Tensor], make_inputs: Callable
) -> None:
    reuse = StreamReuse(EveryCalls(3), precision="fp8")
    sample(make_inputs(), reuse)
    text = reuse.report.describe()
    assert text.startswith("clean videos refreshed in 2 of 6 calls of the model;")
    assert "kept in fp8" in text
    # The second refresh is the fourth of six steps.
    assert "% at 750" in text
    both = ReuseReport.joined([reuse.report, reuse.report])
    assert both.describe().startswith("clean videos refreshed in 4 of 12 calls")
    assert ReuseReport.joined([]).describe() == ""
