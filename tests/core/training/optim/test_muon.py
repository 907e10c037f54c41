import pytest
import torch

from memv2v_core.training.optim.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(64, 64), (96, 32), (32, 96)])
def test_singular_values_end_up_near_one(shape: tuple[int, int]):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalise(matrices))
    large = torch.linalg.svdvals(matrices)
    large = (
        large / large.square().sum(-1, keepdim=True).sqrt() > 0.01
    )  # five steps do not lift what is almost zero
    assert singular.shape == (3, min(shape))
    assert singular.max() < 1.3
    assert singular[large].min() > 0.6


def test_directions_are_kept():
    matrix = torch.randn(1, 16, 48, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(orthogonalise(matrix), full_matrices=False)
    own_left, _, own_right = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(left @ right, own_left @ own_right, atol=1e-3, rtol=0)


def test_scale_of_the_gradient_does_not_matter():
    matrix = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        orthogonalise(1000 * matrix), orthogonalise(matrix), atol=1e-4, rtol=0
    )


def test_a_step_lowers_a_quadratic_and_skips_what_has_no_gradient():
    generator = torch.Generator().manual_seed(3)
    weight = torch.nn.Parameter(torch.randn(8, 8, generator=generator))
    idle = torch.nn.Parameter(torch.ones(8, 8))
    optimizer = Muon([weight, idle], lr=0.05)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.6 * losses[0]
    assert torch.equal(idle, torch.ones(8, 8))


def test_weight_decay_is_decoupled_from_the_gradient():
    weight = torch.nn.Parameter(torch.full((4, 4), 2.0))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.zeros(4, 4)
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.full((4, 4), 2.0 * (1 - 0.1 * 0.5)))


def test_parameters_of_one_shape_step_as_they_do_alone():
    generator = torch.Generator().manual_seed(4)
    start, gradients = (
        torch.randn(2, 6, 10, generator=generator),
        torch.randn(2, 6, 10, generator=generator),
    )

    def stepped(indices: list[int]) -> list[torch.Tensor]:
        parameters = [torch.nn.Parameter(start[i].clone()) for i in indices]
        for i, parameter in zip(indices, parameters, strict=True):
            parameter.grad = gradients[i].clone()
        Muon(parameters, lr=0.1).step()
        return [parameter.data for parameter in parameters]

    torch.testing.assert_close(stepped([0, 1]), stepped([0]) + stepped([1]))
