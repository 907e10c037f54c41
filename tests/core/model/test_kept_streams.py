"""Kept keys and values of clean tokens: the target alone sees them as it saw the whole sequence."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.kept_streams import DeviceShelf, KeptRows, KeptStreams, NotKeptError
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import CleanTokens, tokenize_clean
from memv2v_core.tokens.merging import MergeConfig

Forward = Callable[..., torch.Tensor]
NUM_BLOCKS, NUM_CLEAN = 3, 3 * 4 * 6 + 3 * 2 * 3 + 4 * 1 * 2
CONSTANT = {"clean_timestep": "zero", "attention": "one_way", "clean_reads_text": False}


def rows_of(num_rows: int, num_parts: int = 1, **settings: object) -> KeptRows:
    failed: list[bool] = []
    parts = [KeptStreams(**settings) for _ in range(num_parts)]
    return KeptRows(parts, num_rows, on_failure=lambda: failed.append(True))


def other_call(rows: int = 1) -> dict[str, torch.Tensor]:
    """Noise, prompt and timestep of another step."""
    generator = torch.Generator().manual_seed(9)
    return {
        "noisy": torch.randn(rows, 16, 3, 8, 12, generator=generator),
        "context": torch.randn(rows, 5, 24, generator=generator),
        "timestep": torch.full((rows,), 120.0),
    }


@pytest.fixture
def tokens(dit: WanTransformer3DModel) -> Callable[..., CleanTokens]:
    def make(adapter: MemoryAdapter | None, inputs: MemoryInputs) -> CleanTokens:
        return tokenize_clean(DiffusersView(dit), adapter, inputs, torch.Size((1, 16, 3, 8, 12)))

    return make


@pytest.fixture(params=["whole", "merge", "discard"])
def treated(request: pytest.FixtureRequest, inputs: MemoryInputs) -> MemoryInputs:
    merging = MergeConfig(share=0.5, unresponsive=request.param)
    return replace(inputs, merging=None if request.param == "whole" else merging)


@pytest.mark.parametrize("attention", ["two_way", "one_way"])
@pytest.mark.parametrize("rows", [1, 2])
def test_keeping_changes_nothing_and_the_same_call_again_is_the_same(
    make_adapter: Callable[..., MemoryAdapter],
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    treated: MemoryInputs,
    attention: str,
    rows: int,
) -> None:
    adapter = make_adapter(has_rays=True)
    treated = replace(treated, attention=attention)
    clean, kept = tokens(adapter, treated), rows_of(rows)
    plain = forward(adapter, treated, rows=rows)
    kept.begin()
    assert torch.equal(forward(adapter, treated, rows=rows, clean=clean, kept=kept), plain)
    assert kept.parts[0].changes == []
    again = forward(adapter, treated, rows=rows, clean=clean.target_alone, kept=kept)
    torch.testing.assert_close(again, plain, atol=1e-5, rtol=0)
    # What is kept does matter.
    alone = forward(adapter, treated, rows=rows, clean=clean.target_alone)
    assert (alone - plain).abs().max() > 1e-3


def test_constant_tokens_serve_every_other_call(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    inputs: MemoryInputs,
) -> None:
    def difference(inputs: MemoryInputs) -> float:
        clean, kept = tokens(adapter, inputs), rows_of(1)
        forward(adapter, inputs, clean=clean, kept=kept)
        reused = forward(adapter, inputs, clean=clean.target_alone, kept=kept, **other_call())
        return (reused - forward(adapter, inputs, **other_call())).abs().max().item()

    whole = replace(inputs, merging=None)
    assert difference(replace(whole, **CONSTANT)) < 1e-5
    assert difference(whole) > 1e-3


def test_constant_tokens_are_merged_as_they_were_first(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    inputs: MemoryInputs,
) -> None:
    inputs = replace(inputs, **CONSTANT)
    clean, kept = tokens(adapter, inputs), rows_of(2, num_parts=2, fixes_merging=True)
    forward(adapter, inputs, rows=2, clean=clean, kept=kept)
    plans: list = []
    call = other_call(2)
    # Another target would choose other frames.
    forward(adapter, inputs, on_merge=lambda i, plan: plans.append((i, plan)), **call)
    assert any(not kept.parts[0]._plans[i].equals(plan.of_rows(slice(0, 1))) for i, plan in plans)
    refreshed = forward(adapter, inputs, clean=clean, kept=kept, **call)
    reused = forward(adapter, inputs, clean=clean.target_alone, kept=kept, **call)
    torch.testing.assert_close(reused, refreshed, atol=1e-5, rtol=0)


def test_each_prompt_keeps_its_own_rows_together_or_apart(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    make_context: Callable,
    make_noisy: Callable,
    inputs: MemoryInputs,
) -> None:
    clean, both = tokens(adapter, inputs), rows_of(2, num_parts=2)
    noisy, context = make_noisy(2), make_context(2)
    forward(adapter, inputs, noisy=noisy, context=context, clean=clean, kept=both)
    together = forward(adapter, inputs, clean=clean.target_alone, kept=both, **other_call(2))
    for row in range(2):
        one = slice(row, row + 1)
        call = {name: value[one] for name, value in other_call(2).items()}
        for part in (both.parts[row], KeptStreams()):
            kept = KeptRows([part], 1, on_failure=lambda: None)
            if part.is_empty:
                forward(
                    adapter,
                    inputs,
                    noisy=noisy[one],
                    context=context[one],
                    clean=clean,
                    kept=kept,
                )
            apart = forward(adapter, inputs, clean=clean.target_alone, kept=kept, **call)
            torch.testing.assert_close(apart, together[one], atol=1e-5, rtol=0)


def test_one_row_serves_all_where_tokens_are_shared(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    inputs: MemoryInputs,
) -> None:
    inputs = replace(inputs, **CONSTANT, merging=None)
    clean, kept = tokens(adapter, inputs), rows_of(2, is_shared=True)
    forward(adapter, inputs, rows=2, clean=clean, kept=kept)
    key, _ = kept.parts[0].recall(0)
    assert key.shape[:2] == (1, NUM_CLEAN)
    reused = forward(adapter, inputs, clean=clean.target_alone, kept=kept, **other_call(2))
    wanted = forward(adapter, inputs, **other_call(2))
    torch.testing.assert_close(reused, wanted, atol=1e-5, rtol=0)


def test_fp8_takes_a_quarter_of_fp32_and_is_a_little_less_exact(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    inputs: MemoryInputs,
) -> None:
    clean = tokens(adapter, inputs)
    results, sizes = [], []
    for precision in ("full", "fp8"):
        kept = rows_of(1, precision=precision)
        forward(adapter, inputs, clean=clean, kept=kept)
        results.append(forward(adapter, inputs, clean=clean.target_alone, kept=kept))
        sizes.append(kept.parts[0].num_bytes)
    # One scale for each token and head of 48 values.
    assert sizes[1] / sizes[0] == pytest.approx(0.25 + 1 / 48)
    error = (results[1] - results[0]).norm() / results[0].norm()
    assert 1e-5 < error < 0.05


def test_keys_report_how_much_they_changed(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    inputs: MemoryInputs,
) -> None:
    inputs = replace(inputs, merging=None)
    clean, kept = tokens(adapter, inputs), rows_of(1)
    part = kept.parts[0]
    forward(adapter, inputs, clean=clean, kept=kept)
    first = [part.recall(i)[0].clone() for i in range(NUM_BLOCKS)]
    kept.begin()
    forward(adapter, inputs, clean=clean, kept=kept, **other_call())
    second = [part.recall(i)[0] for i in range(NUM_BLOCKS)]
    wanted = [(b - a).norm() / a.norm() for a, b in zip(first, second, strict=True)]
    torch.testing.assert_close(torch.stack(part.changes), torch.stack(wanted))
    assert max(part.changes) > 1e-3
    kept.begin()
    forward(adapter, inputs, clean=clean, kept=kept, **other_call())
    assert max(part.changes) == 0


def test_blocks_whose_merged_frames_differ_report_no_change(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    inputs: MemoryInputs,
) -> None:
    clean, kept = tokens(adapter, inputs), rows_of(1)
    forward(adapter, inputs, clean=clean, kept=kept)
    kept.begin()
    forward(adapter, inputs, clean=clean, kept=kept, **other_call())
    # Frames are merged before blocks 1 and 2 of 3, and this target merges others.
    assert len(kept.parts[0].changes) == 1


def test_a_block_that_was_skipped_is_not_kept() -> None:
    part = KeptStreams()
    part.keep(0, torch.ones(1, 2, 4), torch.ones(1, 2, 4))
    with pytest.raises(NotKeptError):
        part.recall(1)


class FullShelf(DeviceShelf):
    """Room for a few tensors."""

    def __init__(self, room: int) -> None:
        self.room = room

    def put(self, tensor: torch.Tensor, place: torch.Tensor | None, /) -> torch.Tensor:
        self.room -= 1
        if self.room < 0:
            raise torch.OutOfMemoryError("full")
        return super().put(tensor, place)


@pytest.mark.parametrize("room", [0, 1, 3])
def test_memory_that_runs_out_while_keeping_costs_nothing_but_the_reuse(
    adapter: MemoryAdapter,
    forward: Forward,
    tokens: Callable[..., CleanTokens],
    inputs: MemoryInputs,
    room: int,
) -> None:
    failures: list[int] = []
    kept = KeptRows([KeptStreams(FullShelf(room))], 1, on_failure=lambda: failures.append(1))
    out = forward(adapter, inputs, clean=tokens(adapter, inputs), kept=kept)
    assert torch.equal(out, forward(adapter, inputs))
    assert failures == [1]
