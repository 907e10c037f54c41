import pytest
import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter, start_from_base
from memv2v_core.tokens.merging import merge_average
from memv2v_core.tokens.tokenizers import pool_for_base


@pytest.fixture
def started(dit: WanTransformer3DModel, make_adapter) -> MemoryAdapter:
    adapter = make_adapter(has_rays=True)
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    return adapter


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_it_starts_with_silent_cameras_and_an_identity_projector(started: MemoryAdapter):
    for block in started.blocks:
        assert block.cam_encoder(random(2, 12)).abs().max() == 0
        assert block.ray_encoder(random(2, 42)).abs().max() == 0
        x = random(3, 96)
        assert torch.equal(block.projector(x), x)


@pytest.mark.parametrize(("kernel", "grid"), [(4, (15, 26)), (8, (8, 13))])
def test_its_tokenizers_start_as_averages_before_the_bases_embedding(
    started: MemoryAdapter, dit: WanTransformer3DModel, kernel: int, grid: tuple[int, int]
):
    latent = random(1, 16, 2, 60, 104)
    tokens = started.tokenize(latent, kernel)
    assert tokens.shape == (1, 96, 2, *grid)
    torch.testing.assert_close(
        tokens, dit.patch_embedding(pool_for_base(latent, kernel)), atol=1e-5, rtol=1e-5
    )


def test_its_mergers_start_as_averages(started: MemoryAdapter):
    grid = random(2, 3, 3, 5, 96)
    for merger_idx in (0, 1):
        torch.testing.assert_close(
            started.merge(grid, merger_idx), merge_average(grid), atol=1e-6, rtol=1e-5
        )


def test_merging_equals_eq_6_read_literally(make_adapter):
    adapter = make_adapter()
    weight, bias = adapter.mergers[1].weight, adapter.mergers[1].bias
    grid = random(1, 2, 3, 4, 96)
    merged = adapter.merge(grid, 1)
    assert merged.shape == (1, 2, 2, 2, 96)
    padded = F.pad(grid, (0, 0, 0, 0, 0, 1))
    padded[:, :, 3] = grid[:, :, 2]
    for row in range(2):
        for column in range(2):
            corner = padded[0, 1, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected = torch.einsum("oiyx,yxi->o", weight, corner) + bias
            torch.testing.assert_close(merged[0, 1, row, column], expected, atol=1e-5, rtol=1e-5)


def test_parts_that_were_not_learned_are_absent(make_adapter):
    adapter = make_adapter(has_tokenizers=False, has_merging=False)
    assert adapter.tokenize(random(1, 16, 1, 8, 8), 4) is None
    assert adapter.tokenize(random(1, 16, 1, 8, 8), 2) is None
    assert sorted(adapter.state_dict()) == sorted(
        f"blocks.{i}.{part}.{kind}"
        for i in range(3)
        for part in ("cam_encoder", "projector")
        for kind in ("weight", "bias")
    )


def test_every_kernel_but_the_bases_has_a_tokenizer(make_adapter):
    assert list(make_adapter().tokenizers) == ["4", "8"]
    assert make_adapter().tokenize(random(1, 16, 1, 8, 8), 2) is None


def test_ops_supply_the_layers():
    made: list[str] = []

    class CountingOps:
        @staticmethod
        def Linear(*args: int, **kwargs: bool) -> torch.nn.Module:
            made.append("Linear")
            return torch.nn.Linear(*args, **kwargs)

        Conv2d = torch.nn.Conv2d
        Conv3d = torch.nn.Conv3d

    MemoryAdapter(AdapterConfig(8, 2, 16, has_rays=True), CountingOps)
    assert len(made) == 2 * 3


def test_an_adapter_for_text_has_no_cameras(make_adapter):
    adapter = make_adapter(has_cameras=False)
    assert not any(name.startswith("blocks.") for name in adapter.state_dict())
    assert adapter.tokenize(random(1, 16, 1, 8, 8), 4) is not None


def test_a_base_tokenizer_starts_as_the_bases_embedding(dit: WanTransformer3DModel, make_adapter):
    adapter = make_adapter(has_base_tokenizer=True)
    assert list(adapter.tokenizers) == ["2", "4", "8"]
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    latent = random(1, 16, 2, 7, 10)
    assert torch.equal(adapter.tokenize(latent, 2), dit.patch_embedding(pool_for_base(latent, 2)))


def test_memories_without_their_source_are_read_as_if_the_source_were_zero(
    dit: WanTransformer3DModel, make_adapter
):
    adapter = make_adapter(has_base_tokenizer=True, memories_carry_source=False)
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    edited = random(1, 8, 2, 16, 24)
    beside = torch.cat((edited, torch.zeros_like(edited)), dim=1)
    for kernel in (2, 4, 8):
        torch.testing.assert_close(
            adapter.tokenize(edited, kernel),
            dit.patch_embedding(pool_for_base(beside, kernel)),
            atol=1e-5,
            rtol=1e-5,
        )


@pytest.mark.parametrize("missing", ["has_tokenizers", "has_base_tokenizer"])
def test_memories_without_their_source_need_both_tokenizers(missing: str):
    fields = {"has_tokenizers": True, "has_base_tokenizer": True, missing: False}
    with pytest.raises(ValueError, match=f"{missing} False.*wanted both tokenizers"):
        AdapterConfig(8, 2, 96, memories_carry_source=False, **fields)
    with pytest.raises(ValueError, match="17 input channels, wanted .* even number of channels"):
        AdapterConfig(8, 2, 17, memories_carry_source=False, has_base_tokenizer=True)


def test_clean_tokens_without_text_need_one_way_attention():
    assert not AdapterConfig(8, 2, 16, attention="one_way", clean_reads_text=False).clean_reads_text
    with pytest.raises(ValueError, match="clean_reads_text got False with attention 'two_way'"):
        AdapterConfig(8, 2, 16, clean_reads_text=False)


def test_the_options_leave_the_weights_of_older_adapters_as_they_are(make_adapter):
    plain = make_adapter().state_dict()
    other = make_adapter(attention="one_way", clean_reads_text=False, num_latent_frames=9)
    assert list(plain) == list(other.state_dict())
