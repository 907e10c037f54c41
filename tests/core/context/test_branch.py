"""The context branch inside the memory forward."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch.utils.checkpoint import checkpoint

from memv2v_core.context.branch import BranchConfig, ContextBranch
from memv2v_core.context.branch_view import BranchView, context_forward, require_encoder
from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.attention_patterns import attend_one_way
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.kept_streams import KeptRows
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.tokens.merging import MergeConfig

Run = Callable[..., torch.Tensor]
OWN = pytest.mark.parametrize("has_own", [False, True], ids=["shared layers", "own layers"])
NUM_TARGET, NUM_CLEAN = 3 * 4 * 6, 3 * 4 * 6 + 3 * 2 * 3


@pytest.fixture
def run(
    dit: WanTransformer3DModel,
    adapter: MemoryAdapter,
    inputs: MemoryInputs,
    make_noisy: Callable,
    make_context: Callable,
) -> Run:
    """run(branch, tokens, rows, ...): one forward; without a branch the memory forward alone."""

    def forward(
        branch: ContextBranch | None = None,
        tokens: torch.Tensor | None = None,
        rows: int = 1,
        view: DiffusersView | None = None,
        timestep: torch.Tensor | None = None,
        given: MemoryInputs = inputs,
    ) -> torch.Tensor:
        view = view or DiffusersView(dit)
        timestep = torch.full((rows,), 437.5) if timestep is None else timestep
        rest = (make_noisy(rows), timestep, make_context(rows), given)
        if branch is None:
            return memory_forward(view, adapter, *rest)
        return context_forward(view, adapter, branch, tokens, *rest)

    return forward


@OWN
def test_an_untrained_branch_leaves_the_model_as_it_is(
    run: Run, make_branch: Callable, make_tokens: Callable, has_own: bool
):
    branch = make_branch(is_open=False, has_own_attention=has_own)
    torch.testing.assert_close(run(branch, make_tokens()), run(), atol=2e-6, rtol=0)
    # Not because it is dead: an open one changes the model.
    moved = run(make_branch(has_own_attention=has_own), make_tokens()) - run()
    assert moved.abs().max() > 1e-2


@OWN
def test_all_of_an_open_branch_gets_a_gradient(
    run: Run, make_branch: Callable, make_tokens: Callable, has_own: bool
):
    branch = make_branch(has_own_attention=has_own)
    run(branch, make_tokens()).square().mean().backward()
    dead = [
        name
        for name, each in branch.named_parameters()
        if each.grad is None or not each.grad.abs().max() > 0
    ]
    assert dead == []


@OWN
def test_a_closed_branch_learns_first_through_its_gates(
    run: Run, make_branch: Callable, make_tokens: Callable, has_own: bool
):
    branch = make_branch(is_open=False, has_own_attention=has_own)
    run(branch, make_tokens()).square().mean().backward()
    moving = {n for n, each in branch.named_parameters() if each.grad.abs().max() > 0}
    assert moving == {f"blocks.{i}.gate" for i in range(3)}


@OWN
def test_context_tokens_have_no_order(
    run: Run, make_branch: Callable, make_tokens: Callable, has_own: bool
):
    branch, tokens = make_branch(has_own_attention=has_own), make_tokens()
    order = torch.tensor([4, 2, 6, 0, 5, 1, 3])
    shuffled = run(branch, tokens[:, order])
    torch.testing.assert_close(shuffled, run(branch, tokens), atol=2e-5, rtol=0)
    assert (run(branch, make_tokens(seed=1)) - shuffled).abs().max() > 1e-3


@OWN
def test_an_open_gate_is_joint_attention_of_all_tokens(
    dit: WanTransformer3DModel, make_branch: Callable, make_tokens: Callable, has_own: bool
):
    branch = make_branch(has_own_attention=has_own)
    with torch.no_grad():
        branch.block(0).gate.fill_(1.0)
    backbone, tokens = DiffusersView(dit), make_tokens()
    view = BranchView(backbone, branch, tokens)
    generator = torch.Generator().manual_seed(1)
    x, places = (torch.randn(1, 5, n, generator=generator) for n in (96, 3))
    view.embed_time(torch.tensor([300.0]))
    got = view.self_attention(0, x, view.rope(places))
    # The same, written out: the DiT's layers on its tokens, the branch's or the DiT's on context.
    time, _ = backbone.embed_time(torch.tensor([300.0]))
    shift, scale = branch.block(0).parts(branch.modulate(time))[:2]
    context = branch.embed(tokens)
    h = torch.nn.functional.layer_norm(context, (96,), eps=1e-6) * (1 + scale) + shift
    attn, own = dit.blocks[0].attn1, branch.block(0).attention
    rope = backbone.rope(places)
    queries = backbone.rotate(backbone.query(0, x), rope)
    if own is None:
        key, value = backbone.key(0, h), attn.to_v(h)
    else:
        key, value = own.norm_k(own.k(h)).unflatten(-1, (2, -1)), own.v(h)
    keys = torch.cat((backbone.rotate(backbone.key(0, x), rope), key), dim=1)
    values = torch.cat((attn.to_v(x), value), dim=1).unflatten(-1, (2, -1))
    scores = torch.einsum("bqhd,bkhd->bhqk", queries, keys) / 48**0.5
    seen = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), values).flatten(2)
    torch.testing.assert_close(got, attn.to_out[0](seen), atol=1e-5, rtol=0)


def test_rows_may_share_their_context(run: Run, make_branch: Callable, make_tokens: Callable):
    branch, tokens = make_branch(), make_tokens()
    shared = run(branch, tokens, rows=2)
    torch.testing.assert_close(shared, run(branch, tokens.expand(2, -1, -1), rows=2))
    other = run(branch, torch.cat((tokens, make_tokens(seed=1))), rows=2)
    torch.testing.assert_close(other[:1], shared[:1], atol=1e-5, rtol=0)
    assert (other - shared)[1].abs().max() > 1e-3


@OWN
def test_in_one_way_attention_clean_tokens_see_context_but_not_the_target(
    dit: WanTransformer3DModel, make_branch: Callable, make_tokens: Callable, has_own: bool
):
    view = BranchView(DiffusersView(dit), make_branch(has_own_attention=has_own), make_tokens())
    generator = torch.Generator().manual_seed(1)
    x, places = (torch.randn(1, 9, n, generator=generator) for n in (96, 3))

    def one_way(attend, query, key, value):
        return attend_one_way(attend, query, key, value, num_target=4)

    def attention(tokens: torch.Tensor, block: int) -> torch.Tensor:
        view.patchify(torch.zeros(1, 16, 1, 2, 2))
        view.embed_time(torch.tensor([300.0]))
        for i in range(block + 1):
            out = view.self_attention(i, tokens, view.rope(places), one_way)
        return out

    other = x.clone()
    other[:, :4] += 1
    # The second block's context tokens have been through the first block.
    change = (attention(other, 1) - attention(x, 1)).abs().amax(-1)
    assert change[:, 4:].max() < 1e-5
    assert change[:, :4].min() > 1e-3


def test_the_timestep_reaches_context_tokens(
    run: Run, make_branch: Callable, make_tokens: Callable
):
    branch, tokens = make_branch(), make_tokens()
    with torch.no_grad():
        branch.time_projection.weight.zero_()
    without = run(branch, tokens)
    whole = run(make_branch(), tokens)
    assert (whole - without).abs().max() > 1e-3
    # A timestep a frame: the largest one counts, and equal ones are one timestep.
    each = run(make_branch(), tokens, timestep=torch.full((1, 3), 437.5))
    torch.testing.assert_close(each, whole, atol=1e-5, rtol=0)


def test_merging_goes_on_beside_a_branch(
    run: Run, make_branch: Callable, make_tokens: Callable, inputs: MemoryInputs
):
    merged = replace(inputs, merging=MergeConfig(share=0.5))
    closed = run(make_branch(is_open=False), make_tokens(), given=merged)
    torch.testing.assert_close(closed, run(given=merged), atol=2e-6, rtol=0)
    assert (run(make_branch(), make_tokens(), given=merged) - closed).abs().max() > 1e-2


def test_blocks_may_be_computed_again_in_the_backward_pass(
    dit: WanTransformer3DModel, run: Run, make_branch: Callable, make_tokens: Callable
):
    class Again(DiffusersView):
        def around_block(self, block_idx, x, time, text, rope, run):
            return checkpoint(run, x, use_reentrant=False)

    found = []
    for view in (DiffusersView(dit), Again(dit)):
        branch = make_branch()
        run(branch, make_tokens(), view=view).square().mean().backward()
        found.append({n: each.grad for n, each in branch.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-4)


def test_a_view_serves_a_forward_after_one_that_was_interrupted(
    dit: WanTransformer3DModel,
    adapter: MemoryAdapter,
    inputs: MemoryInputs,
    make_branch: Callable,
    make_tokens: Callable,
    make_noisy: Callable,
    make_context: Callable,
):
    view = BranchView(DiffusersView(dit), make_branch(), make_tokens())

    def forward(timestep: float, probe: Callable | None = None) -> torch.Tensor:
        times = torch.tensor([timestep])
        return memory_forward(
            view, adapter, make_noisy(), times, make_context(), inputs, probe=probe
        )

    first = forward(200.0)

    def stop(block_idx: int, _h: torch.Tensor, _sequence: object) -> None:
        if block_idx == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forward(900.0, stop)
    assert torch.equal(forward(200.0), first)


def test_kept_clean_tokens_are_refused(
    dit: WanTransformer3DModel,
    inputs: MemoryInputs,
    make_branch: Callable,
    make_tokens: Callable,
    make_noisy: Callable,
    make_context: Callable,
):
    view = BranchView(DiffusersView(dit), make_branch(), make_tokens())
    kept = KeptRows((), 1, lambda: None)
    with pytest.raises(ValueError, match="got kept clean tokens, wanted a forward that makes"):
        memory_forward(
            view,
            None,
            make_noisy(),
            torch.tensor([300.0]),
            make_context(),
            replace(inputs, target_cameras=None),
            kept=kept,
        )


def test_wrong_sizes_are_named(
    dit: WanTransformer3DModel, make_branch: Callable, make_tokens: Callable
):
    backbone = DiffusersView(dit)
    with pytest.raises(ValueError, match="got a DiT of 3 blocks, wanted 5"):
        BranchView(backbone, make_branch(num_blocks=5), make_tokens())
    with pytest.raises(ValueError, match=r"shape \(1, 7, 9\), wanted \(rows, tokens, 10\)"):
        BranchView(backbone, make_branch(), make_tokens()[..., :9])
    with pytest.raises(ValueError, match="ffn_dim got 0, wanted at least 1"):
        BranchConfig("an encoder", 10, 96, 3, 0)


def test_a_branch_asks_for_its_own_encoder(make_branch: Callable):
    class Other:
        identity, width = "another encoder", 10

    with pytest.raises(ValueError, match="got tokens of another encoder, wanted an encoder"):
        require_encoder(make_branch(), Other())


def test_equal_seeds_make_equal_branches_and_leave_the_global_generator(make_branch: Callable):
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    first, second = (make_branch(is_open=False).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@OWN
def test_a_branch_learns_what_only_its_context_tells(
    dit: WanTransformer3DModel,
    make_branch: Callable,
    make_tokens: Callable,
    make_noisy: Callable,
    make_context: Callable,
    has_own: bool,
):
    branch = make_branch(is_open=False, has_own_attention=has_own)
    tokens = torch.cat((make_tokens(), make_tokens(seed=1)))
    # Two rows that differ in nothing but their context, and must move apart.
    shift = torch.tensor([0.3, -0.3]).view(2, 1, 1, 1, 1)
    noisy, context = (make(1).expand(2, *make(1).shape[1:]) for make in (make_noisy, make_context))
    rest = (noisy, torch.full((2,), 437.5), context, MemoryInputs())
    backbone = DiffusersView(dit)
    with torch.no_grad():
        wanted = memory_forward(backbone, None, *rest) + shift
    optimizer = torch.optim.Adam(branch.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        got = context_forward(backbone, None, branch, tokens, *rest)
        loss = (got - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # Without a look at the context, the mean of both rows is the best.
    assert losses[0] == pytest.approx(0.09, abs=1e-4)
    assert losses[-1] < 0.03, losses
